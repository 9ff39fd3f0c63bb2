using Confluent.Kafka;

namespace Cache.Service.Model;

/// <summary>What a value from Kafka turned out to be.</summary>
public enum RowKind : byte
{
    /// <summary>Nothing to write: a tombstone, or a topic that nobody handles.</summary>
    Skipped,

    /// <summary>A dimension of an event window.</summary>
    Event,

    /// <summary>A dimension of a performance window.</summary>
    Performance,

    /// <summary>A session.</summary>
    Session,

    /// <summary>Not usable; its bytes go to the dead letters.</summary>
    Rejected,
}
