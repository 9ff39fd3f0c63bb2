using System.ComponentModel;
using System.Diagnostics;

namespace Cache.AppHost;

/// <summary>Finds a container engine that answers: a client without its engine is installed on many machines.</summary>
internal static class ContainerEngine
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(3);

    /// <summary>The engine that answers within 3 s, <c>docker</c> before <c>podman</c>; null when none does.</summary>
    /// <param name="chosen">The one that Aspire is told to use (<c>ASPIRE_CONTAINER_RUNTIME</c>); null: any.</param>
    public static string? Find(string? chosen)
    {
        string[] engines = string.IsNullOrWhiteSpace(chosen) ? ["docker", "podman"] : [chosen];
        var answers = engines.Select(engine => Task.Run(() => Answers(engine))).ToArray();
        return engines.Zip(answers).FirstOrDefault(pair => pair.Second.GetAwaiter().GetResult()).First;
    }

    private static bool Answers(string engine)
    {
        try
        {
            using var process = Process.Start(new ProcessStartInfo(engine, "info") { RedirectStandardOutput = true, RedirectStandardError = true })!;
            process.OutputDataReceived += static (_, _) => { };
            process.ErrorDataReceived += static (_, _) => { };
            process.BeginOutputReadLine();
            process.BeginErrorReadLine();
            if (process.WaitForExit(Timeout))
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
