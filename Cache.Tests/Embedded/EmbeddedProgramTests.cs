using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using Cache.Embedded;

namespace Cache.Tests.Embedded;

public sealed class EmbeddedProgramTests
{
    private static readonly TimeSpan Deadline = TimeSpan.FromSeconds(30);

    [Theory]
    [InlineData("INT")]
    [InlineData("TERM")]
    public async Task Program_PrintsItsTable_IsReady_AndStopsCleanlyOnASignal(string signal)
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no signals to send to another process.");
        Assert.SkipWhen(signal == "INT" && InterruptsAreIgnored(), "The tests run in the background, where SIGINT is ignored.");
        using var process = Start("--urls", "http://127.0.0.1:0");
        using var end = new Ending(process);
        var errors = process.StandardError.ReadToEndAsync(Cancelled);
        var lines = new List<string>();
        while (await process.StandardOutput.ReadLineAsync(Cancelled).AsTask().WaitAsync(Deadline, Cancelled) is { } line)
        {
            lines.Add(line);
            if (line.StartsWith("Ready after", StringComparison.Ordinal))
            {
                break;
            }
        }

        Assert.Contains(lines, line => line.Contains("/metrics/overview", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.Contains("kcat -b 127.0.0.1:", StringComparison.Ordinal));
        Assert.Contains(lines, line => line.Contains("redis-cli -p ", StringComparison.Ordinal));

        var stopping = Stopwatch.GetTimestamp();
        using (var kill = ChildProcess.Start("kill", $"-{signal}", $"{process.Id}"))
        {
            await kill.WaitForExitAsync(Cancelled);
        }

        await process.WaitForExitAsync(Cancelled).WaitAsync(Deadline, Cancelled);

        Assert.True(Stopwatch.GetElapsedTime(stopping) < TimeSpan.FromSeconds(5));
        Assert.Equal(0, process.ExitCode);
        Assert.Equal("", await errors);
        Assert.Equal("", (await process.StandardOutput.ReadToEndAsync(Cancelled)).Trim());
    }

    [Theory]
    [InlineData(2, "leftover", "leftover")]
    [InlineData(2, "--no-simulater", "did you mean --no-simulator?")]
    [InlineData(1, "--urls nonsense", "nonsense")]
    public async Task FailureToStart_IsOnStderr_WithoutAStack(int exitCode, string arguments, string named)
    {
        var (code, output, errors) = await RunAsync(arguments.Split(' '));

        Assert.Equal(exitCode, code);
        Assert.Contains(named, errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", errors, StringComparison.Ordinal);
        Assert.Equal("", output);
    }

    [Fact]
    public async Task Program_PrintsItsOptions_AndExitsWithZero()
    {
        var (code, output, errors) = await RunAsync("--help");

        Assert.Equal((0, ""), (code, errors));
        Assert.Contains("--no-simulator", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Program_PrintsItsVersion_AndExitsWithZero()
    {
        var version = typeof(EmbeddedStack).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion;
        var (code, output, errors) = await RunAsync("--version");

        Assert.Equal((0, version, ""), (code, output.Trim(), errors));
    }

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    private static async Task<(int Code, string Output, string Errors)> RunAsync(params string[] args)
    {
        using var process = Start(args);
        using var end = new Ending(process);
        var output = process.StandardOutput.ReadToEndAsync(Cancelled);
        var errors = await process.StandardError.ReadToEndAsync(Cancelled).WaitAsync(Deadline, Cancelled);
        await process.WaitForExitAsync(Cancelled).WaitAsync(Deadline, Cancelled);
        return (process.ExitCode, await output, errors);
    }

    private static Process Start(params string[] args) =>
        ChildProcess.Start("dotnet", [typeof(EmbeddedStack).Assembly.Location, .. args]);

    // A shell starts background processes this way, and their children inherit it.
    private static bool InterruptsAreIgnored()
    {
        const string Ignored = "SigIgn:";
        const ulong Sigint = 1 << 1;
        if (!OperatingSystem.IsLinux())
        {
            return false;
        }

        var line = File.ReadLines("/proc/self/status").First(line => line.StartsWith(Ignored, StringComparison.Ordinal));
        return (ulong.Parse(line[Ignored.Length..].Trim(), NumberStyles.HexNumber, CultureInfo.InvariantCulture) & Sigint) != 0;
    }

    /// <summary>Ends the process even if the test fails.</summary>
    private sealed class Ending(Process process) : IDisposable
    {
        public void Dispose()
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }
    }
}
