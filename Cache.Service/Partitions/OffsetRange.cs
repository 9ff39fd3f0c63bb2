namespace Cache.Service.Partitions;

/// <summary>What a batch read from one partition.</summary>
internal sealed class OffsetRange(AssignedPartition partition)
{
    public AssignedPartition Partition { get; } = partition;

    /// <summary>The first row's offset.</summary>
    public long First { get; init; }

    /// <summary>The offset after the last row.</summary>
    public long Next { get; set; }

    /// <summary>The latest Kafka timestamp of its rows in milliseconds; 0 if they have none.</summary>
    public long Timestamp { get; set; }
}
