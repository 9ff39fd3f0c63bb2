using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Cache.Tests;

/// <summary>Starts programs whose output is read, and sends them signals.</summary>
internal static class ChildProcess
{
    public const int SigTerm = 15;
    public static readonly int SigStop = OperatingSystem.IsMacOS() ? 17 : 19;
    public static readonly int SigCont = OperatingSystem.IsMacOS() ? 19 : 18;

    private const uint FirstAfterStandardStreams = 3;
    private const int CloseOnExec = 1 << 2;

    public static Process Start(string program, params IEnumerable<string> arguments) => Start(new ProcessStartInfo(program, arguments));

    public static Process Start(ProcessStartInfo start)
    {
        (start.RedirectStandardOutput, start.RedirectStandardError) = (true, true);
        InheritNothing();
        return Process.Start(start)!;
    }

    /// <summary>
    /// Children started from now on get none of the connections that are open. The embedded Kafka's would be passed on: then
    /// they stay open for as long as the child runs, and a client does not see that its broker has gone.
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
            // An older kernel refuses it, an older C library lacks it: few tests notice.
        }
    }

    /// <summary>Sends a signal.</summary>
    /// <param name="process">Who gets it.</param>
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
