using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using Cache.Producer.Simulator;
using Microsoft.Extensions.Hosting;

namespace Cache.Embedded;

/// <summary>The whole stack in one process.</summary>
public static class Program
{
    private const int Failed = 1;
    private const int BadArguments = 2;

    private const string Green = "32";
    private const string Yellow = "33";

    // Until the process is gone: a signal without a handler would kill it while it ends, whatever it has to report.
    private static readonly CancellationTokenSource Stopping = new();
    private static readonly List<PosixSignalRegistration> Signals = [];

    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan ReadyTimeout = TimeSpan.FromSeconds(30);

    // How often the status is shown: rewritten in place on a terminal, otherwise as a line of its own.
    private static readonly TimeSpan LineInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan PlainInterval = TimeSpan.FromSeconds(10);

    /// <summary>Runs the stack until Ctrl-C or SIGTERM.</summary>
    /// <returns>
    /// 0 after a signal; 1 if the stack could not start or stop, or if the service failed; 2 for invalid arguments.
    /// </returns>
    public static async Task<int> Main(string[] args)
    {
        var arguments = StackOptions.Arguments(args);
        if (arguments.Answer(Console.Out))
        {
            return 0;
        }

        StackOptions options;
        try
        {
            options = StackOptions.Read(arguments);
        }
        catch (ConfigurationException e)
        {
            await Console.Error.WriteLineAsync(e.Message);
            await Console.Error.WriteLineAsync("--help lists the options.");
            return BadArguments;
        }

        // The hosts' console lifetimes receive the signals too, but only announce them: this program decides when the parts stop,
        // and in which order.
        Signals.AddRange([PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal), PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal)]);
        StatusLine.Open();
        try
        {
            return await RunAsync(options, Stopping.Token);
        }
        catch (StackException e)
        {
            await Console.Error.WriteLineAsync(e.Message);
            return Failed;
        }
        catch (OperationCanceledException) when (Stopping.IsCancellationRequested)
        {
            return 0;
        }

        void OnSignal(PosixSignalContext context)
        {
            context.Cancel = true;
            Stopping.Cancel();
        }
    }

    private static async Task<int> RunAsync(StackOptions options, CancellationToken stop)
    {
        var started = Stopwatch.GetTimestamp();
        var stack = await EmbeddedStack.StartAsync(options, stop);
        await Console.Out.WriteLineAsync($"{Environment.NewLine}{StackTable.Render(stack, options.Simulator, StatusLine.Current is { HasColors: true })}");
        if (options.Open && !Browser.Open(stack.ServiceUri))
        {
            await Console.Error.WriteLineAsync($"There is nothing here that opens a browser; open {stack.ServiceUri} yourself.");
        }

        using var ending = CancellationTokenSource.CreateLinkedTokenSource(stop, stack.ServiceStopping);
        try
        {
            await ReportReadinessAsync(stack.ServiceUri, started, ending.Token);
            await ShowStatusAsync(stack, ending.Token);
        }
        catch (OperationCanceledException)
        {
            StatusLine.Current?.Show("");
        }

        var late = await stack.StopAsync();
        if (late.Count > 0)
        {
            await Console.Error.WriteLineAsync($"Did not stop in time: {string.Join(", ", late)}");
            return Failed;
        }

        // No signal: a worker of the service has failed permanently, and logged why.
        return stop.IsCancellationRequested ? 0 : Failed;
    }

    /// <summary>Shows what the stack does, until it stops.</summary>
    private static async Task ShowStatusAsync(EmbeddedStack stack, CancellationToken cancellationToken)
    {
        using var client = new HttpClient { BaseAddress = stack.ServiceUri, Timeout = TimeSpan.FromSeconds(2) };
        if (stack.ApiKey is { } key)
        {
            client.DefaultRequestHeaders.Add("X-Api-Key", key);
        }

        var status = new StackStatus(client, TimeProvider.System);
        using var timer = new PeriodicTimer(StatusLine.Current is null ? PlainInterval : LineInterval, TimeProvider.System);

        // Only counts: the rate needs two answers, and the state in the first may be a second older than the readiness just reported.
        await status.ReadAsync(cancellationToken);
        while (await timer.WaitForNextTickAsync(cancellationToken))
        {
            var (text, isReady) = await status.ReadAsync(cancellationToken);
            if (StatusLine.Current is { } line)
            {
                line.Show($"  {(isReady ? '●' : '○')} {text}", isReady ? Green : Yellow);
            }
            else
            {
                await Console.Out.WriteLineAsync(text);
            }
        }
    }

    private static async Task ReportReadinessAsync(Uri service, long started, CancellationToken cancellationToken)
    {
        using var client = new HttpClient { BaseAddress = service, Timeout = TimeSpan.FromSeconds(2) };
        var hasReported = false;
        while (true)
        {
            var (ready, answer) = await AskAsync(client, cancellationToken);
            var elapsed = Stopwatch.GetElapsedTime(started);
            if (ready)
            {
                await Console.Out.WriteLineAsync(string.Create(
                    CultureInfo.InvariantCulture, $"Ready after {elapsed.TotalSeconds:F1} s. Ctrl-C stops."));
                return;
            }

            if (!hasReported && elapsed > ReadyTimeout)
            {
                hasReported = true;
                await Console.Error.WriteLineAsync($"Not ready after {ReadyTimeout.TotalSeconds} s, still trying: {answer}");
            }

            await Task.Delay(PollInterval, TimeProvider.System, cancellationToken);
        }
    }

    private static async Task<(bool Ready, string Answer)> AskAsync(HttpClient client, CancellationToken cancellationToken)
    {
        try
        {
            using var response = await client.GetAsync(new Uri("/readyz", UriKind.Relative), cancellationToken);
            var body = await response.Content.ReadAsStringAsync(cancellationToken);
            return (response.IsSuccessStatusCode, $"{(int)response.StatusCode} {body}".TrimEnd());
        }
        catch (Exception e)
            when (e is HttpRequestException or TaskCanceledException && !cancellationToken.IsCancellationRequested)
        {
            return (false, e.Message);
        }
    }
}
