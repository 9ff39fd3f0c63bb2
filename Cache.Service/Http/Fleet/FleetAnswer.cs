using System.Text.Json.Serialization;

namespace Cache.Service.Http.Fleet;

/// <summary>The answer of <c>/fleet</c>.</summary>
/// <param name="Time">The clock of the replica that answers, in milliseconds since 1970 UTC.</param>
/// <param name="Self">The id of the replica that answers.</param>
/// <param name="Complete">Whether the states of all other replicas could be read.</param>
/// <param name="Replicas">The replicas, by id.</param>
internal sealed record FleetAnswer(long Time, string Self, bool Complete, IReadOnlyList<ReplicaState> Replicas);

/// <summary>The state of a replica; times are in milliseconds since 1970 UTC, by its own clock.</summary>
/// <param name="Id">Its host and process id.</param>
/// <param name="Version">The build that it runs.</param>
/// <param name="Started">When it started.</param>
/// <param name="Seen">When it was in this state.</param>
/// <param name="Ready">The result of <c>/readyz</c>.</param>
/// <param name="Reasons">Why it is not ready; empty if it is.</param>
/// <param name="RowsPerSecond">Rows consumed per second, over the last five seconds.</param>
/// <param name="Partitions">The partitions assigned to it, by topic and number.</param>
/// <param name="Revocation">The revocation in progress; null if there is none.</param>
internal sealed record ReplicaState(
    string Id,
    string Version,
    long Started,
    long Seen,
    bool Ready,
    IReadOnlyList<string> Reasons,
    double RowsPerSecond,
    IReadOnlyList<ReplicaPartition> Partitions,
    ReplicaRevocation? Revocation);

/// <summary>A partition assigned to a replica.</summary>
/// <param name="Topic">Its topic.</param>
/// <param name="Partition">Its number.</param>
/// <param name="Rows">Rows between what is in Redis and the end of the partition; null until its end offset is known.</param>
/// <param name="Seconds">Upper bound on how far Redis is behind; null until the end offset is known.</param>
/// <param name="Since">When the replica got it.</param>
internal sealed record ReplicaPartition(string Topic, int Partition, long? Rows, double? Seconds, long Since);

/// <summary>A revocation in progress.</summary>
/// <param name="Partitions">Its partitions, which are still assigned.</param>
/// <param name="Since">When it began.</param>
/// <param name="WaitsFor"><c>flush</c> or <c>commit</c>.</param>
internal sealed record ReplicaRevocation(IReadOnlyList<PartitionName> Partitions, long Since, string WaitsFor);

/// <summary>The name of a partition.</summary>
/// <param name="Topic">Its topic.</param>
/// <param name="Partition">Its number.</param>
internal sealed record PartitionName(string Topic, int Partition);

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectNullableAnnotations = true, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(FleetAnswer))]
[JsonSerializable(typeof(PublishedReplica))]
internal sealed partial class FleetJson : JsonSerializerContext;
