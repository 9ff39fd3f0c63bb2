using System.Diagnostics;
using Cache.Service.Consume;
using Cache.Service.Hosting;
using Cache.Tests.EndToEnd;
using Cache.Tests.Simulation;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Hosting;

/// <summary>What applies to every worker.</summary>
public sealed class WorkerTests : IDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly LogCapture _log = new();
    private readonly LoggerFactory _loggers;
    private readonly FatalError _fatal;
    private int _stops;

    public WorkerTests()
    {
        _loggers = new([_log]);
        _fatal = new(Proxy.Of<IHostApplicationLifetime>((method, _) =>
        {
            _stops += method == nameof(IHostApplicationLifetime.StopApplication) ? 1 : 0;
            return null;
        }));
    }

    public void Dispose() => _loggers.Dispose();

    [Fact]
    public async Task WorkerThatFails_EndsTheServiceWithExitCodeOne_AndLogsItsStackTrace()
    {
        using var worker = Make(_ => throw new InvalidCastException("planted"));

        await worker.StartAsync(CancellationToken.None);
        await worker.ExecuteTask!.WaitAsync(TestTimeout.Full);

        Assert.Equal((1, 1), (_fatal.ExitCode, _stops));
        Assert.Contains("failed; the service stops with exit code 1", _log.ToString(), StringComparison.Ordinal);
        Assert.Contains(nameof(WorkerThatFails_EndsTheServiceWithExitCodeOne_AndLogsItsStackTrace), _log.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task WorkerThatIsStopped_EndsCleanly_EvenIfOthersUsedUpTheHostTimeout()
    {
        var isDone = false;
        var started = new TaskCompletionSource();
        using var worker = Make(async stop =>
        {
            started.SetResult();
            await Task.Delay(Timeout.Infinite, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
            await Task.Delay(200, CancellationToken.None);
            isDone = true;
            stop.ThrowIfCancellationRequested();
        });
        await worker.StartAsync(CancellationToken.None);
        await started.Task;

        await worker.StopAsync(new CancellationToken(canceled: true));

        Assert.True(isDone);
        Assert.Equal((0, 0), (_fatal.ExitCode, _stops));
        Assert.Empty(_log.Lines);
    }

    [Fact]
    public async Task WorkerThatDoesNotStop_IsAbandonedAfterItsTimeout_AndItsLaterFailureIsIgnored()
    {
        var (started, hangs) = (new TaskCompletionSource(), new TaskCompletionSource());
        using var worker = Make(_ =>
        {
            started.SetResult();
            return hangs.Task;
        });
        await worker.StartAsync(CancellationToken.None);
        await started.Task;

        var stop = worker.StopAsync(CancellationToken.None);
        _time.Advance(TimeSpan.FromSeconds(4.9));
        Assert.False(stop.IsCompleted);
        _time.Advance(TimeSpan.FromSeconds(0.2));
        await stop.WaitAsync(TestTimeout.Full);
        Assert.Contains("did not stop within 5 s", Assert.Single(_log.Lines), StringComparison.Ordinal);

        hangs.SetException(new ObjectDisposedException("its connection"));
        await worker.ExecuteTask!.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        Assert.Equal((0, 0), (_fatal.ExitCode, _stops));
        Assert.Single(_log.Lines);
    }

    [Fact]
    public async Task HangingClientHandle_IsAbandoned()
    {
        using var mayEnd = new ManualResetEventSlim();
        var started = Stopwatch.GetTimestamp();

        await KafkaHandle.EndAsync(new Hanging(mayEnd)).WaitAsync(TestTimeout.Full);

        Assert.InRange(Stopwatch.GetElapsedTime(started), TimeSpan.FromSeconds(4), TestTimeout.Full);
        mayEnd.Set();
    }

    private Made Make(Func<CancellationToken, Task> run) => new(run, _fatal, _time, _loggers.CreateLogger<Worker>());

    private sealed class Made(Func<CancellationToken, Task> run, FatalError fatal, TimeProvider time, ILogger logger) : Worker(fatal, time, logger)
    {
        protected internal override Task RunAsync(CancellationToken stoppingToken) => run(stoppingToken);
    }

    private sealed class Hanging(ManualResetEventSlim mayEnd) : IDisposable
    {
        public void Dispose() => mayEnd.Wait();
    }
}
