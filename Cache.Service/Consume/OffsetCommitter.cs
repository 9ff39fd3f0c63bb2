using Cache.Service.Flush;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Commits explicit offsets: those up to which every row of a partition is in Redis or in the dead letters. Runs beside
/// the flush and never holds it up; one commit at a time. Each commit that Kafka takes also proves that this process is
/// still in the group (<see cref="Membership"/>).
/// </summary>
internal sealed partial class OffsetCommitter(
    IOffsetCommit kafka, Assignment assignment, Membership membership, CacheOptions options, CacheMetrics metrics, TimeProvider time,
    ILogger<OffsetCommitter> logger)
    : BackgroundService
{
    private static readonly TimeSpan RebalancePause = TimeSpan.FromMilliseconds(50);

    private readonly TimeSpan _interval = TimeSpan.FromMilliseconds(options.CommitIntervalMs);
    private readonly SemaphoreSlim _due = new(0, 1);
    private readonly Lock _committing = new();
    private long _rows;

    /// <summary>A batch was written: a commit is due when that makes enough rows.</summary>
    public void Flushed(int rows)
    {
        if (Interlocked.Add(ref _rows, rows) >= options.CommitBatchSize)
        {
            CommitSoon();
        }
    }

    /// <summary>A commit is due, whatever the interval: a partition's first position has to be Kafka's before its rows are.</summary>
    public void CommitSoon()
    {
        try
        {
            _due.Release();
        }
        catch (SemaphoreFullException)
        {
            // It is due already.
        }
    }

    /// <summary>Commits what is written of some partitions, now; for when they are about to be let go.</summary>
    /// <returns>False when Kafka did not acknowledge it, or not in time.</returns>
    public bool CommitNow(IReadOnlyCollection<TopicPartition> partitions, TimeSpan deadline)
    {
        var started = time.GetTimestamp();
        var commit = Task.Run(async () =>
        {
            // While the group is between two generations Kafka refuses every commit; that passes.
            ErrorCode error;
            while ((error = CommitWritten(partition => partitions.Contains(partition.TopicPartition))) == ErrorCode.RebalanceInProgress
                && time.GetElapsedTime(started) < deadline)
            {
                await Task.Delay(RebalancePause, time, CancellationToken.None);
            }

            return error == ErrorCode.NoError;
        });
        return commit.Wait(deadline) && commit.Result;
    }

    /// <summary>
    /// Has Kafka prove that this process is still in the group, by a commit of where some partitions stand: it refuses that
    /// of a process that it has given up on.
    /// </summary>
    /// <exception cref="MembershipException">Kafka refused it, or did not answer.</exception>
    public Task ProveMembershipAsync(IReadOnlyCollection<PartitionRange> ranges)
    {
        // What is before a range is written, or nobody's: where that is not known better, its start is committed again.
        var offsets = ranges.Where(range => range.Partition.Owned)
            .Select(range => (range.Partition, Offset: range.Partition.Written is >= 0 and var written ? written : range.First))
            .ToList();
        return Task.Run(() =>
        {
            lock (_committing)
            {
                if (Commit(offsets) is not ErrorCode.NoError and var error)
                {
                    throw new MembershipException(new Error(error).Reason);
                }
            }
        });
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            using var interval = new CancellationTokenSource(_interval, time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken, interval.Token);
            try
            {
                await _due.WaitAsync(either.Token);
            }
            catch (OperationCanceledException)
            {
                // The interval is over, or the service stops; the last commit belongs to the revocation then.
            }

            if (!stoppingToken.IsCancellationRequested)
            {
                // The client's call waits for the broker.
                await Task.Run(() => CommitWritten(_ => true), CancellationToken.None);
            }
        }
    }

    /// <summary>Commits what is written and not committed yet; what is committed too, when the last proof of membership grows old.</summary>
    private ErrorCode CommitWritten(Func<AssignedPartition, bool> which)
    {
        lock (_committing)
        {
            Interlocked.Exchange(ref _rows, 0);
            var again = membership.NeedsRenewal;
            return Commit([.. assignment.Current
                .Where(partition => partition.Owned && which(partition))
                .Select(partition => (Partition: partition, Offset: partition.Written))
                .Where(commit => commit.Offset >= 0 && (again || commit.Offset != commit.Partition.Committed))]);
        }
    }

    private ErrorCode Commit(List<(AssignedPartition Partition, long Offset)> offsets)
    {
        if (offsets.Count == 0)
        {
            return ErrorCode.NoError;
        }

        var asked = time.GetTimestamp();
        try
        {
            kafka.Commit([.. offsets.Select(commit => new TopicPartitionOffset(commit.Partition.TopicPartition, commit.Offset))]);
            foreach (var (partition, offset) in offsets)
            {
                partition.CommitTaken(offset, asked);
            }

            membership.Proved(asked);
            metrics.Committed();
            return ErrorCode.NoError;
        }
        catch (KafkaException exception)
        {
            // Nothing is lost by it: the next commit carries these offsets again, or whoever has the partitions now
            // reads their rows once more.
            metrics.CommitFailed();
            if (exception.Error.Code != ErrorCode.RebalanceInProgress)
            {
                LogCommitFailed(exception.Error.Reason);
            }

            return exception.Error.Code;
        }
    }

    [LoggerMessage(EventIds.Consume + 20, LogLevel.Warning, "A commit failed and is tried again: {Error}.")]
    private partial void LogCommitFailed(string error);
}

/// <summary>The one thing that the committer needs of a consumer.</summary>
internal interface IOffsetCommit
{
    /// <summary>Commits offsets and waits for the acknowledgement.</summary>
    /// <exception cref="KafkaException">It failed, for all or some of them.</exception>
    void Commit(IReadOnlyList<TopicPartitionOffset> offsets);
}
