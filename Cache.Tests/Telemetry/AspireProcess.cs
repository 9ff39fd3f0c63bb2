using System.Collections;
using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;
using Cache.Tests.EndToEnd;

namespace Cache.Tests.Telemetry;

/// <summary>
/// The service, the simulator or the sample as Aspire starts it: a process without arguments, whose whole configuration is environment.
/// </summary>
internal sealed partial class AspireProcess : IAsyncDisposable
{
    // Drops everything from this process's environment that could configure the other process.
    private static readonly string[] Inherited = ["PATH", "HOME", "TMPDIR", "TEMP", "TMP", "SystemRoot", "DOTNET_ROOT", "DOTNET_HOST_PATH"];

    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly TaskCompletionSource<int> _port = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private AspireProcess(string program, IEnumerable<KeyValuePair<string, string>> environment)
    {
        var start = new ProcessStartInfo("dotnet", [Path.Combine(AppContext.BaseDirectory, program)])
        {
            WorkingDirectory = Path.GetTempPath(),
        };
        foreach (DictionaryEntry variable in Environment.GetEnvironmentVariables())
        {
            if (!Inherited.Contains((string)variable.Key))
            {
                start.Environment.Remove((string)variable.Key);
            }
        }

        foreach (var (name, value) in environment)
        {
            start.Environment[name] = value;
        }

        _process = ChildProcess.Start(start);
        _process.OutputDataReceived += (_, line) => Keep(line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    /// <summary>Its output so far, from both streams.</summary>
    public string Output
    {
        get
        {
            lock (_output)
            {
                return _output.ToString();
            }
        }
    }

    /// <summary>Starts the service; it listens on a free port.</summary>
    public static AspireProcess StartService(IEnumerable<KeyValuePair<string, string>> environment) =>
        new("Cache.Service.dll", [new("HTTP_PORTS", "0"), new("ASPNETCORE_FORWARDEDHEADERS_ENABLED", "true"), .. environment]);

    /// <summary>Starts the simulator.</summary>
    public static AspireProcess StartSimulator(IEnumerable<KeyValuePair<string, string>> environment) =>
        new("Cache.Producer.Simulator.dll", environment);

    /// <summary>Starts the sample.</summary>
    public static AspireProcess StartSample(IEnumerable<KeyValuePair<string, string>> environment) => new("Cache.Sample.dll", environment);

    /// <summary>A client of the service, once it listens; throws what it printed when it ends before.</summary>
    public async Task<HttpClient> ClientAsync()
    {
        var exit = _process.WaitForExitAsync();
        if (await Task.WhenAny(_port.Task, exit).WaitAsync(Eventually.TestTimeout) == exit)
        {
            Assert.Fail($"It ended with {_process.ExitCode}:\n{Output}");
        }

        return new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{await _port.Task}"), Timeout = TestTimeout.Full };
    }

    /// <summary>Stops it (SIGTERM) and returns its exit code.</summary>
    public async Task<int> StopAsync()
    {
        if (!_process.HasExited)
        {
            ChildProcess.Signal(_process, ChildProcess.SigTerm);
        }

        await _process.WaitForExitAsync().WaitAsync(Eventually.TestTimeout);
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        TestContext.Current.TestOutputHelper?.WriteLine(Output);
        if (!_process.HasExited)
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }

        _process.Dispose();
    }

    private void Keep(string? line)
    {
        if (line is null)
        {
            return;
        }

        lock (_output)
        {
            _output.AppendLine(line);
        }

        if (Listening().Match(line) is { Success: true } match)
        {
            _port.TrySetResult(int.Parse(match.Groups[1].ValueSpan, System.Globalization.CultureInfo.InvariantCulture));
        }
    }

    [GeneratedRegex(@"Now listening on: http://.*:(\d+)")]
    private static partial Regex Listening();
}
