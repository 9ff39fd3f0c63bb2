using Cache.Service.Enqueue;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>How the consume thread waits for others inside a callback of the client (<see cref="Rebalance.Block"/>).</summary>
/// <returns>False if the work failed or timed out.</returns>
internal delegate bool BlockUntil(Task work, TimeSpan timeout);

/// <summary>
/// Handles partitions that the group assigns, revokes or declares lost. Runs on the consume thread, inside the client's poll.
/// Revoked partitions are released once their rows in flight are flushed and committed, or after a timeout. Lost partitions are
/// released at once, without a commit, because another member may already own them.
/// </summary>
internal sealed partial class Rebalance(
    Assignment assignment, StartPositions positions, RowQueue queue, OffsetCommitter committer, BlockUntil blockUntil, ConsumeMetrics metrics,
    TimeProvider time, ILogger<Rebalance> logger)
{
    /// <summary>How long a revocation waits for the flush, and then for the commit; meanwhile, the group waits.</summary>
    private static readonly TimeSpan FlushTimeout = TimeSpan.FromSeconds(8);
    private static readonly TimeSpan CommitTimeout = TimeSpan.FromSeconds(4);

    /// <summary>How long leaving waits for a commit that the client has not begun yet.</summary>
    private static readonly TimeSpan LeaveTimeout = TimeSpan.FromSeconds(1);

    /// <summary>How long an assignment waits for Kafka to report where partitions start.</summary>
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Adds partitions that the group has assigned, and finds where each starts.</summary>
    public List<TopicPartitionOffset> Assigned(List<TopicPartition> partitions)
    {
        assignment.IsSpare = partitions.Count == 0 && assignment.Current.Count == 0;
        if (partitions.Count == 0)
        {
            return [];
        }

        metrics.Rebalanced("assigned");
        var starts = positions.Find(partitions, StartTimeout);
        var now = time.GetUtcNow();
        foreach (var (start, resumed) in starts)
        {
            var partition = AssignedPartition.From(start, resumed, metrics.Rows(start.Topic));
            partition.Since = now;
            assignment.Assign(partition);
        }

        assignment.Changed.Raise();

        if (starts.Exists(start => !start.Resumed))
        {
            // Only this commit records which offset "latest" was.
            committer.CommitSoon();
        }

        LogAssigned(partitions.Count, assignment.Current.Count, List(partitions));
        return starts.ConvertAll(start => start.Start);
    }

    /// <summary>Flushes and commits the rows in flight of revoked partitions, within the timeouts; then releases them.</summary>
    public void Revoked(List<TopicPartitionOffset> offsets) => Revoke(Held(offsets));

    /// <summary>
    /// Revokes every partition before the consumer closes, and lets no commit start from then on: one that reaches the client while it
    /// leaves the group ends the process (<c>rd_kafka_cgrp_terminated</c> asserts that none is under way), or is never answered.
    /// </summary>
    public void Leave()
    {
        Revoke([.. assignment.Current.Select(partition => partition.TopicPartition)]);
        blockUntil(committer.EndAsync(), LeaveTimeout);
    }

    /// <summary>Releases partitions that the group may already have assigned to others.</summary>
    public void Lost(List<TopicPartitionOffset> offsets)
    {
        var partitions = Held(offsets);
        if (partitions.Count == 0)
        {
            return;
        }

        metrics.Rebalanced("lost");
        assignment.Revoke(partitions);
        LogLost(partitions.Count, List(partitions));
    }

    /// <summary>Ends consumption: revokes every partition, and completes the queue.</summary>
    public void End()
    {
        assignment.RevokeAll();
        queue.Complete();
    }

    /// <summary>Blocks the thread until the work is done.</summary>
    /// <returns>False if the work failed or timed out.</returns>
    public static bool Block(Task work, TimeSpan timeout)
    {
        try
        {
            return work.Wait(timeout);
        }
        catch (AggregateException)
        {
            return false;
        }
    }

    private void Revoke(List<TopicPartition> partitions)
    {
        if (partitions.Count == 0)
        {
            return;
        }

        metrics.Rebalanced("revoked");
        var revocation = assignment.Revocation = new(partitions, time.GetUtcNow(), RevocationStep.Flush);

        // Blocking is fine here: the client does nothing else on the consume thread until this returns.
        var flushed = blockUntil(committer.FlushedAsync(queue.DrainAsync(), partitions), FlushTimeout);
        assignment.Revocation = revocation with { WaitsFor = RevocationStep.Commit };
        var commit = committer.CommitNowAsync(partitions, CommitTimeout);
        var committed = blockUntil(commit, CommitTimeout) && commit.Result;
        assignment.Revoke(partitions);
        assignment.Revocation = null;
        if (flushed && committed)
        {
            LogRevoked(partitions.Count, List(partitions));
        }
        else
        {
            LogRevokedLate(partitions.Count, List(partitions));
        }
    }

    /// <summary>Those that this process has not released by itself, as it does before it leaves the group.</summary>
    private List<TopicPartition> Held(List<TopicPartitionOffset> offsets) =>
        [.. offsets.Select(offset => offset.TopicPartition).Where(partition => assignment.Find(partition.Topic, partition.Partition) is not null)];

    private static string List(IEnumerable<TopicPartition> partitions) =>
        string.Join(' ', partitions.GroupBy(partition => partition.Topic, (topic, of) =>
            $"{topic}[{string.Join(',', of.Select(partition => partition.Partition.Value).Order())}]"));

    [LoggerMessage(EventIds.Consume + 1, LogLevel.Information, "{Count} partitions assigned, {Total} in total: {Partitions}.")]
    private partial void LogAssigned(int count, int total, string partitions);

    [LoggerMessage(EventIds.Consume + 2, LogLevel.Information, "{Count} partitions revoked, their rows written and committed: {Partitions}.")]
    private partial void LogRevoked(int count, string partitions);

    [LoggerMessage(EventIds.Consume + 3, LogLevel.Warning,
        "{Count} partitions revoked before all their rows were written or committed: {Partitions}. Their next owner reads those rows again.")]
    private partial void LogRevokedLate(int count, string partitions);

    [LoggerMessage(EventIds.Consume + 4, LogLevel.Warning,
        "{Count} partitions lost: {Partitions}. The group gave up on this process; rows in flight are dropped, and their next owner reads them again.")]
    private partial void LogLost(int count, string partitions);
}
