using System.Buffers;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Threading.Channels;
using Cache.Service.Model;

namespace Cache.Service.Partitions;

/// <summary>A row on its way to the flush, or a marker between rows.</summary>
/// <param name="Partition">Where the row came from; null for a marker.</param>
/// <param name="Offset">The row's offset.</param>
/// <param name="Timestamp">The row's Kafka timestamp, milliseconds since 1970 UTC; 0 when it has none.</param>
/// <param name="Row">What it says.</param>
/// <param name="Receipt">The span of its receipt; null when its trace is not sampled.</param>
/// <param name="Drained">A marker: told when every row before it is written.</param>
internal readonly record struct QueuedRow(
    AssignedPartition? Partition, long Offset, long Timestamp, Row Row, Activity? Receipt = null, TaskCompletionSource? Drained = null);
