using Cache.Service.Enqueue;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>How the consume thread waits inside a callback of the client, while others work (<see cref="Rebalance.Block"/>).</summary>
/// <returns>False when the work failed, or patience ended first.</returns>
internal delegate bool BlockUntil(Task work, TimeSpan timeout);

/// <summary>
/// What happens when the group gives partitions or takes them. Runs on the consume thread, inside the client's poll.
/// Revoked: what is in flight is flushed and committed, bounded in time, then let go. Lost: let go at once, nothing
/// committed, since another member may own them already.
/// </summary>
internal sealed partial class Rebalance(
    Assignment assignment, StartPositions positions, RowQueue queue, OffsetCommitter committer, BlockUntil blockUntil, ConsumeMetrics metrics,
    ILogger<Rebalance> logger)
{
    /// <summary>How long a revocation waits for the flush, and then for the commit: the group waits meanwhile.</summary>
    private static readonly TimeSpan FlushTimeout = TimeSpan.FromSeconds(8);
    private static readonly TimeSpan CommitTimeout = TimeSpan.FromSeconds(4);

    /// <summary>How long an assignment waits for Kafka to tell where partitions start.</summary>
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(5);

    /// <summary>The group has assigned partitions: finds where each starts.</summary>
    public List<TopicPartitionOffset> Assigned(List<TopicPartition> partitions)
    {
        assignment.IsSpare = partitions.Count == 0 && assignment.Current.Count == 0;
        if (partitions.Count == 0)
        {
            return [];
        }

        metrics.Rebalanced("assigned");
        var starts = positions.Find(partitions, StartTimeout);
        foreach (var (start, resumed) in starts)
        {
            assignment.Assign(AssignedPartition.From(start, resumed, metrics.Rows(start.Topic)));
        }

        if (starts.Exists(start => !start.Resumed))
        {
            // Where "latest" was, only this commit remembers.
            committer.CommitSoon();
        }

        LogAssigned(partitions.Count, assignment.Current.Count, List(partitions));
        return starts.ConvertAll(start => start.Start);
    }

    /// <summary>The group takes partitions back: flushes and commits what is in flight for them, within limits, then lets them go.</summary>
    public void Revoked(List<TopicPartitionOffset> offsets)
    {
        if (offsets.Count == 0)
        {
            return;
        }

        metrics.Rebalanced("revoked");
        var partitions = offsets.ConvertAll(offset => offset.TopicPartition);

        // The consume thread has nothing else to do: the client goes on when this returns.
        var flushed = blockUntil(committer.FlushedAsync(queue.DrainAsync(), partitions), FlushTimeout);
        var commit = committer.CommitNowAsync(partitions, CommitTimeout);
        var committed = blockUntil(commit, CommitTimeout) && commit.Result;
        assignment.Revoke(partitions);
        if (flushed && committed)
        {
            LogRevoked(partitions.Count, List(partitions));
        }
        else
        {
            LogRevokedLate(partitions.Count, List(partitions));
        }
    }

    /// <summary>The group has given partitions to others already.</summary>
    public void Lost(List<TopicPartitionOffset> offsets)
    {
        metrics.Rebalanced("lost");
        var partitions = offsets.ConvertAll(offset => offset.TopicPartition);
        assignment.Revoke(partitions);
        LogLost(partitions.Count, List(partitions));
    }

    /// <summary>Nothing more is consumed: every partition is revoked, and no more rows come.</summary>
    public void End()
    {
        assignment.RevokeAll();
        queue.Complete();
    }

    /// <summary>Blocks the thread.</summary>
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
