using System.Threading.Channels;
using Cache.Service.Hosting;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Commits explicit offsets: those before which every row of a partition is in Redis or in the dead-letter topic. Runs
/// alongside the flush, one commit at a time. Each commit that Kafka accepts also proves that this process is still in the
/// group (<see cref="Membership"/>); a write waits for one only if the last proof is too old.
/// </summary>
internal sealed partial class OffsetCommitter(
    IOffsetCommit kafka, Assignment assignment, Membership membership, CacheOptions options, ConsumeMetrics metrics, TimeProvider time,
    FatalError fatal, ILogger<OffsetCommitter> logger)
    : Worker(fatal, time, logger)
{
    private static readonly TimeSpan RebalancePause = TimeSpan.FromMilliseconds(50);

    private readonly TimeSpan _interval = TimeSpan.FromMilliseconds(options.CommitIntervalMs);
    private readonly Channel<bool> _due = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly SemaphoreSlim _committing = new(1, 1);
    private long _rows;
    private volatile bool _ended;

    // The last failure logged, reset once a commit succeeds; used only while committing.
    private ErrorCode _logged;

    /// <summary>Records that a batch was written; a commit is due once enough rows have accumulated.</summary>
    public void Flushed(int rows)
    {
        if (Interlocked.Add(ref _rows, rows) >= options.CommitBatchSize)
        {
            CommitSoon();
        }
    }

    /// <summary>Requests a commit before the interval is over, for example of a partition's first position.</summary>
    public void CommitSoon() => _due.Writer.TryWrite(true);

    /// <summary>Commits at once what is written of partitions that are about to be revoked.</summary>
    /// <returns>False if Kafka did not acknowledge the commit.</returns>
    public async Task<bool> CommitNowAsync(IReadOnlyCollection<TopicPartition> partitions, TimeSpan timeout)
    {
        var started = Time.GetTimestamp();

        // Between two generations of the group, Kafka refuses every commit; that passes.
        ErrorCode error;
        while ((error = await CommitAsync(() => Written(partitions.Contains))) == ErrorCode.RebalanceInProgress && Time.GetElapsedTime(started) < timeout)
        {
            await Task.Delay(RebalancePause, Time, CancellationToken.None);
        }

        return error == ErrorCode.NoError;
    }

    /// <summary>
    /// Waits for the flush of partitions that are about to be revoked, unless Kafka permanently refuses to commit them: then
    /// nothing more can be written or committed, and waiting would only keep this process from rejoining the group.
    /// </summary>
    /// <exception cref="MembershipException">Kafka permanently refused the commit.</exception>
    public async Task FlushedAsync(Task flush, IReadOnlyCollection<TopicPartition> partitions)
    {
        // Awaited, not just passed to WhenAny: the queue signals that it is drained on the thread pool, which the simulation lacks.
        var flushed = AwaitedAsync(flush);

        // Usually the flush is done within this pause, and the commit that follows it is enough.
        var error = ErrorCode.RebalanceInProgress;
        while (error == ErrorCode.RebalanceInProgress && !await IsFirstAsync(flushed, Task.Delay(RebalancePause, Time, CancellationToken.None)))
        {
            var commit = CommitAsync(() => Written(partitions.Contains));
            error = await IsFirstAsync(flushed, commit) ? ErrorCode.NoError : await commit;
        }

        // These do not pass by waiting: the client rejoins the group only after the revocation.
        if (error is ErrorCode.IllegalGeneration or ErrorCode.UnknownMemberId or ErrorCode.FencedInstanceId)
        {
            throw new MembershipException(new Error(error).Reason);
        }

        await flushed;

        static async Task AwaitedAsync(Task task) => await task;
        static async Task<bool> IsFirstAsync(Task task, Task other) => await Task.WhenAny(task, other) == task;
    }

    /// <summary>
    /// Proves that this process is still in the group by committing the current offsets of some partitions, which Kafka refuses
    /// if it has removed the process from the group.
    /// </summary>
    /// <exception cref="MembershipException">Kafka refused the commit, or did not answer.</exception>
    public async Task ProveMembershipAsync(IReadOnlyCollection<OffsetRange> ranges)
    {
        // Everything before a range is already written or needs no write, so its start is committed if the written offset is
        // unknown. That may be negative: the end of an empty partition is enqueued as a row at offset -1.
        var error = await CommitAsync(() => [.. ranges.Where(range => range.Partition.Owned)
            .Select(range => (range.Partition, range.Partition.Written is >= 0 and var written ? written : Math.Max(0, range.First)))]);
        if (error != ErrorCode.NoError)
        {
            throw new MembershipException(new Error(error).Reason);
        }
    }

    /// <summary>Lets no further commit start; completes once none is under way.</summary>
    public async Task EndAsync()
    {
        _ended = true;
        await _committing.WaitAsync();
        _committing.Release();
    }

    /// <summary>Commits whenever a commit is due.</summary>
    protected internal override async Task RunAsync(CancellationToken stoppingToken)
    {
        var due = DueAsync();
        while (!stoppingToken.IsCancellationRequested)
        {
            await Task.WhenAny(due, Task.Delay(_interval, Time, stoppingToken));
            if (due.IsCompleted)
            {
                due = DueAsync();
            }

            // On shutdown, the revocation makes the last commit.
            if (!stoppingToken.IsCancellationRequested)
            {
                await CommitAsync(() => Written(_ => true));
            }
        }
    }

    private async Task DueAsync() => await _due.Reader.ReadAsync(CancellationToken.None);

    /// <summary>The written offsets not yet committed; also the committed ones if the proof of membership is getting old.</summary>
    private List<(AssignedPartition Partition, long Offset)> Written(Func<TopicPartition, bool> which)
    {
        Interlocked.Exchange(ref _rows, 0);
        var again = membership.NeedsRenewal;
        return [.. assignment.Current
            .Where(partition => partition.Owned && which(partition.TopicPartition))
            .Select(partition => (Partition: partition, Offset: partition.Written))
            .Where(commit => commit.Offset >= 0 && (again || commit.Offset != commit.Partition.Committed))];
    }

    /// <summary>Commits, once the previous commit is done.</summary>
    private async Task<ErrorCode> CommitAsync(Func<List<(AssignedPartition Partition, long Offset)>> what)
    {
        await _committing.WaitAsync();
        try
        {
            if (_ended)
            {
                return ErrorCode.Local_Destroy;
            }

            var offsets = what();
            if (offsets.Count == 0)
            {
                return ErrorCode.NoError;
            }

            var asked = Time.GetTimestamp();
            await kafka.CommitAsync([.. offsets.Select(commit => new TopicPartitionOffset(commit.Partition.TopicPartition, commit.Offset))]);
            foreach (var (partition, offset) in offsets)
            {
                partition.CommitTaken(offset, asked);
            }

            membership.Proved(asked);
            metrics.Committed();
            if (_logged != ErrorCode.NoError)
            {
                _logged = ErrorCode.NoError;
                LogCommitsAgain();
            }

            return ErrorCode.NoError;
        }
        catch (KafkaException exception)
        {
            // Nothing is lost: the next commit includes these offsets, or the new owner of the partitions rereads their rows.
            metrics.CommitFailed();
            var error = exception.Error;
            if (error.Code != ErrorCode.RebalanceInProgress && error.Code != _logged)
            {
                // Logged once: while brokers are down, every interval fails.
                _logged = error.Code;
                LogCommitFailed(error.Reason);
            }

            return error.Code;
        }
        finally
        {
            _committing.Release();
        }
    }

    [LoggerMessage(EventIds.Consume + 20, LogLevel.Warning, "Commit failed, retrying at every interval: {Error}.")]
    private partial void LogCommitFailed(string error);

    [LoggerMessage(EventIds.Consume + 21, LogLevel.Information, "Commits succeed again.")]
    private partial void LogCommitsAgain();
}
