using System.Diagnostics.Metrics;
using Cache.Service.Hosting;
using Cache.Service.Telemetry;

namespace Cache.Service.Http.Query;

/// <summary>Looks at <see cref="Readiness"/> once a second, for those who may not wait for Redis: metrics and the live page.</summary>
internal sealed class ReadinessMonitor : Worker
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private readonly Readiness _readiness;
    private IReadOnlyList<string> _reasons = ["the service is starting"];

    public ReadinessMonitor(Readiness readiness, IMeterFactory meters, TimeProvider time, FatalError fatal, ILogger<ReadinessMonitor> logger)
        : base(fatal, time, logger)
    {
        _readiness = readiness;
        ServiceMeter.Of(meters).CreateObservableGauge("cache.ready", () => Reasons.Count == 0 ? 1 : 0, description: "1 when /readyz says so, else 0; a second old at most.");
    }

    /// <summary>Why the service was not ready a second ago; empty when it was.</summary>
    public IReadOnlyList<string> Reasons => Volatile.Read(ref _reasons);

    /// <inheritdoc/>
    protected internal override async Task RunAsync(CancellationToken stoppingToken)
    {
        using var timer = new PeriodicTimer(Interval, Time);
        do
        {
            var reasons = await _readiness.ReasonsAsync(stoppingToken);
            Volatile.Write(ref _reasons, reasons);
        }
        while (await timer.WaitForNextTickAsync(stoppingToken));
    }
}
