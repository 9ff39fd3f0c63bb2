using Confluent.Kafka;

namespace Cache.Service.Partitions;

/// <summary>A revocation in progress: its partitions are still assigned, and released once their rows in flight are written and committed.</summary>
/// <param name="Partitions">The partitions.</param>
/// <param name="Since">When it began.</param>
/// <param name="WaitsFor">What it is waiting for.</param>
internal sealed record Revocation(IReadOnlyList<TopicPartition> Partitions, DateTimeOffset Since, RevocationStep WaitsFor);

/// <summary>What a revocation waits for, in this order.</summary>
internal enum RevocationStep
{
    /// <summary>Rows in flight are being written.</summary>
    Flush,

    /// <summary>Their offsets are being committed.</summary>
    Commit,
}
