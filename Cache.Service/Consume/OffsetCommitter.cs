using System.Threading.Channels;
using Cache.Service.Hosting;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Commits explicit offsets: those up to which every row of a partition is in Redis or in the dead letters. Runs beside
/// the flush and never holds it up; one commit at a time. Each commit that Kafka takes also proves that this process is
/// still in the group (<see cref="Membership"/>).
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

    // The failure that was logged last, until a commit is taken again; touched only while committing.
    private ErrorCode _logged;

    /// <summary>A batch was written: a commit is due when that makes enough rows.</summary>
    public void Flushed(int rows)
    {
        if (Interlocked.Add(ref _rows, rows) >= options.CommitBatchSize)
        {
            CommitSoon();
        }
    }

    /// <summary>A commit is due, whatever the interval: a partition's first position has to be Kafka's before its rows are.</summary>
    public void CommitSoon() => _due.Writer.TryWrite(true);

    /// <summary>Commits what is written of some partitions, now; for when they are about to be let go.</summary>
    /// <returns>False when Kafka did not acknowledge it.</returns>
    public async Task<bool> CommitNowAsync(IReadOnlyCollection<TopicPartition> partitions, TimeSpan timeout)
    {
        var started = Time.GetTimestamp();

        // While the group is between two generations Kafka refuses every commit; that passes.
        ErrorCode error;
        while ((error = await CommitAsync(() => Written(partitions.Contains))) == ErrorCode.RebalanceInProgress && Time.GetElapsedTime(started) < timeout)
        {
            await Task.Delay(RebalancePause, Time, CancellationToken.None);
        }

        return error == ErrorCode.NoError;
    }

    /// <summary>
    /// Waits for the flush of partitions that are about to be let go, unless Kafka refuses a commit of them for good: nothing
    /// more can be written or committed then, and waiting would only keep this process from joining the group again.
    /// </summary>
    /// <exception cref="MembershipException">Kafka refused it for good.</exception>
    public async Task FlushedAsync(Task flush, IReadOnlyCollection<TopicPartition> partitions)
    {
        // Awaited, and not only watched: what is drained is told on a thread of the pool, and a simulation has none.
        var flushed = AwaitedAsync(flush);

        // Mostly it is done at once, and the commit after it is enough.
        var error = ErrorCode.RebalanceInProgress;
        while (error == ErrorCode.RebalanceInProgress && !await IsFirstAsync(flushed, Task.Delay(RebalancePause, Time, CancellationToken.None)))
        {
            var commit = CommitAsync(() => Written(partitions.Contains));
            error = await IsFirstAsync(flushed, commit) ? ErrorCode.NoError : await commit;
        }

        // The client joins again only when the revocation is over, so these do not pass.
        if (error is ErrorCode.IllegalGeneration or ErrorCode.UnknownMemberId or ErrorCode.FencedInstanceId)
        {
            throw new MembershipException(new Error(error).Reason);
        }

        await flushed;

        static async Task AwaitedAsync(Task task) => await task;
        static async Task<bool> IsFirstAsync(Task task, Task other) => await Task.WhenAny(task, other) == task;
    }

    /// <summary>
    /// Has Kafka prove that this process is still in the group, by a commit of where some partitions stand: it refuses that
    /// of a process that it has given up on.
    /// </summary>
    /// <exception cref="MembershipException">Kafka refused it, or did not answer.</exception>
    public async Task ProveMembershipAsync(IReadOnlyCollection<OffsetRange> ranges)
    {
        // What is before a range is written, or nobody's: where that is not known better, its start is committed again; the end
        // of an empty partition stands for the row before it.
        var error = await CommitAsync(() => [.. ranges.Where(range => range.Partition.Owned)
            .Select(range => (range.Partition, range.Partition.Written is >= 0 and var written ? written : Math.Max(0, range.First)))]);
        if (error != ErrorCode.NoError)
        {
            throw new MembershipException(new Error(error).Reason);
        }
    }

    /// <summary>Commits whenever that is due.</summary>
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

            // At the stop the last commit belongs to the revocation.
            if (!stoppingToken.IsCancellationRequested)
            {
                await CommitAsync(() => Written(_ => true));
            }
        }
    }

    private async Task DueAsync() => await _due.Reader.ReadAsync(CancellationToken.None);

    /// <summary>What is written and not committed yet; what is committed too, when the last proof of membership grows old.</summary>
    private List<(AssignedPartition Partition, long Offset)> Written(Func<TopicPartition, bool> which)
    {
        Interlocked.Exchange(ref _rows, 0);
        var again = membership.NeedsRenewal;
        return [.. assignment.Current
            .Where(partition => partition.Owned && which(partition.TopicPartition))
            .Select(partition => (Partition: partition, Offset: partition.Written))
            .Where(commit => commit.Offset >= 0 && (again || commit.Offset != commit.Partition.Committed))];
    }

    /// <summary>Commits, when the commit before is done.</summary>
    private async Task<ErrorCode> CommitAsync(Func<List<(AssignedPartition Partition, long Offset)>> what)
    {
        await _committing.WaitAsync();
        try
        {
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
            // Nothing is lost by it: the next commit carries these offsets again, or whoever has the partitions now
            // reads their rows once more.
            metrics.CommitFailed();
            var error = exception.Error;
            if (error.Code != ErrorCode.RebalanceInProgress && error.Code != _logged)
            {
                // Once, though each interval fails while the brokers are away.
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
