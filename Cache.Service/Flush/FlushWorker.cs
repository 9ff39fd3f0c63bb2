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

    // How long a batch waits for rows that the consume loop has at hand: in a backlog it pays to write fewer, larger batches.
    private static readonly TimeSpan Linger = TimeSpan.FromMilliseconds(10);

    private readonly TimeSpan _interval = TimeSpan.FromMilliseconds(options.CommitIntervalMs);
    private bool _redisIsDown;

    /// <summary>The consume loop hands over what it has when it stops, and lets everything go when that takes too long.</summary>
    protected override TimeSpan StopTimeout => TimeSpan.FromSeconds(20);

    /// <summary>
    /// Ends when the consume loop has completed the queue and everything is written: not by the token, since what is in
    /// flight at the stop is still to be written. The token only ends waiting for a Redis that was never there.
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
                // Nothing will come of the rows behind it either.
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
                    // None will come any more: what is left is written next, or all is.
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
                // With rows coming in, each write looks at the epoch; without, this does.
                epochDue = null;
                await CheckRedisAsync(stoppingToken);
            }
        }
    }

    /// <summary>Puts in what there is, until the queue is empty or the batch is due.</summary>
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

    /// <summary>Whether it pays no more to wait for further rows.</summary>
    private bool IsRipe(Batch batch) =>
        !batch.IsEmpty && (!queue.MoreComes || IsDue(batch) || Time.GetElapsedTime(batch.StartedAt) >= Linger);

    private bool IsDue(Batch batch) =>
        batch.IsFull(options.WriteBatchSize) || (batch.Rows > 0 && Time.GetElapsedTime(batch.StartedAt) >= _interval);

    private async Task CheckRedisAsync(CancellationToken stoppingToken)
    {
        try
        {
            await guard.CheckAsync(stoppingToken);
            if (_redisIsDown)
            {
                _redisIsDown = false;
                LogRedisBack();
            }
        }
        catch (Exception exception) when (stoppingToken.IsCancellationRequested || Failures.IsRetryable(exception))
        {
            if (!_redisIsDown && !stoppingToken.IsCancellationRequested)
            {
                _redisIsDown = true;
                LogRedisDown(exception.Message);
            }
        }
    }

    /// <inheritdoc/>
    protected override void LogFailed(Exception exception) => LogFatal(exception);

    [LoggerMessage(EventIds.Flush + 5, LogLevel.Critical, "The flush worker failed; the service stops with exit code 1.")]
    private partial void LogFatal(Exception exception);

    [LoggerMessage(EventIds.Flush + 6, LogLevel.Warning, "Waiting for Redis: {Error}. Is the address right (ConnectionStrings:redis or redis_host and redis_port)?")]
    private partial void LogRedisDown(string error);

    [LoggerMessage(EventIds.Flush + 7, LogLevel.Information, "Redis answers.")]
    private partial void LogRedisBack();
}
