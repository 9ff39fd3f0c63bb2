using System.Diagnostics.Metrics;
using Cache.Service.Telemetry;

namespace Cache.Service.Enqueue;

/// <summary>The gauges of the queue.</summary>
internal sealed class QueueMetrics
{
    public QueueMetrics(IMeterFactory meters, RowQueue queue)
    {
        var meter = ServiceMeter.Of(meters);
        meter.CreateObservableGauge("cache.queue.current.size", () => queue.Count, description: "Rows waiting for a flush.");
        meter.CreateObservableGauge("cache.queue.rejected", () => queue.RejectedBytes, unit: "By",
            description: "Memory that rejected rows waiting for a flush hold; from 32 MiB on the queue is full.");
    }
}
