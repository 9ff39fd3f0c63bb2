using System.Diagnostics.Metrics;
using Cache.Service.Telemetry;

namespace Cache.Service.Enqueue;

/// <summary>Metrics of the queue.</summary>
internal sealed class QueueMetrics
{
    public QueueMetrics(IMeterFactory meters, RowQueue queue)
    {
        var meter = ServiceMeter.Of(meters);
        meter.CreateObservableGauge("cache.queue.current.size", () => queue.Count, description: "Rows in the queue, waiting to be written.");
        meter.CreateObservableGauge("cache.queue.rejected", () => queue.RejectedBytes, unit: "By",
            description: "Memory held by rejected rows in the queue; at 32 MiB it is full.");
    }
}
