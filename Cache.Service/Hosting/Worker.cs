using Cache.Service.Telemetry;

namespace Cache.Service.Hosting;

/// <summary>
/// Base class of the workers, which run in the background from startup to shutdown. A worker that fails stops the service with
/// exit code 1. On shutdown, each worker has its own timeout, so that none uses up the time of another.
/// </summary>
internal abstract partial class Worker(FatalError fatal, TimeProvider time, ILogger logger) : BackgroundService
{
    private readonly ILogger _logger = logger;
    private volatile bool _isAbandoned;

    /// <summary>The clock.</summary>
    protected TimeProvider Time => time;

    /// <summary>How long shutdown waits for the worker.</summary>
    protected virtual TimeSpan StopTimeout => TimeSpan.FromSeconds(5);

    /// <summary>Runs until the service stops.</summary>
    protected internal abstract Task RunAsync(CancellationToken stoppingToken);

    /// <inheritdoc/>
    protected sealed override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            await RunAsync(stoppingToken);
        }
        catch (OperationCanceledException) when (stoppingToken.IsCancellationRequested)
        {
            // Stopped as requested.
        }
        catch (Exception exception) when (!_isAbandoned)
        {
            LogFailed(exception);
            fatal.Stop(exception);
        }
    }

    /// <summary>Stops the worker. The host's own timeout is ignored, because other services may have used it up.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        using var timeout = new CancellationTokenSource(StopTimeout, time);
        await base.StopAsync(timeout.Token);
        if (ExecuteTask is { IsCompleted: false })
        {
            _isAbandoned = true;
            LogNotStopped();
        }
    }

    /// <summary>Logs that the worker failed.</summary>
    protected virtual void LogFailed(Exception exception) => LogFailed(GetType().Name, exception);

    /// <summary>Logs that the worker did not stop in time.</summary>
    protected virtual void LogNotStopped() => LogNotStopped(GetType().Name, StopTimeout.TotalSeconds);

    [LoggerMessage(EventIds.Host + 1, LogLevel.Critical, "{Worker} failed; the service stops with exit code 1.")]
    private partial void LogFailed(string worker, Exception exception);

    [LoggerMessage(EventIds.Host + 2, LogLevel.Warning, "{Worker} did not stop within {Seconds} s; the service exits without waiting for it.")]
    private partial void LogNotStopped(string worker, double seconds);
}
