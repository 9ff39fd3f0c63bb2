using Cache.Service.Consume;
using Cache.Service.Http.Query;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;

namespace Cache.Service.Http.Fleet;

/// <summary>The state of this replica, from memory.</summary>
internal sealed class OwnReplica(ThisReplica replica, ReadinessMonitor readiness, Assignment assignment, ConsumeMetrics consumed, TimeProvider time)
{
    /// <summary>A revocation that waits until rows in flight are written.</summary>
    public const string Flush = "flush";

    /// <summary>A revocation that waits until offsets are committed.</summary>
    public const string Commit = "commit";

    private static readonly TimeSpan RateSpan = TimeSpan.FromSeconds(5);

    private readonly Lock _gate = new();

    // The oldest is the newest of those that are older than the span.
    private readonly List<(long At, long Rows)> _samples = [];

    /// <summary>The id of this replica.</summary>
    public string Id => replica.Id;

    private long Rows => consumed.Topics.Sum(topic => consumed.Rows(topic).Value);

    /// <summary>Takes a sample of the rows consumed; call it about once per second.</summary>
    public void Sample()
    {
        lock (_gate)
        {
            while (_samples.Count > 1 && time.GetElapsedTime(_samples[1].At) >= RateSpan)
            {
                _samples.RemoveAt(0);
            }

            _samples.Add((time.GetTimestamp(), Rows));
        }
    }

    /// <summary>The state now.</summary>
    public ReplicaState State()
    {
        var (now, reasons) = (time.GetUtcNow(), readiness.Reasons);
        return new(
            replica.Id, BuildInfo.Version, replica.Started.ToUnixTimeMilliseconds(), now.ToUnixTimeMilliseconds(), reasons.Count == 0, reasons, RowsPerSecond(),
            [.. assignment.InOrder.Select(partition => new ReplicaPartition(
                partition.TopicPartition.Topic, partition.TopicPartition.Partition.Value,
                partition.LogEnd < 0 ? null : partition.LagRows, partition.LogEnd < 0 ? null : partition.LagSeconds(now), partition.Since.ToUnixTimeMilliseconds()))],
            assignment.Revocation is { } revocation
                ? new(
                    [.. revocation.Partitions.Select(partition => new PartitionName(partition.Topic, partition.Partition.Value))],
                    revocation.Since.ToUnixTimeMilliseconds(), revocation.WaitsFor == RevocationStep.Flush ? Flush : Commit)
                : null);
    }

    private double RowsPerSecond()
    {
        lock (_gate)
        {
            return _samples is [var (at, rows), ..] && time.GetElapsedTime(at).TotalSeconds is > 0 and var seconds ? Math.Round((Rows - rows) / seconds, 1) : 0;
        }
    }
}
