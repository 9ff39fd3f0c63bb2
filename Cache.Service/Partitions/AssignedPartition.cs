using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Partitions;

/// <summary>
/// One partition for as long as this process holds it. Rows carry a reference to it, so that letting a partition go is
/// one write that every stage sees: rows of a partition that is not <see cref="Owned"/> are never written or committed.
/// Rewinding a partition replaces its object, for the same reason.
/// </summary>
internal sealed class AssignedPartition(TopicPartition topicPartition, RowCounter records)
{
    private volatile bool _owned = true;
    private volatile bool _mayBeElsewhere;
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

    /// <summary>Counts the rows of the topic.</summary>
    public RowCounter Records { get; } = records;

    /// <summary>Tags of the partition's instruments.</summary>
    public KeyValuePair<string, object?>[] Tags { get; } =
        [new("topic", topicPartition.Topic), new("partition", topicPartition.Partition.Value)];

    /// <summary>False once it is revoked, lost or rewound; never true again.</summary>
    public bool Owned => _owned;

    /// <summary>Whether another member of the group may have it by now: it was revoked or lost, and not only rewound.</summary>
    public bool MayBeElsewhere => _mayBeElsewhere;

    /// <summary>The offset after the last row that was enqueued; the consume loop's own. Negative: none yet.</summary>
    public long Next { get; set; } = -1;

    /// <summary>The offset up to which every row is in Redis or in the dead letters. Negative: not known.</summary>
    public long Written => Volatile.Read(ref _written);

    /// <summary>The offset that Kafka has acknowledged as committed. Negative: none.</summary>
    public long Committed
    {
        get => Volatile.Read(ref _committed);
        set => Volatile.Write(ref _committed, value);
    }

    /// <summary>The end of the partition as last seen. Negative: not known.</summary>
    public long LogEnd => Volatile.Read(ref _logEnd);

    /// <summary>
    /// The epoch of Redis that this partition's windows are known to be under: <see cref="AnyEpoch"/> when it started
    /// with nothing behind it, null when it resumed from a committed offset and the epoch was not looked at yet.
    /// </summary>
    public string? CoveredEpoch
    {
        get => _coveredEpoch;
        set => _coveredEpoch = value;
    }

    /// <summary>The partition has no past that Redis could have lost.</summary>
    public const string AnyEpoch = "*";

    /// <summary>Rows enqueued and not committed.</summary>
    public long Pending => Math.Max(0, Volatile.Read(ref _written) < 0 ? 0 : Next - Math.Max(0, Math.Max(Committed, Volatile.Read(ref _start))));

    /// <summary>Rows between Redis and the end of the partition.</summary>
    public long LagRows => LogEnd < 0 || Written < 0 ? 0 : Math.Max(0, LogEnd - Written);

    /// <summary>Rows behind the last stable offset, which is the end for whoever reads only what is committed: a transaction is open.</summary>
    public long HeldBackRows => Math.Max(0, Volatile.Read(ref _highWatermark) - LogEnd);

    /// <summary>It is revoked or lost.</summary>
    public void Revoke()
    {
        _mayBeElsewhere = true;
        _owned = false;
    }

    /// <summary>Another object stands for the same partition from now on.</summary>
    public void Replace() => _owned = false;

    /// <summary>Kafka has taken a commit of it, and so knew this process as its owner.</summary>
    /// <param name="offset">The offset.</param>
    /// <param name="asked">When the commit was sent (<see cref="TimeProvider.GetTimestamp"/>).</param>
    public void CommitTaken(long offset, long asked)
    {
        Committed = offset;
        Volatile.Write(ref _committedAt, asked);
    }

    /// <summary>Whether this process was still its owner at a time (<see cref="TimeProvider.GetTimestamp"/>), as far as Kafka has said.</summary>
    public bool WasOwnedAt(long timestamp) => Volatile.Read(ref _committedAt) >= timestamp;

    /// <summary>A partition that has just been assigned.</summary>
    /// <param name="start">Where it starts; no real offset when Kafka did not tell it.</param>
    /// <param name="resumed">Whether the group had committed that.</param>
    /// <param name="records">Counts the rows of the topic.</param>
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

    /// <summary>Where the partition starts, when that is a real offset.</summary>
    public void StartAt(long offset)
    {
        Next = offset;
        Volatile.Write(ref _start, offset);
        Volatile.Write(ref _written, offset);
    }

    /// <summary>Every row before <paramref name="next"/> is written.</summary>
    /// <param name="next">The offset after the last row.</param>
    /// <param name="timestamp">The last row's Kafka timestamp, milliseconds; 0 when it has none.</param>
    public void WrittenUpTo(long next, long timestamp)
    {
        Volatile.Write(ref _written, next);
        if (timestamp > 0)
        {
            Volatile.Write(ref _writtenTimestamp, timestamp);
        }
    }

    /// <summary>Notes the end of the partition, which is its last stable offset.</summary>
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

    /// <summary>Notes the offset after the last row that is there, also of open transactions, as the fetch before told it.</summary>
    public void HighWatermarkSeen(long highWatermark) => Volatile.Write(ref _highWatermark, highWatermark);

    /// <summary>How long the last stable offset has stood still with rows behind it.</summary>
    public TimeSpan HeldBackFor(DateTimeOffset now) =>
        HeldBackRows == 0 ? TimeSpan.Zero : TimeSpan.FromMilliseconds(Math.Max(0, now.ToUnixTimeMilliseconds() - Volatile.Read(ref _stableAt)));

    /// <summary>
    /// How long the oldest unwritten row has waited at most: since the last written row, or since nothing was waiting.
    /// </summary>
    public double LagSeconds(DateTimeOffset now) =>
        LagRows == 0
            ? 0
            : Math.Max(0, now.ToUnixTimeMilliseconds() - Math.Max(Volatile.Read(ref _writtenTimestamp), Volatile.Read(ref _caughtUpAt))) / 1000.0;

    public override string ToString() => $"{TopicPartition.Topic}/{TopicPartition.Partition.Value}";
}
