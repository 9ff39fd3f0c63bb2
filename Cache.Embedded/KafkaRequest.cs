namespace Cache.Embedded;

/// <summary>
/// Requests of the Kafka protocol that <see cref="EmbeddedKafka"/> can be told to fail; the values are the API keys.
/// </summary>
#pragma warning disable CA1028 // An API key is 16 bits on the wire.
public enum KafkaRequest : short
#pragma warning restore CA1028
{
    /// <summary>Records to a partition.</summary>
    Produce = 0,

    /// <summary>Records from a partition.</summary>
    Fetch = 1,

    /// <summary>Low, high and time-based offsets.</summary>
    ListOffsets = 2,

    /// <summary>Brokers, topics and leaders.</summary>
    Metadata = 3,

    /// <summary>A consumer group's commit.</summary>
    OffsetCommit = 8,

    /// <summary>A consumer group's committed offsets.</summary>
    OffsetFetch = 9,

    /// <summary>Which broker looks after a group or a transactional id.</summary>
    FindCoordinator = 10,

    /// <summary>A member enters a group.</summary>
    JoinGroup = 11,

    /// <summary>A member says that it is alive.</summary>
    Heartbeat = 12,

    /// <summary>A member leaves a group.</summary>
    LeaveGroup = 13,

    /// <summary>A member asks for its partitions.</summary>
    SyncGroup = 14,

    /// <summary>The versions that the broker speaks; the first request of a connection.</summary>
    ApiVersions = 18,

    /// <summary>An idempotent or transactional producer asks for its id.</summary>
    InitProducerId = 22,

    /// <summary>A transaction takes in partitions.</summary>
    AddPartitionsToTransaction = 24,

    /// <summary>A transaction takes in a group's offsets.</summary>
    AddOffsetsToTransaction = 25,

    /// <summary>A transaction commits or aborts.</summary>
    EndTransaction = 26,

    /// <summary>A group's commit within a transaction.</summary>
    TransactionOffsetCommit = 28,
}
