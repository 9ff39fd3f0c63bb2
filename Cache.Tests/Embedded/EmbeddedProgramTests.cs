using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Text;
using System.Text.RegularExpressions;
using Cache.Embedded;
using Cache.Tests.EndToEnd;

namespace Cache.Tests.Embedded;

public sealed class EmbeddedProgramTests
{
    private static readonly TimeSpan Deadline = TestTimeout.Full;

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

        Assert.Equal("", await errors);
        Assert.Equal(0, process.ExitCode);
        Assert.True(Stopwatch.GetElapsedTime(stopping) < EmbeddedStack.StopTimeout, $"{Stopwatch.GetElapsedTime(stopping)}");
        Assert.Equal("", (await process.StandardOutput.ReadToEndAsync(Cancelled)).Trim());
    }

    [Fact]
    public async Task Program_OnATerminal_ShowsAStatusLineThatMoves_WithAKeyAsWell()
    {
        var script = Requirement.Program("script", "script");

        // script(1) runs a program on a terminal of its own, by a shell that must not answer Ctrl-C itself, and passes on what is typed.
        var start = new ProcessStartInfo(script, ["-qec", $"exec dotnet {typeof(EmbeddedStack).Assembly.Location} --urls http://127.0.0.1:0 --api_keys 0123456789abcdef", "/dev/null"]);
        (start.Environment["TERM"], start.Environment["SHELL"], start.RedirectStandardInput) = ("xterm-256color", "/bin/sh", true);
        start.Environment.Remove("NO_COLOR");
        using var process = ChildProcess.Start(start);
        try
        {
            var output = new StringBuilder();
            var buffer = new char[4096];
            var since = Stopwatch.GetTimestamp();
            while (!Regex.IsMatch(output.ToString(), @"● [0-9]+ rows/s   newest window [0-9:]{8} \([0-9]+ s ago\)   lag [0-9]+ rows.*\r\e\[2K", RegexOptions.Singleline))
            {
                var read = await process.StandardOutput.ReadAsync(buffer, Cancelled).AsTask().WaitAsync(Deadline, Cancelled);
                Assert.True(read > 0 && Stopwatch.GetElapsedTime(since) < Eventually.TestTimeout, output.ToString());
                output.Append(buffer, 0, read);
            }

            Assert.StartsWith("Live page", Regex.Replace(output.ToString(), @"\e\[[0-9;?]*[a-zA-Z]|\e=", "").TrimStart(), StringComparison.Ordinal);
            Assert.Contains("\e[1;36mLive page", output.ToString(), StringComparison.Ordinal);

            if (InterruptsAreIgnored())
            {
                // The tests run in the background: the program has inherited that, and would not notice Ctrl-C.
                return;
            }

            // Ctrl-C. What nobody reads would hold up the terminal, and with it the program.
            await process.StandardInput.WriteAsync('\x03');
            await process.StandardInput.FlushAsync(Cancelled);
            _ = await process.StandardOutput.ReadToEndAsync(Cancelled).WaitAsync(Eventually.TestTimeout, Cancelled);
            await process.WaitForExitAsync(Cancelled).WaitAsync(Deadline, Cancelled);
            Assert.Equal(0, process.ExitCode);
        }
        finally
        {
            process.Kill(entireProcessTree: true);
        }
    }

    [Fact]
    public async Task Program_WithAKey_LeavesTheHomeFolderAsItWas_AndWarnsOfNothing()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no signals to send to another process.");
        var home = Directory.CreateTempSubdirectory("home-");
        var start = new ProcessStartInfo("dotnet", [typeof(EmbeddedStack).Assembly.Location, "--urls", "http://127.0.0.1:0", "--api_keys", "0123456789abcdef"]);
        start.Environment["HOME"] = home.FullName;
        using var process = ChildProcess.Start(start);
        using var end = new Ending(process);
        try
        {
            var errors = process.StandardError.ReadToEndAsync(Cancelled);
            var lines = new List<string>();
            while (lines.LastOrDefault()?.StartsWith("Ready after", StringComparison.Ordinal) is not true)
            {
                lines.Add(Assert.IsType<string>(await process.StandardOutput.ReadLineAsync(Cancelled).AsTask().WaitAsync(Deadline, Cancelled)));
            }

            using var kill = ChildProcess.Start("kill", "-TERM", $"{process.Id}");
            await process.WaitForExitAsync(Cancelled).WaitAsync(Deadline, Cancelled);
            Assert.Equal("", await errors);
            Assert.DoesNotContain(lines, line => line.Contains("warn:", StringComparison.Ordinal));
            Assert.Empty(home.EnumerateFileSystemInfos());
        }
        finally
        {
            end.Dispose();
            await process.WaitForExitAsync(Cancelled);
            home.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task Open_OpensTheLivePage_InTheBrowser()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "What opens a page is replaced by a script that Linux looks for.");
        var folder = Directory.CreateTempSubdirectory("browser-");
        var opened = Path.Combine(folder.FullName, "opened");
        var browser = Path.Combine(folder.FullName, "xdg-open");
        await File.WriteAllTextAsync(browser, $"#!/bin/sh\necho \"$1\" > {opened}.new && mv {opened}.new {opened}\n", Cancelled);
        if (!OperatingSystem.IsWindows())
        {
            File.SetUnixFileMode(browser, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        }

        var start = new ProcessStartInfo("dotnet", [typeof(EmbeddedStack).Assembly.Location, "--urls", "http://127.0.0.1:0", "--open"]);
        start.Environment["PATH"] = $"{folder.FullName}{Path.PathSeparator}{Environment.GetEnvironmentVariable("PATH")}";
        using var process = ChildProcess.Start(start);
        using var end = new Ending(process);
        try
        {
            string? line;
            do
            {
                line = await process.StandardOutput.ReadLineAsync(Cancelled).AsTask().WaitAsync(Deadline, Cancelled);
            }
            while (line?.Contains("Live page", StringComparison.Ordinal) is false);

            await Eventually.HoldsAsync(() => Assert.True(File.Exists(opened)));
            Assert.EndsWith((await File.ReadAllTextAsync(opened, Cancelled)).Trim(), line, StringComparison.Ordinal);
        }
        finally
        {
            process.Kill();
            await process.WaitForExitAsync(Cancelled);
            folder.Delete(recursive: true);
        }
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
