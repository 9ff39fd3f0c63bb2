using System.Diagnostics;
using System.Globalization;
using System.Text;
using Cache.Service.Model;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// The <c>receive</c> span of a row, in its producer's trace. A row that is not sampled costs one header lookup, or nothing at
/// all if nobody listens.
/// </summary>
internal static class ReceiveSpan
{
    private const int TraceParentLength = 55;

    /// <summary>Starts the span; null if nobody listens or the row's trace is not sampled.</summary>
    public static Activity? Start(ConsumeResult<RowKey, Row> result, string group)
    {
        if (!Tracing.Source.HasListeners() || ParentOf(result.Message.Headers) is not { } parent)
        {
            return null;
        }

        var activity = Tracing.Source.StartActivity($"receive {result.Topic}", ActivityKind.Consumer, parent);
        if (activity is { IsAllDataRequested: true })
        {
            activity.SetTag("messaging.system", "kafka");
            activity.SetTag("messaging.operation.type", "receive");
            activity.SetTag("messaging.operation.name", "poll");
            activity.SetTag("messaging.destination.name", result.Topic);
            activity.SetTag("messaging.destination.partition.id", result.Partition.Value.ToString(CultureInfo.InvariantCulture));
            activity.SetTag("messaging.kafka.offset", result.Offset.Value);
            activity.SetTag("messaging.consumer.group.name", group);
            if (result.Message.Value.Kind == RowKind.Rejected)
            {
                activity.SetStatus(ActivityStatusCode.Error, result.Message.Value.Reason.Name());
            }
        }

        return activity;
    }

    private static ActivityContext? ParentOf(Headers? headers)
    {
        if (headers is null || !headers.TryGetLastBytes("traceparent", out var bytes) || bytes.Length != TraceParentLength)
        {
            return null;
        }

        // The lowest bit of the last digit is the sampled flag. Most rows are not sampled, and this check is all they cost.
        if (bytes[^1] is not ((byte)'1' or (byte)'3'))
        {
            return null;
        }

        var state = headers.TryGetLastBytes("tracestate", out var stateBytes) ? Encoding.ASCII.GetString(stateBytes) : null;
        return ActivityContext.TryParse(Encoding.ASCII.GetString(bytes), state, isRemote: true, out var parent) ? parent : null;
    }
}
