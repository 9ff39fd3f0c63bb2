using System.Diagnostics;
using System.Globalization;
using System.Text;
using Cache.Service.Model;
using Cache.Service.Telemetry;

namespace Cache.Service.Consume;

/// <summary>
/// The <c>receive</c> span of a row, in its producer's trace. A row that is not sampled costs one header lookup, or nothing at
/// all if nobody listens.
/// </summary>
internal static class ReceiveSpan
{
    /// <summary>The header that names the trace, by W3C Trace Context.</summary>
    public const string TraceParent = "traceparent";

    /// <summary>The header with what else belongs to the trace.</summary>
    public const string TraceState = "tracestate";

    private const int TraceParentLength = 55;

    /// <summary>Whether anybody listens.</summary>
    public static bool IsWanted => Tracing.Source.HasListeners();

    /// <summary>Starts the span; null if nobody listens or the row's trace is not sampled.</summary>
    public static Activity? Start(in Received received, string group)
    {
        if (received.Trace is not { } parent)
        {
            return null;
        }

        var activity = Tracing.Source.StartActivity($"receive {received.Topic}", ActivityKind.Consumer, parent);
        if (activity is { IsAllDataRequested: true })
        {
            activity.SetTag("messaging.system", "kafka");
            activity.SetTag("messaging.operation.type", "receive");
            activity.SetTag("messaging.operation.name", "poll");
            activity.SetTag("messaging.destination.name", received.Topic);
            activity.SetTag("messaging.destination.partition.id", received.Partition.ToString(CultureInfo.InvariantCulture));
            activity.SetTag("messaging.kafka.offset", received.Offset);
            activity.SetTag("messaging.consumer.group.name", group);
            if (received.Row.Kind == RowKind.Rejected)
            {
                activity.SetStatus(ActivityStatusCode.Error, received.Row.Reason.Name());
            }
        }

        return activity;
    }

    /// <summary>The producer's span, from its headers; null if the trace is not sampled.</summary>
    public static ActivityContext? ParentOf(ReadOnlySpan<byte> traceParent, ReadOnlySpan<byte> traceState)
    {
        // The lowest bit of the last digit is the sampled flag. Most rows are not sampled, and this check is all they cost.
        if (traceParent.Length != TraceParentLength || traceParent[^1] is not ((byte)'1' or (byte)'3'))
        {
            return null;
        }

        var state = traceState.Length > 0 ? Encoding.ASCII.GetString(traceState) : null;
        return ActivityContext.TryParse(Encoding.ASCII.GetString(traceParent), state, isRemote: true, out var parent) ? parent : null;
    }
}
