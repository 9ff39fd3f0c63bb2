using Cache.Service.Telemetry;

namespace Cache.Service.Query;

/// <summary>Looks at <see cref="Readiness"/> once a second, for those who may not wait for Redis: metrics and the live page.</summary>
internal sealed class ReadinessMonitor(Readiness readiness, CacheMetrics metrics, TimeProvider time, FatalError fatal, ILogger<ReadinessMonitor> logger)
    : Worker(fatal, time, logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private IReadOnlyList<string> _reasons = ["the service is starting"];

    /// <summary>Why the service was not ready a second ago; empty when it was.</summary>
    public IReadOnlyList<string> Reasons => Volatile.Read(ref _reasons);

    /// <inheritdoc/>
    protected internal override async Task RunAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, Time);
        do
        {
            var reasons = await readiness.ReasonsAsync(stoppingToken);
            Volatile.Write(ref _reasons, reasons);
            metrics.IsReady = reasons.Count == 0;
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }
}
