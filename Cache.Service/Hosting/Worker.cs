using Cache.Service.Telemetry;

namespace Cache.Service.Hosting;

/// <summary>
/// What runs beside the requests from start to stop. Of all workers the same is true: one that fails ends the service with exit
/// code 1, and a stop waits for each of them for a time of its own, so that none takes another's.
/// </summary>
internal abstract partial class Worker(FatalError fatal, TimeProvider time, ILogger logger) : BackgroundService
{
    private readonly ILogger _logger = logger;
    private volatile bool _isGivenUp;

    /// <summary>The clock.</summary>
    protected TimeProvider Time => time;

    /// <summary>How long a stop waits for it.</summary>
    protected virtual TimeSpan StopTimeout => TimeSpan.FromSeconds(5);

    /// <summary>Does its work until it is told to stop.</summary>
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
            // As it was told to.
        }
        catch (Exception exception) when (!_isGivenUp)
        {
            LogFailed(exception);
            fatal.Stop(exception);
        }
    }

    /// <summary>Stops it. The host's own patience does not count: others may have used it up.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        using var timeout = new CancellationTokenSource(StopTimeout, time);
        await base.StopAsync(timeout.Token);
        if (ExecuteTask is { IsCompleted: false })
        {
            _isGivenUp = true;
            LogNotStopped();
        }
    }

    /// <summary>Says that it failed.</summary>
    protected virtual void LogFailed(Exception exception) => LogFailed(GetType().Name, exception);

    /// <summary>Says that it did not stop in time.</summary>
    protected virtual void LogNotStopped() => LogNotStopped(GetType().Name, StopTimeout.TotalSeconds);

    [LoggerMessage(EventIds.Host + 1, LogLevel.Critical, "The {Worker} failed; the service stops with exit code 1.")]
    private partial void LogFailed(string worker, Exception exception);

    [LoggerMessage(EventIds.Host + 2, LogLevel.Warning, "The {Worker} did not stop within {Seconds} s; the service ends without it.")]
    private partial void LogNotStopped(string worker, double seconds);
}
