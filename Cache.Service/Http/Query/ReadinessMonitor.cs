using System.Diagnostics.Metrics;
using Cache.Service.Hosting;
using Cache.Service.Telemetry;

namespace Cache.Service.Http.Query;

/// <summary>Checks <see cref="Readiness"/> once per second for callers that must not wait for Redis: metrics and the live page.</summary>
internal sealed class ReadinessMonitor : Worker
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly Readiness _readiness;
    private IReadOnlyList<string> _reasons = ["the service is starting"];

    public ReadinessMonitor(Readiness readiness, IMeterFactory meters, TimeProvider time, FatalError fatal, ILogger<ReadinessMonitor> logger)
        : base(fatal, time, logger)
    {
        _readiness = readiness;
        ServiceMeter.Of(meters).CreateObservableGauge("cache.ready", () => Reasons.Count == 0 ? 1 : 0, description: "1 if /readyz answers 200, else 0; at most a second old.");
    }

    /// <summary>Why the service was not ready at the last check; empty if it was.</summary>
    public IReadOnlyList<string> Reasons => Volatile.Read(ref _reasons);

    /// <summary>Raised when the service has become ready, or no longer is, and when the number of reasons changes: their texts count seconds and rows.</summary>
    public Signal Changed { get; } = new();

    /// <inheritdoc/>
    protected internal override async Task RunAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, Time);
        do
        {
            var reasons = await _readiness.ReasonsAsync(stoppingToken);
            var before = Interlocked.Exchange(ref _reasons, reasons);
            if (reasons.Count != before.Count)
            {
                Changed.Raise();
            }
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }
}
