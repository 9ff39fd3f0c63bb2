using Cache.Service.Hosting;
using Cache.Service.Telemetry;

namespace Cache.Service.Consume;

/// <summary>
/// Owns the thread that uses the Kafka consumer: waits for Kafka, subscribes, polls, and finally leaves the group. It is created
/// after the consumer, and therefore disposed before it; should it outlast that, it holds the consumer.
/// </summary>
internal sealed partial class ConsumeLoop(
    IRowSource source, RebalanceCallbacks callbacks, Rebalance rebalance, Topics topics, Poller poller, TimeProvider time, FatalError fatal,
    ILogger<ConsumeLoop> logger)
    : Worker(fatal, time, logger), IHostedLifecycleService
{
    private static readonly TimeSpan WaitInterval = TimeSpan.FromMilliseconds(100);

    // By then, stopping has taken up to 15 s; orchestrators kill the process after 30 s.
    private static readonly TimeSpan EndTimeout = TimeSpan.FromSeconds(10);

    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private CancellationToken _stopping;

    /// <summary>Time since the loop's last heartbeat.</summary>
    public TimeSpan SinceLastHeartbeat => poller.SinceLastHeartbeat;

    /// <summary>What has to happen before partitions can be assigned, as far as is known.</summary>
    public string WaitsFor => ExecuteTask is null ? "the consume loop has not started" : topics.WaitsFor;

    /// <summary>Leaving the group can hang in the client; whatever is not committed by then is read again.</summary>
    protected override TimeSpan StopTimeout => TimeSpan.FromSeconds(15);

    /// <inheritdoc/>
    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public override Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>
    /// Starts the loop once everything else has started: a service that cannot listen, for example, must not join the group.
    /// </summary>
    public Task StartedAsync(CancellationToken cancellationToken) => base.StartAsync(cancellationToken);

    /// <inheritdoc/>
    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        rebalance.End();
    }

    /// <inheritdoc/>
    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>Stops the loop if it is still running, and waits for it to end.</summary>
    public override void Dispose()
    {
        base.Dispose();
        if (ExecuteTask is { } loop)
        {
            // Not by Wait, which throws if the loop was cancelled before it began.
            Task.WaitAny([loop], EndTimeout);
        }
    }

    /// <inheritdoc/>
    protected internal override Task RunAsync(CancellationToken stoppingToken)
    {
        _stopping = stoppingToken;
        new Thread(Run) { IsBackground = true, Name = "consume" }.Start();
        return _ended.Task;
    }

    /// <inheritdoc/>
    protected override void LogFailed(Exception exception) => LogFatal(exception);

    /// <inheritdoc/>
    protected override void LogNotStopped() => LogStopTimedOut();

    private void Run()
    {
        IDisposable? held = null;
        try
        {
            held = KafkaHandle.Hold(source.Consumer);
            if (WaitForKafka())
            {
                callbacks.Handler = rebalance;
                source.Consumer.Subscribe(topics.Names);
                while (!_stopping.IsCancellationRequested)
                {
                    if (!poller.Turn(source))
                    {
                        _stopping.WaitHandle.WaitOne(1);
                    }

                    callbacks.ThrowIfFailed();
                }
            }

            LogStopping();
            source.End();
            rebalance.Leave();
            source.Consumer.Close();
            held.Dispose();
            _ended.TrySetResult();
        }
        catch (Exception exception)
        {
            // Without the loop, the service would look alive but do nothing; a restart may fix that.
            source.End();
            held?.Dispose();
            _ended.TrySetException(exception);
        }
    }

    /// <summary>Waits until Kafka answers and it is settled which topics exist.</summary>
    /// <returns>False if the service is stopping.</returns>
    private bool WaitForKafka()
    {
        var found = topics.FindAsync(_stopping);
        while (Task.WaitAny([found], WaitInterval) < 0)
        {
            poller.Heartbeat();
        }

        if (found.IsFaulted)
        {
            found.GetAwaiter().GetResult();
        }

        return !_stopping.IsCancellationRequested;
    }

    [LoggerMessage(EventIds.Consume + 37, LogLevel.Information, "Stopping: writing and committing what is in flight, then leaving the group.")]
    private partial void LogStopping();

    [LoggerMessage(EventIds.Consume + 38, LogLevel.Warning, "Leaving the group took too long; rows that were not committed are read again after the next start.")]
    private partial void LogStopTimedOut();

    [LoggerMessage(EventIds.Consume + 39, LogLevel.Critical, "The consume loop failed; the service stops with exit code 1.")]
    private partial void LogFatal(Exception exception);
}
