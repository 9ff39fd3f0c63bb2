using System.Diagnostics.Metrics;
using Cache.Service.Telemetry;

namespace Cache.Service.Enqueue;

/// <summary>Metrics of the queue.</summary>
internal sealed class QueueMetrics
{
    public QueueMetrics(IMeterFactory meters, RowQueue queue)
    {
        var meter = ServiceMeter.Of(meters);
        meter.CreateObservableGauge("cache.queue.current.size", () => queue.Count, description: "Rows waiting for a flush.");
        meter.CreateObservableGauge("cache.queue.rejected", () => queue.RejectedBytes, unit: "By",
            description: "Memory held by rejected rows waiting for a flush; at 32 MiB the queue is full.");
    }
}
