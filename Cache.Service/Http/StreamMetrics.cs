using System.Diagnostics.Metrics;
using Cache.Service.Telemetry;

namespace Cache.Service.Http;

/// <summary>Instruments for updates and streams.</summary>
internal sealed class StreamMetrics
{
    private readonly Total _clients = new();
    private readonly Total _drops = new();
    private readonly Total _held = new();
    private readonly Total _updatesIgnored = new();
    private readonly TotalByReason<StreamCutReason> _cuts = new();

    public StreamMetrics(IMeterFactory meters)
    {
        var meter = ServiceMeter.Of(meters);
        meter.CreateObservableUpDownCounter("cache.stream.clients", () => _clients.Value, description: "Open streams.");
        meter.CreateObservableCounter("cache.stream.drops", () => _drops.Value, description: "Resyncs of slow streams: they were too far behind.");
        meter.CreateObservableCounter("cache.stream.cuts", _cuts.Measure,
            description: "Streams cut off, by reason: the client read nothing, or all streams together held too much.");
        meter.CreateObservableUpDownCounter("cache.stream.held", () => _held.Value, unit: "By", description: "Memory held by streams waiting for their clients.");
        meter.CreateObservableCounter("cache.updates.ignored", () => _updatesIgnored.Value, description: "Messages on the update channel that were not updates.");
    }

    public void Opened() => _clients.Add(1);

    public void Closed() => _clients.Add(-1);

    public void Dropped() => _drops.Add(1);

    public void Cut(StreamCutReason reason) => _cuts.Increment(reason);

    public void Hold(long bytes) => _held.Add(bytes);

    public void UpdateIgnored() => _updatesIgnored.Add(1);
}

/// <summary>Why a stream was cut off.</summary>
internal enum StreamCutReason
{
    /// <summary>Its client read nothing for a while.</summary>
    TakesNothing,

    /// <summary>The streams waiting for their clients held too much in total.</summary>
    NoRoom,
}
