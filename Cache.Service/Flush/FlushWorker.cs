using Cache.Service.Enqueue;
using Cache.Service.Hosting;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Service.Telemetry;

namespace Cache.Service.Flush;

/// <summary>
/// Takes rows off the queue and coalesces them into batches, which <see cref="BatchWriter"/> writes one at a time, so that order is
/// kept. While one batch is on the wire the next is filled: the slower Redis, the larger the batches.
/// </summary>
internal sealed partial class FlushWorker(
    RowQueue queue, BatchWriter writer, WriteGuard guard, CacheOptions options, TimeProvider time, FatalError fatal, ILogger<FlushWorker> logger)
    : Worker(fatal, time, logger)
{
    // How often the clock is read while rows stream in.
    private const int RowsBetweenClockReads = 256;

    // How long a batch waits for rows that the consume loop has at hand: in a backlog, few large batches are cheaper than many small ones.
    private static readonly TimeSpan Linger = TimeSpan.FromMilliseconds(10);

    private readonly TimeSpan _interval = TimeSpan.FromMilliseconds(options.CommitIntervalMs);
    private readonly Reminder _redisIsDown = new(time);

    /// <summary>Longer than a stop takes: the consume loop hands over its last rows, and revokes everything if writing them takes too long.</summary>
    protected override TimeSpan StopTimeout => TimeSpan.FromSeconds(20);

    /// <summary>
    /// Ends once the consume loop has completed the queue and everything is written. Not by the token: what is in flight at the stop
    /// still has to be written. The token only ends the wait for a Redis that never came up.
    /// </summary>
    protected internal override async Task RunAsync(CancellationToken stoppingToken)
    {
        var filling = new Batch();
        var spare = new Batch();
        var writing = Task.CompletedTask;
        Task<bool>? row = null;
        Task? epochDue = null;
        Task? lingered = null;
        var isLast = false;
        while (true)
        {
            if (writing.IsFaulted)
            {
                // It failed permanently, and later rows must not overtake it.
                await writing;
            }

            Fill(filling);
            if (writing.IsCompleted && (IsRipe(filling) || (isLast && !filling.IsEmpty)))
            {
                await writing;
                (filling, spare) = (spare, filling);
                writing = writer.WriteAsync(spare);
                lingered = null;
                continue;
            }

            if (IsDue(filling))
            {
                await writing;
                continue;
            }

            row ??= queue.WaitForRowAsync();
            epochDue ??= Task.Delay(_interval, Time, CancellationToken.None);
            lingered = filling.IsEmpty || lingered is { IsCompleted: true } ? null : lingered ?? Task.Delay(Linger, Time, CancellationToken.None);
            await Task.WhenAny(row, !writing.IsCompleted ? writing : lingered ?? epochDue);
            if (row.IsCompleted)
            {
                if (!await row)
                {
                    // The queue is complete: write what is left, then end.
                    isLast = true;
                    await writing;
                    if (filling.IsEmpty)
                    {
                        if (guard.HasDoubts)
                        {
                            await CheckRedisAsync(stoppingToken);
                        }

                        return;
                    }
                }

                row = null;
            }
            else if (writing.IsCompleted && filling.IsEmpty && epochDue.IsCompleted)
            {
                // While rows come in, each write checks the epoch; while none do, this does.
                epochDue = null;
                await CheckRedisAsync(stoppingToken);
            }
        }
    }

    /// <summary>Fills the batch until the queue is empty, or the batch is full or due.</summary>
    private void Fill(Batch batch)
    {
        var now = Time.GetTimestamp();
        for (var rows = 1; !batch.IsFull(options.WriteBatchSize) && queue.TryDequeue(out var row); rows++)
        {
            batch.Add(row, now);
            if (rows % RowsBetweenClockReads == 0)
            {
                now = Time.GetTimestamp();
                if (IsDue(batch))
                {
                    return;
                }
            }
        }
    }

    /// <summary>Whether waiting for further rows no longer pays.</summary>
    private bool IsRipe(Batch batch) =>
        !batch.IsEmpty && (!queue.MoreComes || IsDue(batch) || Time.GetElapsedTime(batch.StartedAt) >= Linger);

    private bool IsDue(Batch batch) =>
        batch.IsFull(options.WriteBatchSize) || (batch.Rows > 0 && Time.GetElapsedTime(batch.StartedAt) >= _interval);

    /// <summary>Checks Redis while nothing is written; logs when it goes down, ever more seldom while it stays down, and once when it is back.</summary>
    private async Task CheckRedisAsync(CancellationToken stoppingToken)
    {
        try
        {
            await guard.CheckAsync(stoppingToken);
            if (_redisIsDown.End())
            {
                LogRedisBack();
            }
        }
        catch (Exception exception) when (stoppingToken.IsCancellationRequested || Failures.IsRetryable(exception))
        {
            if (!stoppingToken.IsCancellationRequested && _redisIsDown.IsDue(Failures.KindOf(exception)))
            {
                LogRedisDown(RedisErrors.Text(exception), _redisIsDown.SoFar);
            }
        }
    }

    /// <inheritdoc/>
    protected override void LogFailed(Exception exception) => LogFatal(exception);

    [LoggerMessage(EventIds.Flush + 5, LogLevel.Critical, "The flush worker failed; the service stops with exit code 1.")]
    private partial void LogFatal(Exception exception);

    [LoggerMessage(EventIds.Flush + 6, LogLevel.Warning,
        "Waiting for Redis: {Error}. Check the server and its address (ConnectionStrings:redis, or redis_host and redis_port).{SoFar}")]
    private partial void LogRedisDown(string error, string soFar);

    [LoggerMessage(EventIds.Flush + 7, LogLevel.Information, "Redis is up.")]
    private partial void LogRedisBack();
}
