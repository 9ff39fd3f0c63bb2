using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;

namespace Cache.Tests.EndToEnd;

/// <summary>The service in its own process, whose output can be read and which can be sent signals.</summary>
internal sealed partial class ServiceProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly StringBuilder _errors = new();
    private readonly TaskCompletionSource<Uri> _listening = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private HttpClient? _http;

    private ServiceProcess(string[] under, IEnumerable<string> arguments, (string Name, string Value)[] environment)
    {
        string[] command = [.. under, "dotnet", Path.Combine(AppContext.BaseDirectory, "Cache.Service.dll")];
        var start = new ProcessStartInfo(command[0], [.. command[1..], .. arguments])
        {
            WorkingDirectory = Path.GetTempPath(),
        };
        Array.ForEach(environment, variable => start.Environment[variable.Name] = variable.Value);
        _process = ChildProcess.Start(start);
        _process.OutputDataReceived += (_, line) => Keep(_output, line.Data);
        _process.ErrorDataReceived += (_, line) => Keep(_errors, line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
    }

    public HttpClient Http => _http ?? throw new InvalidOperationException("The service does not listen yet.");

    /// <summary>Its output so far.</summary>
    public string Output => Text(_output);

    /// <summary>Its error output so far.</summary>
    public string Errors => Text(_errors);

    /// <summary>Starts it, without waiting for anything.</summary>
    public static ServiceProcess Launch(IEnumerable<KeyValuePair<string, string>> settings, params (string Name, string Value)[] environment) =>
        Run(Arguments(settings), environment);

    /// <summary>Starts it with an unmodified command line, without waiting for anything.</summary>
    public static ServiceProcess Run(IEnumerable<string> arguments, params (string Name, string Value)[] environment) => new([], arguments, environment);

    /// <summary>Starts it on a free port, and waits until it listens.</summary>
    public static Task<ServiceProcess> StartAsync(
        IEnumerable<KeyValuePair<string, string>> settings, params (string Name, string Value)[] environment) => StartUnderAsync([], settings, environment);

    /// <summary>Like <see cref="StartAsync"/>, but under a program that restricts it and then becomes it, as <c>prlimit</c> does.</summary>
    public static async Task<ServiceProcess> StartUnderAsync(
        string[] under, IEnumerable<KeyValuePair<string, string>> settings, params (string Name, string Value)[] environment)
    {
        var service = new ServiceProcess(under, Arguments([new("urls", "http://127.0.0.1:0"), .. settings]), environment);
        try
        {
            var exit = service._process.WaitForExitAsync();
            if (await Task.WhenAny(service._listening.Task, exit).WaitAsync(Eventually.TestTimeout) == exit)
            {
                Assert.Fail($"The service ended with {service._process.ExitCode}:\n{service.Output}\n{service.Errors}");
            }

            service._http = new HttpClient { BaseAddress = await service._listening.Task, Timeout = TestTimeout.Full };
            return service;
        }
        catch
        {
            await service.DisposeAsync();
            throw;
        }
    }

    /// <summary>Its resident memory, in bytes.</summary>
    public long ResidentBytes
    {
        get
        {
            _process.Refresh();
            return _process.WorkingSet64;
        }
    }

    /// <summary>Whether it has exited.</summary>
    public bool HasExited => _process.HasExited;

    /// <summary>Asks it to stop (SIGTERM).</summary>
    public void Terminate() => ChildProcess.Signal(_process, ChildProcess.SigTerm);

    /// <summary>Suspends it in mid-step, with its connections open (SIGSTOP).</summary>
    public void Freeze() => ChildProcess.Signal(_process, ChildProcess.SigStop);

    /// <summary>Resumes it after <see cref="Freeze"/> (SIGCONT).</summary>
    public void Thaw() => ChildProcess.Signal(_process, ChildProcess.SigCont);

    /// <summary>Kills it at once (SIGKILL).</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync();
    }

    /// <summary>Waits for it to exit, and returns its exit code.</summary>
    public async Task<int> ExitAsync(TimeSpan timeout)
    {
        try
        {
            await _process.WaitForExitAsync().WaitAsync(timeout);
        }
        catch (TimeoutException)
        {
            Assert.Fail($"The service did not end within {timeout}:\n{Output}\n{Errors}");
        }

        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        _http?.Dispose();
        if (!_process.HasExited)
        {
            await KillAsync();
        }

        _process.Dispose();
    }

    private static IEnumerable<string> Arguments(IEnumerable<KeyValuePair<string, string>> settings) =>
        settings.SelectMany(setting => new[] { "--" + setting.Key, setting.Value });

    private void Keep(StringBuilder to, string? line)
    {
        if (line is null)
        {
            return;
        }

        lock (to)
        {
            to.AppendLine(line);
        }

        if (Listening().Match(line) is { Success: true } match)
        {
            _listening.TrySetResult(new Uri(match.Groups[1].Value));
        }
    }

    private static string Text(StringBuilder from)
    {
        lock (from)
        {
            return from.ToString();
        }
    }

    [GeneratedRegex(@"Now listening on: (http://\S+)")]
    private static partial Regex Listening();
}
