using System.Diagnostics;
using System.Text;
using Cache.Service.Decode;
using Cache.Service.Flush;
using Confluent.Kafka;

namespace Cache.Service.Telemetry;

/// <summary>
/// The service's spans, by OpenTelemetry's conventions for messaging and databases. A row whose producer is traced gets a
/// <c>receive</c> span in the producer's trace; a flush is one span of a trace of its own, linked to its rows' spans. Rows
/// that are not sampled cost a look at a header, and nothing when nobody listens.
/// </summary>
internal static class Tracing
{
    /// <summary>The name of the activity source.</summary>
    public const string SourceName = "Cache.Service";

    /// <summary>The most links on a flush span: more tell no more, and exporters cut them off anyway.</summary>
    public const int MostLinks = 32;

    private const int TraceParentLength = 55;
    private static readonly ActivitySource Source = new(SourceName);

    /// <summary>The span of a row's receipt; null when the row's trace is not sampled.</summary>
    public static Activity? Receive(ConsumeResult<RowKey, Row> result, string group)
    {
        if (!Source.HasListeners() || ParentOf(result.Message.Headers) is not { } parent)
        {
            return null;
        }

        var activity = Source.StartActivity($"receive {result.Topic}", ActivityKind.Consumer, parent);
        if (activity is { IsAllDataRequested: true })
        {
            activity.SetTag("messaging.system", "kafka");
            activity.SetTag("messaging.operation.type", "receive");
            activity.SetTag("messaging.operation.name", "poll");
            activity.SetTag("messaging.destination.name", result.Topic);
            activity.SetTag("messaging.destination.partition.id", result.Partition.Value.ToString(System.Globalization.CultureInfo.InvariantCulture));
            activity.SetTag("messaging.kafka.offset", result.Offset.Value);
            activity.SetTag("messaging.consumer.group.name", group);
            if (result.Message.Value.Kind == RowKind.Rejected)
            {
                activity.SetStatus(ActivityStatusCode.Error, result.Message.Value.Reason.Name());
            }
        }

        return activity;
    }

    /// <summary>The span of a flush; null when it is not sampled.</summary>
    public static Activity? Flush(Batch batch)
    {
        if (!Source.HasListeners())
        {
            return null;
        }

        // No parent: a flush belongs to many traces, and to none of them.
        Activity.Current = null;
        var activity = Source.StartActivity("flush", ActivityKind.Consumer, default(ActivityContext), links: batch.Traces);
        if (activity is { IsAllDataRequested: true })
        {
            activity.SetTag("messaging.system", "kafka");
            activity.SetTag("messaging.operation.type", "process");
            activity.SetTag("messaging.operation.name", "flush");
            activity.SetTag("messaging.batch.message_count", batch.Rows);
            activity.SetTag("db.system.name", "redis");
            activity.SetTag("cache.batch.windows", batch.Windows.Count);
            activity.SetTag("cache.batch.fields", batch.Windows.Values.Sum(fields => fields.Count));
            activity.SetTag("cache.batch.sessions", batch.Sessions.Count);
            activity.SetTag("cache.batch.partitions", batch.Ranges.Count);
            activity.SetTag("cache.batch.rejected", batch.DeadLetters.Count);
        }

        return activity;
    }

    private static ActivityContext? ParentOf(Headers? headers)
    {
        if (headers is null || !headers.TryGetLastBytes("traceparent", out var bytes) || bytes.Length != TraceParentLength)
        {
            return null;
        }

        // The last digit's lowest bit: sampled. Most rows are not, and need no more than this.
        if (bytes[^1] is not ((byte)'1' or (byte)'3'))
        {
            return null;
        }

        var state = headers.TryGetLastBytes("tracestate", out var stateBytes) ? Encoding.ASCII.GetString(stateBytes) : null;
        return ActivityContext.TryParse(Encoding.ASCII.GetString(bytes), state, isRemote: true, out var parent) ? parent : null;
    }
}
