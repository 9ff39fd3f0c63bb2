using System.Diagnostics;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;

namespace Cache.Service.Flush;

/// <summary>The span of a flush: in a trace of its own, linked to the spans of its rows.</summary>
internal static class FlushSpan
{
    /// <summary>Starts the span; null if nobody listens or it is not sampled.</summary>
    public static Activity? Start(Batch batch)
    {
        if (!Tracing.Source.HasListeners())
        {
            return null;
        }

        // No parent: a flush serves rows of many traces, and belongs to none of them.
        Activity.Current = null;
        var activity = Tracing.Source.StartActivity("flush", ActivityKind.Consumer, default(ActivityContext), links: batch.Traces);
        if (activity is { IsAllDataRequested: true })
        {
            activity.SetTag("messaging.system", "kafka");
            activity.SetTag("messaging.operation.type", "process");
            activity.SetTag("messaging.operation.name", "flush");
            activity.SetTag("messaging.batch.message_count", batch.Rows);
            activity.SetTag("db.system.name", "redis");
            activity.SetTag("cache.batch.windows", batch.Windows.Count);
            activity.SetTag("cache.batch.fields", batch.Windows.Values.Sum(window => window.Count));
            activity.SetTag("cache.batch.sessions", batch.Sessions.Count);
            activity.SetTag("cache.batch.partitions", batch.Ranges.Count);
            activity.SetTag("cache.batch.rejected", batch.DeadLetters.Count);
        }

        return activity;
    }
}
