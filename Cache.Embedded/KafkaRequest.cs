namespace Cache.Embedded;

/// <summary>
/// Kafka protocol requests that <see cref="EmbeddedKafka"/> can fail on demand; the values are the API keys.
/// </summary>
#pragma warning disable CA1028 // An API key is 16 bits on the wire.
public enum KafkaRequest : short
#pragma warning restore CA1028
{
    /// <summary>Writes records to a partition.</summary>
    Produce = 0,

    /// <summary>Reads records from a partition.</summary>
    Fetch = 1,

    /// <summary>Looks up low, high and time-based offsets.</summary>
    ListOffsets = 2,

    /// <summary>Looks up brokers, topics and leaders.</summary>
    Metadata = 3,

    /// <summary>Commits a consumer group's offsets.</summary>
    OffsetCommit = 8,

    /// <summary>Reads a consumer group's committed offsets.</summary>
    OffsetFetch = 9,

    /// <summary>Finds the broker that coordinates a group or a transactional id.</summary>
    FindCoordinator = 10,

    /// <summary>Joins a group.</summary>
    JoinGroup = 11,

    /// <summary>Keeps a member's session alive.</summary>
    Heartbeat = 12,

    /// <summary>Leaves a group.</summary>
    LeaveGroup = 13,

    /// <summary>Fetches a member's assignment.</summary>
    SyncGroup = 14,

    /// <summary>Asks which API versions the broker supports; the first request on a connection.</summary>
    ApiVersions = 18,

    /// <summary>Gets the id of an idempotent or transactional producer.</summary>
    InitProducerId = 22,

    /// <summary>Adds partitions to a transaction.</summary>
    AddPartitionsToTransaction = 24,

    /// <summary>Adds a group's offsets to a transaction.</summary>
    AddOffsetsToTransaction = 25,

    /// <summary>Commits or aborts a transaction.</summary>
    EndTransaction = 26,

    /// <summary>Commits a group's offsets within a transaction.</summary>
    TransactionOffsetCommit = 28,
}
