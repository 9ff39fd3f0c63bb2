using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Partitions;

/// <summary>
/// One partition for as long as it is assigned to this process. Rows refer to it, so that every stage sees a revocation at
/// once: rows of a partition that is not <see cref="Owned"/> are never written or committed. For the same reason, a rewind
/// replaces the object.
/// </summary>
internal sealed class AssignedPartition(TopicPartition topicPartition, RowCounter records)
{
    private volatile bool _owned = true;
    private volatile bool _mayBeElsewhere;
    private volatile bool _awaitsSchema;
    private volatile string? _coveredEpoch;
    private long _committedAt = -1;
    private long _start = -1;
    private long _written = -1;
    private long _committed = -1;
    private long _writtenTimestamp;
    private long _logEnd = -1;
    private long _caughtUpAt;
    private long _highWatermark = -1;
    private long _stableAt;

    public TopicPartition TopicPartition { get; } = topicPartition;

    /// <summary>The row counter of the topic.</summary>
    public RowCounter Records { get; } = records;

    /// <summary>The tags of the partition's metrics.</summary>
    public KeyValuePair<string, object?>[] Tags { get; } =
        [new("topic", topicPartition.Topic), new("partition", topicPartition.Partition.Value)];

    /// <summary>When the group assigned it to this process; a rewind does not change that.</summary>
    public DateTimeOffset Since { get; set; }

    /// <summary>Whether the partition is still ours; permanently false once it is revoked, lost or rewound.</summary>
    public bool Owned => _owned;

    /// <summary>Whether another member of the group may own the partition by now: it was revoked or lost, not just rewound.</summary>
    public bool MayBeElsewhere => _mayBeElsewhere;

    /// <summary>The offset after the last row enqueued; negative if there is none. Used only by the consume loop.</summary>
    public long Next { get; set; } = -1;

    /// <summary>Whether it is paused because its next row awaits a schema; set only by the consume loop.</summary>
    public bool AwaitsSchema
    {
        get => _awaitsSchema;
        set => _awaitsSchema = value;
    }

    /// <summary>The offset before which every row is in Redis or in the dead-letter topic; negative if unknown.</summary>
    public long Written => Volatile.Read(ref _written);

    /// <summary>The committed offset, as acknowledged by Kafka; negative if there is none.</summary>
    public long Committed
    {
        get => Volatile.Read(ref _committed);
        set => Volatile.Write(ref _committed, value);
    }

    /// <summary>The last known end of the partition; negative if unknown.</summary>
    public long LogEnd => Volatile.Read(ref _logEnd);

    /// <summary>
    /// The Redis epoch known to cover this partition's windows. <see cref="AnyEpoch"/> if it started without a committed offset;
    /// null if it resumed from one and the epoch has not been checked yet.
    /// </summary>
    public string? CoveredEpoch
    {
        get => _coveredEpoch;
        set => _coveredEpoch = value;
    }

    /// <summary>Any epoch covers the partition: it has no earlier rows that Redis could have lost.</summary>
    public const string AnyEpoch = "*";

    /// <summary>Rows enqueued but not yet committed.</summary>
    public long Pending => Math.Max(0, Volatile.Read(ref _written) < 0 ? 0 : Next - Math.Max(0, Math.Max(Committed, Volatile.Read(ref _start))));

    /// <summary>Rows between what is in Redis and the end of the partition.</summary>
    public long LagRows => LogEnd < 0 || Written < 0 ? 0 : Math.Max(0, LogEnd - Written);

    /// <summary>Rows held back by an open transaction: those after the last stable offset, where a read_committed consumer stops.</summary>
    public long HeldBackRows => Math.Max(0, Volatile.Read(ref _highWatermark) - LogEnd);

    /// <summary>Marks the partition as revoked or lost.</summary>
    public void Revoke()
    {
        _mayBeElsewhere = true;
        _owned = false;
    }

    /// <summary>Marks this object as replaced by another one for the same partition.</summary>
    public void Replace() => _owned = false;

    /// <summary>Records a commit that Kafka accepted, which proves that this process was the owner.</summary>
    /// <param name="offset">The committed offset.</param>
    /// <param name="asked">When the commit was sent (<see cref="TimeProvider.GetTimestamp"/>).</param>
    public void CommitTaken(long offset, long asked)
    {
        Committed = offset;
        Volatile.Write(ref _committedAt, asked);
    }

    /// <summary>Whether Kafka has confirmed that this process still owned it at a given time (<see cref="TimeProvider.GetTimestamp"/>).</summary>
    public bool WasOwnedAt(long timestamp) => Volatile.Read(ref _committedAt) >= timestamp;

    /// <summary>Creates a newly assigned partition.</summary>
    /// <param name="start">The start offset; not a real offset if Kafka did not report one.</param>
    /// <param name="resumed">Whether the start is a committed offset of the group.</param>
    /// <param name="records">The row counter of the topic.</param>
    public static AssignedPartition From(TopicPartitionOffset start, bool resumed, RowCounter records)
    {
        var partition = new AssignedPartition(start.TopicPartition, records) { CoveredEpoch = resumed ? null : AnyEpoch };
        if (start.Offset.Value >= 0)
        {
            partition.StartAt(start.Offset.Value);
            partition.Committed = resumed ? start.Offset.Value : -1;
        }

        return partition;
    }

    /// <summary>Sets the start offset, which must be a real one.</summary>
    public void StartAt(long offset)
    {
        Next = offset;
        Volatile.Write(ref _start, offset);
        Volatile.Write(ref _written, offset);
    }

    /// <summary>Records that every row before <paramref name="next"/> is written.</summary>
    /// <param name="next">The offset after the last row.</param>
    /// <param name="timestamp">The Kafka timestamp of the last row in milliseconds; 0 if it has none.</param>
    public void WrittenUpTo(long next, long timestamp)
    {
        Volatile.Write(ref _written, next);
        if (timestamp > 0)
        {
            Volatile.Write(ref _writtenTimestamp, timestamp);
        }
    }

    /// <summary>Records the end of the partition, which is its last stable offset.</summary>
    public void EndSeen(long logEnd, DateTimeOffset now)
    {
        if (logEnd != LogEnd || Volatile.Read(ref _highWatermark) <= logEnd)
        {
            Volatile.Write(ref _stableAt, now.ToUnixTimeMilliseconds());
        }

        Volatile.Write(ref _logEnd, logEnd);
        if (LagRows == 0)
        {
            Volatile.Write(ref _caughtUpAt, now.ToUnixTimeMilliseconds());
        }
    }

    /// <summary>Records the high watermark of the previous fetch: the offset after the last row, open transactions included.</summary>
    public void HighWatermarkSeen(long highWatermark) => Volatile.Write(ref _highWatermark, highWatermark);

    /// <summary>How long the last stable offset has not moved although rows follow it.</summary>
    public TimeSpan HeldBackFor(DateTimeOffset now) =>
        HeldBackRows == 0 ? TimeSpan.Zero : TimeSpan.FromMilliseconds(Math.Max(0, now.ToUnixTimeMilliseconds() - Volatile.Read(ref _stableAt)));

    /// <summary>
    /// Upper bound on how long the oldest unwritten row has waited: the time since the timestamp of the last written row, or
    /// since the partition was last caught up.
    /// </summary>
    public double LagSeconds(DateTimeOffset now) =>
        LagRows == 0
            ? 0
            : Math.Max(0, now.ToUnixTimeMilliseconds() - Math.Max(Volatile.Read(ref _writtenTimestamp), Volatile.Read(ref _caughtUpAt))) / 1000.0;

    public override string ToString() => $"{TopicPartition.Topic}/{TopicPartition.Partition.Value}";
}
