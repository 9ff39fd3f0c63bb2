using System.Threading.Channels;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Commits explicit offsets: those up to which every row of a partition is in Redis or in the dead letters. Runs beside
/// the flush and never holds it up; one commit at a time.
/// </summary>
internal sealed partial class OffsetCommitter(
    IOffsetCommit kafka, Assignment assignment, CacheOptions options, CacheMetrics metrics, TimeProvider time, ILogger<OffsetCommitter> logger)
    : BackgroundService
{
    private static readonly TimeSpan RebalancePause = TimeSpan.FromMilliseconds(50);

    private readonly TimeSpan _interval = TimeSpan.FromMilliseconds(options.CommitIntervalMs);
    private readonly Channel<bool> _due = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private readonly SemaphoreSlim _committing = new(1, 1);
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
    public void CommitSoon() => _due.Writer.TryWrite(true);

    /// <summary>Commits what is written of some partitions, now; for when they are about to be let go.</summary>
    /// <returns>False when Kafka did not acknowledge it.</returns>
    public async Task<bool> CommitNowAsync(IReadOnlyCollection<TopicPartition> partitions, TimeSpan patience)
    {
        var started = time.GetTimestamp();

        // While the group is between two generations Kafka refuses every commit; that passes.
        ErrorCode error;
        while ((error = await CommitAsync(partition => partitions.Contains(partition.TopicPartition))) == ErrorCode.RebalanceInProgress
            && time.GetElapsedTime(started) < patience)
        {
            await Task.Delay(RebalancePause, time, CancellationToken.None);
        }

        return error == ErrorCode.NoError;
    }

    /// <inheritdoc/>
    protected override Task ExecuteAsync(CancellationToken stoppingToken) => RunAsync(stoppingToken);

    /// <summary>Commits whenever that is due.</summary>
    internal async Task RunAsync(CancellationToken stoppingToken)
    {
        while (!stoppingToken.IsCancellationRequested)
        {
            using var interval = new CancellationTokenSource(_interval, time);
            using var either = CancellationTokenSource.CreateLinkedTokenSource(stoppingToken, interval.Token);
            try
            {
                await _due.Reader.ReadAsync(either.Token);
            }
            catch (OperationCanceledException)
            {
                // The interval is over, or the service stops; the last commit belongs to the revocation then.
            }

            if (!stoppingToken.IsCancellationRequested)
            {
                await CommitAsync(_ => true);
            }
        }
    }

    /// <summary>Commits what is written and not committed yet.</summary>
    private async Task<ErrorCode> CommitAsync(Func<AssignedPartition, bool> which)
    {
        await _committing.WaitAsync();
        try
        {
            Interlocked.Exchange(ref _rows, 0);
            var due = assignment.Current
                .Where(partition => partition.Owned && which(partition))
                .Select(partition => (Partition: partition, Offset: partition.Written))
                .Where(commit => commit.Offset >= 0 && commit.Offset != commit.Partition.Committed)
                .ToList();
            if (due.Count == 0)
            {
                return ErrorCode.NoError;
            }

            await kafka.CommitAsync([.. due.Select(commit => new TopicPartitionOffset(commit.Partition.TopicPartition, commit.Offset))]);
            foreach (var (partition, offset) in due)
            {
                partition.Committed = offset;
            }

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
        finally
        {
            _committing.Release();
        }
    }

    [LoggerMessage(EventIds.Consume + 20, LogLevel.Warning, "A commit failed and is tried again: {Error}.")]
    private partial void LogCommitFailed(string error);
}

/// <summary>The one thing that the committer needs of a consumer.</summary>
internal interface IOffsetCommit
{
    /// <summary>Commits offsets; ends with the acknowledgement.</summary>
    /// <exception cref="KafkaException">It failed, for all or some of them.</exception>
    Task CommitAsync(IReadOnlyList<TopicPartitionOffset> offsets);
}
