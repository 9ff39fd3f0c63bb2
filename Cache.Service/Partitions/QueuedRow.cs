using System.Diagnostics;
using Cache.Service.Model;

namespace Cache.Service.Partitions;

/// <summary>A row on its way to the flush, or a marker between rows.</summary>
/// <param name="Partition">The row's partition; null for a marker.</param>
/// <param name="Offset">The row's offset.</param>
/// <param name="Timestamp">The row's Kafka timestamp, milliseconds since 1970 UTC; 0 if it has none.</param>
/// <param name="Row">The decoded row.</param>
/// <param name="Receipt">The receive span; null if the trace is not sampled.</param>
/// <param name="Drained">The marker, completed when every row before it is written; null for a row.</param>
internal readonly record struct QueuedRow(
    AssignedPartition? Partition, long Offset, long Timestamp, Row Row, Activity? Receipt = null, TaskCompletionSource? Drained = null);
