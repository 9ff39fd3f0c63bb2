using System.ComponentModel;
using System.Diagnostics;

namespace Cache.AppHost;

/// <summary>Finds a running container engine: many machines have a client installed whose engine is not running.</summary>
internal static class ContainerEngine
{
    /// <summary>How long a person who starts the stack waits for an engine to answer.</summary>
    public static readonly TimeSpan Timeout = TimeSpan.FromSeconds(3);

    /// <summary>Finds an engine that answers in time, <c>docker</c> before <c>podman</c>; null if none does.</summary>
    /// <param name="chosen">The engine that Aspire is configured to use (<c>ASPIRE_CONTAINER_RUNTIME</c>); null for any.</param>
    /// <param name="timeout">How long it may take to answer.</param>
    public static string? Find(string? chosen, TimeSpan timeout)
    {
        string[] engines = string.IsNullOrWhiteSpace(chosen) ? ["docker", "podman"] : [chosen];
        var answers = engines.Select(engine => Task.Run(() => Answers(engine, timeout))).ToArray();
        return engines.Zip(answers).FirstOrDefault(pair => pair.Second.GetAwaiter().GetResult()).First;
    }

    private static bool Answers(string engine, TimeSpan timeout)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(engine, "info") { RedirectStandardOutput = true, RedirectStandardError = true })!;
            process.OutputDataReceived += static (_, _) => { };
            process.ErrorDataReceived += static (_, _) => { };
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
            if (process.WaitForExit(timeout))
            {
                return process.ExitCode == 0;
            }

            process.Kill(entireProcessTree: true);
            return false;
        }
        catch (Win32Exception)
        {
            // Not installed.
            return false;
        }
    }
}
