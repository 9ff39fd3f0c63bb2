using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;
using Cache.Embedded;

namespace Cache.Tests;

/// <summary>Starts programs with redirected output, and sends them signals.</summary>
internal static class ChildProcess
{
    public const int SigTerm = 15;
    public static readonly int SigStop = OperatingSystem.IsMacOS() ? 17 : 19;
    public static readonly int SigCont = OperatingSystem.IsMacOS() ? 19 : 18;

    // What tests read from the environment is no setting of the programs that they start, which would warn of it.
    private static readonly string[] OwnVariables = ["CACHE_TEST", "CACHE_FAULT_SEED", "CACHE_FUZZ_", "CACHE_PAGE_STATES", "CACHE_SCREENSHOTS"];

    private const uint FirstAfterStandardStreams = 3;
    private const int CloseOnExec = 1 << 2;

    public static Process Start(string program, params IEnumerable<string> arguments) => Start(new ProcessStartInfo(program, arguments));

    public static Process Start(ProcessStartInfo start)
    {
        (start.RedirectStandardOutput, start.RedirectStandardError) = (true, true);
        foreach (var name in start.Environment.Keys.Where(name => OwnVariables.Any(own => name.StartsWith(own, StringComparison.Ordinal))).ToList())
        {
            start.Environment.Remove(name);
        }

        InheritNothing();
        return Listeners.Change(() => Process.Start(start)!);
    }

    /// <summary>
    /// Keeps children started from now on from inheriting open connections. Inherited ones of the embedded Kafka would stay open as
    /// long as the child runs, and a client would not notice that its broker is down.
    /// </summary>
    public static void InheritNothing()
    {
        if (!OperatingSystem.IsLinux())
        {
            return;
        }

        try
        {
            _ = CloseRange(FirstAfterStandardStreams, uint.MaxValue, CloseOnExec);
        }
        catch (EntryPointNotFoundException)
        {
            // Not supported by an older kernel or C library: few tests are affected.
        }
    }

    /// <summary>Sends a signal.</summary>
    /// <param name="process">The process that receives it.</param>
    /// <param name="signal">One of those above.</param>
    public static void Signal(Process process, int signal)
    {
        if (Kill(process.Id, signal) != 0)
        {
            throw new Win32Exception(Marshal.GetLastPInvokeError());
        }
    }

    [DllImport("libc", EntryPoint = "kill", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int Kill(int process, int signal);

    [DllImport("libc", EntryPoint = "close_range", SetLastError = true)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static extern int CloseRange(uint first, uint last, int flags);
}
