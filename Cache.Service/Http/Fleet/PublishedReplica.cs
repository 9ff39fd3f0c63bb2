using System.Text.Json;
using System.Text.Json.Serialization;

namespace Cache.Service.Http.Fleet;

/// <summary>
/// A replica's state as it is published in Redis. Like the answer, except that partitions of one topic that were assigned
/// together share an entry, and that only those behind have a lag: a thousand partitions take 5 kB instead of 85.
/// </summary>
internal sealed record PublishedReplica(
    string Version,
    long Started,
    long Seen,
    bool Ready,
    IReadOnlyList<string> Reasons,
    double RowsPerSecond,
    IReadOnlyList<PublishedPartitions> Partitions,
    ReplicaRevocation? Revocation)
{
    /// <summary>Encodes a state.</summary>
    public static byte[] Encode(ReplicaState state) => JsonSerializer.SerializeToUtf8Bytes(
        new(
            state.Version, state.Started, state.Seen, state.Ready, state.Reasons, state.RowsPerSecond,
            [.. state.Partitions.GroupBy(partition => (partition.Topic, partition.Since), (group, partitions) => PublishedPartitions.Of(group.Topic, group.Since, [.. partitions]))],
            state.Revocation),
        FleetJson.Default.PublishedReplica);

    /// <summary>Decodes what a key of a replica holds; null if it is not a replica's state, but something that another program wrote.</summary>
    public static PublishedReplica? Decode(ReadOnlySpan<byte> value)
    {
        try
        {
            return JsonSerializer.Deserialize(value, FleetJson.Default.PublishedReplica) is { } published && published.IsSound() ? published : null;
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>The number of partitions.</summary>
    public int PartitionCount => Partitions.Sum(partitions => partitions.Numbers.Count);

    /// <summary>The state.</summary>
    /// <param name="id">The id of the replica.</param>
    public ReplicaState StateOf(string id) => new(
        id, Version, Started, Seen, Ready, Reasons, RowsPerSecond,
        [.. Partitions.SelectMany(partitions => partitions.All()).OrderBy(partition => partition.Topic, StringComparer.Ordinal).ThenBy(partition => partition.Partition)],
        Revocation);

    /// <summary>Whether there is nothing in it that the serializer lets pass, but that no replica publishes: nulls in lists, infinite numbers.</summary>
    private bool IsSound() =>
        double.IsFinite(RowsPerSecond) && Reasons.All(reason => reason is not null) && Partitions.All(partitions => partitions is not null && partitions.IsSound())
        && (Revocation is null || (Revocation.WaitsFor is OwnReplica.Flush or OwnReplica.Commit && Revocation.Partitions.All(partition => partition is not null)));
}

/// <summary>Partitions of one topic that were assigned to a replica at the same time.</summary>
/// <param name="Topic">The topic.</param>
/// <param name="Since">When the replica got them, in milliseconds since 1970 UTC.</param>
/// <param name="Numbers">Their numbers.</param>
/// <param name="Lag">The lag of those that are behind, or whose lag is not known; absent if there are none.</param>
internal sealed record PublishedPartitions(
    string Topic, long Since, IReadOnlyList<int> Numbers, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] IReadOnlyList<PublishedLag>? Lag = null)
{
    public static PublishedPartitions Of(string topic, long since, IReadOnlyList<ReplicaPartition> partitions)
    {
        var lag = partitions.Where(partition => partition is not { Rows: 0, Seconds: 0 })
            .Select(partition => new PublishedLag(partition.Partition, partition.Rows, partition.Seconds)).ToList();
        return new(topic, since, [.. partitions.Select(partition => partition.Partition)], lag.Count == 0 ? null : lag);
    }

    public IEnumerable<ReplicaPartition> All()
    {
        var lag = (Lag ?? []).DistinctBy(behind => behind.Partition).ToDictionary(behind => behind.Partition);
        return Numbers.Select(number => lag.TryGetValue(number, out var behind)
            ? new ReplicaPartition(Topic, number, behind.Rows, behind.Seconds, Since)
            : new ReplicaPartition(Topic, number, 0, 0, Since));
    }

    public bool IsSound() => Lag is null || Lag.All(behind => behind is { Seconds: null } || (behind is { Seconds: { } seconds } && double.IsFinite(seconds)));
}

/// <summary>The lag of a partition.</summary>
/// <param name="Partition">Its number.</param>
/// <param name="Rows">As in <see cref="ReplicaPartition"/>.</param>
/// <param name="Seconds">As in <see cref="ReplicaPartition"/>.</param>
internal sealed record PublishedLag(int Partition, long? Rows, double? Seconds);
