using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Enqueue;
using Cache.Service.Hosting;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Service.Telemetry;

namespace Cache.Service.Flush;

/// <summary>
/// Takes rows off the queue, coalesces them into batches and writes them, one batch at a time, so that order is kept. While
/// one batch is on the wire the next is filled: the slower Redis, the larger the batches.
/// </summary>
internal sealed partial class FlushWorker : Worker
{
    // How often the clock is read while rows stream in.
    private const int RowsBetweenClockReads = 256;

    // How long a batch waits for rows that the consume loop has at hand: in a backlog it pays to write fewer, larger batches.
    private static readonly TimeSpan Linger = TimeSpan.FromMilliseconds(10);

    private readonly RowQueue _queue;
    private readonly WindowStore _store;
    private readonly RedisEpoch _epoch;
    private readonly DeadLetters _deadLetters;
    private readonly RowReader _reader;
    private readonly OffsetCommitter _committer;
    private readonly Membership _membership;

    // Writes of which it is not known yet whether their partitions were still ours: when they were through, and whose they are.
    private readonly List<(long EndedAt, AssignedPartition Partition)> _inDoubt = [];
    private readonly CacheOptions _options;
    private readonly FlushMetrics _metrics;
    private readonly TimeProvider _time;
    private readonly ILogger<FlushWorker> _logger;
    private readonly TimeSpan _interval;
    private readonly BatchRetry _retry;
    private bool _redisIsDown;

    public FlushWorker(
        RowQueue queue, WindowStore store, RedisEpoch epoch, DeadLetters deadLetters, RowReader reader, OffsetCommitter committer,
        Membership membership, BatchRetry retry, CacheOptions options, FlushMetrics metrics, TimeProvider time, FatalError fatal, ILogger<FlushWorker> logger)
        : base(fatal, time, logger)
    {
        (_queue, _store, _epoch, _deadLetters, _reader, _committer) = (queue, store, epoch, deadLetters, reader, committer);
        (_membership, _retry) = (membership, retry);
        (_options, _metrics, _time, _logger) = (options, metrics, time, logger);
        _interval = TimeSpan.FromMilliseconds(options.CommitIntervalMs);
    }

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
                writing = WriteAsync(spare);
                lingered = null;
                continue;
            }

            if (IsDue(filling))
            {
                await writing;
                continue;
            }

            row ??= _queue.WaitForRowAsync();
            epochDue ??= Task.Delay(_interval, _time, CancellationToken.None);
            lingered = filling.IsEmpty || lingered is { IsCompleted: true } ? null : lingered ?? Task.Delay(Linger, _time, CancellationToken.None);
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
                        if (_inDoubt.Count > 0)
                        {
                            await CheckEpochAsync(stoppingToken);
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
                await CheckEpochAsync(stoppingToken);
            }
        }
    }

    /// <summary>Puts in what there is, until the queue is empty or the batch is due.</summary>
    private void Fill(Batch batch)
    {
        var now = _time.GetTimestamp();
        for (var rows = 1; !batch.IsFull(_options.WriteBatchSize) && _queue.TryDequeue(out var row); rows++)
        {
            batch.Add(row, now);
            if (rows % RowsBetweenClockReads == 0)
            {
                now = _time.GetTimestamp();
                if (IsDue(batch))
                {
                    return;
                }
            }
        }
    }

    /// <summary>Whether it pays no more to wait for further rows.</summary>
    private bool IsRipe(Batch batch) =>
        !batch.IsEmpty && (!_queue.MoreComes || IsDue(batch) || _time.GetElapsedTime(batch.StartedAt) >= Linger);

    private bool IsDue(Batch batch) =>
        batch.IsFull(_options.WriteBatchSize) || (batch.Rows > 0 && _time.GetElapsedTime(batch.StartedAt) >= _interval);

    /// <summary>Writes a batch, however long that takes, then says so; gives up only on partitions that were let go.</summary>
    private async Task WriteAsync(Batch batch)
    {
        await Task.Yield();
        using var span = FlushSpan.Start(batch);
        var started = _time.GetTimestamp();
        if (batch.Windows.Count > 0 || batch.Sessions.Count > 0)
        {
            var result = await _retry.RetryAsync("Redis", () => TryWriteAsync(batch), batch);
            if (result is not null)
            {
                _metrics.BatchWritten(_time.GetElapsedTime(started), batch.Rows, batch.Windows.Count - result.WrongType.Count);
                await FollowUpAsync(batch, result);
            }
        }

        await SendDeadLettersAsync(batch);
        foreach (var range in batch.Ranges)
        {
            // A partition let go meanwhile belongs to somebody else: its offset is not ours to move.
            if (range.Partition.Owned)
            {
                range.Partition.WrittenUpTo(range.Next, range.Timestamp);
            }
        }

        _committer.Flushed(batch.Rows);
        batch.Markers.ForEach(marker => marker.TrySetResult());
        batch.Clear();
    }

    /// <summary>
    /// One attempt to write a batch. Others may have its partitions by now, if this process stood still for long: so it
    /// first makes sure that they do not (docs/decisions/0008).
    /// </summary>
    private async Task<WriteResult?> TryWriteAsync(Batch batch)
    {
        await _store.LimitAsync(batch);

        // Until both hold at once: while one was asked for, the other may have gone.
        while (_epoch.IsStale || NeedsProof(batch))
        {
            await (_epoch.IsStale ? _epoch.CheckAsync() : _committer.ProveMembershipAsync(batch.Ranges));
        }

        batch.DropRevoked();
        if (batch.Ranges.Count == 0)
        {
            return null;
        }

        var sent = true;
        try
        {
            return await _store.WriteAsync(batch);
        }
        catch (Exception exception) when (RedisErrors.IsNotSent(exception))
        {
            sent = false;
            throw;
        }
        finally
        {
            if (sent && (!_membership.IsFresh || batch.Ranges.Exists(range => range.Partition.MayBeElsewhere)))
            {
                var now = _time.GetTimestamp();
                _inDoubt.AddRange(batch.Ranges.Select(range => (now, range.Partition)));
            }

            ResolveDoubts();
        }
    }

    private bool NeedsProof(Batch batch) => !_membership.IsFresh && batch.Ranges.Exists(range => range.Partition.Owned);

    /// <summary>
    /// Finds out whether writes came too late. One that did may stand over what the partition's new owner wrote before it:
    /// then everything is read again.
    /// </summary>
    private void ResolveDoubts()
    {
        if (_inDoubt.Count == 0)
        {
            return;
        }

        // A partition that is rewound is read again anyway.
        _inDoubt.RemoveAll(write => write.Partition.WasOwnedAt(write.EndedAt) || write.Partition is { Owned: false, MayBeElsewhere: false });
        if (_inDoubt.RemoveAll(write => write.Partition.MayBeElsewhere) > 0)
        {
            LogWrittenLate();
            _epoch.Renew();
        }
    }

    /// <summary>What a write leaves to do: dead letters for what Redis will never take, updates, the epoch.</summary>
    private async Task FollowUpAsync(Batch batch, WriteResult result)
    {
        if (result.WrongType.Count > 0 || result.Sessions.WrongType.Count > 0)
        {
            LogWrongType(string.Join(", ", result.WrongType.Select(window => $"{RedisKeys.TypeName(window.Kind)} {window.Start}")
                .Concat(result.Sessions.WrongType.Select(id => $"{RedisKeys.TypeName(RowKind.Session)} {id}"))));
        }

        if (!result.IsComplete)
        {
            await SendRefusedAsync(batch, result);
        }

        try
        {
            await _store.PublishAsync(batch, result);
            await _epoch.ObserveAsync(result.Epoch);
        }
        catch (Exception exception) when (Failures.IsRetryable(exception))
        {
            // The rows are written. Subscribers miss an update, as they do whenever Redis goes; the epoch is looked at again.
            LogFollowUpFailed(exception.Message);
        }
    }

    /// <summary>
    /// Sends the rows that Redis will never take to the dead letters. Their bytes are read from Kafka again, in portions: it may be
    /// all rows of the batch, and large ones.
    /// </summary>
    private async Task SendRefusedAsync(Batch batch, WriteResult result)
    {
        var decoder = new RowDecoder(TimeSpan.FromSeconds(_options.WindowMaxFutureSeconds), _time);
        foreach (var range in batch.Ranges.ToList())
        {
            var next = range.First;
            while (next < range.Next && range.Partition.Owned)
            {
                var from = next;
                var rows = await _retry.RetryAsync(
                    "Kafka", () => Task.Run(() => _reader.Read(range.Partition.TopicPartition, from, range.Next, Batch.MaxDeadLetterBytes)), batch);
                if (rows is null)
                {
                    return;
                }

                next = rows is [.., var last] && rows.Sum(RowReader.SizeOf) >= Batch.MaxDeadLetterBytes ? last.Offset + 1 : range.Next;
                foreach (var read in rows)
                {
                    if (read.Message.Value is { } value
                        && result.Refused(decoder.Decode(RowDecoder.KindOf(read.Topic), value)) is not RejectReason.None and var reason)
                    {
                        batch.DeadLetters.Add(new(range.Partition, read.Offset.Value, read.Message.Timestamp.UnixTimestampMs, reason,
                            new(read.Message.Key, value, read.Message.Headers)));
                    }
                }

                if (next < range.Next)
                {
                    await SendDeadLettersAsync(batch);
                }
            }
        }
    }

    private async Task SendDeadLettersAsync(Batch batch)
    {
        if (batch.DeadLetters.Count > 0)
        {
            await _retry.RetryAsync("The dead-letter topic", async () =>
            {
                await _deadLetters.SendAsync(batch.DeadLetters);
                return true;
            }, batch);
        }
    }

    private async Task CheckEpochAsync(CancellationToken stoppingToken)
    {
        ResolveDoubts();
        try
        {
            await _epoch.CheckAsync(stoppingToken);
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

    [LoggerMessage(EventIds.Flush + 3, LogLevel.Error, "A key in Redis holds another type, so that this cannot be written: {Windows}. The rows go to the dead letters; delete or rename the key.")]
    private partial void LogWrongType(string windows);

    [LoggerMessage(EventIds.Flush + 5, LogLevel.Critical, "The flush worker failed; the service stops with exit code 1.")]
    private partial void LogFatal(Exception exception);

    [LoggerMessage(EventIds.Flush + 6, LogLevel.Warning, "Waiting for Redis: {Error}. Is the address right (ConnectionStrings:redis or redis_host and redis_port)?")]
    private partial void LogRedisDown(string error);

    [LoggerMessage(EventIds.Flush + 7, LogLevel.Information, "Redis answers.")]
    private partial void LogRedisBack();

    [LoggerMessage(EventIds.Flush + 8, LogLevel.Warning,
        "Partitions went to another member while a batch of theirs was on its way to Redis, and may stand over what was written since: every partition is read again.")]
    private partial void LogWrittenLate();

    [LoggerMessage(EventIds.Flush + 4, LogLevel.Warning, "The batch is written, but its updates could not be published: {Error}.")]
    private partial void LogFollowUpFailed(string error);
}
