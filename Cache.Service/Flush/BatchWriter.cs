using Cache.Service.Consume;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Service.Telemetry;

namespace Cache.Service.Flush;

/// <summary>
/// Writes one batch: windows and sessions to Redis, through <see cref="WriteGuard"/>; then updates to subscribers and rejected rows
/// to the dead-letter topic. Only then may its offsets be committed.
/// </summary>
internal sealed partial class BatchWriter(
    WindowStore store, WriteGuard guard, DeadLetterFlush deadLetters, BatchRetry retry, OffsetCommitter committer, FlushMetrics metrics, TimeProvider time,
    ILogger<FlushWorker> logger)
{
    /// <summary>Writes and empties a batch, however long that takes; gives up only on revoked partitions.</summary>
    public async Task WriteAsync(Batch batch)
    {
        await Task.Yield();
        using var span = FlushSpan.Start(batch);
        var started = time.GetTimestamp();
        if (batch.Windows.Count > 0 || batch.Sessions.Count > 0)
        {
            var result = await retry.RetryAsync("Redis", () => TryWriteAsync(batch), batch);
            if (result is not null)
            {
                metrics.BatchWritten(time.GetElapsedTime(started), batch.Rows, batch.Windows.Count - result.WrongType.Count);
                await FollowUpAsync(batch, result);
            }
        }

        await deadLetters.SendAsync(batch);
        foreach (var range in batch.Ranges)
        {
            // The offset of a partition revoked in the meantime is its new owner's to move.
            if (range.Partition.Owned)
            {
                range.Partition.WrittenUpTo(range.Next, range.Timestamp);
            }
        }

        committer.Flushed(batch.Rows);
        batch.Markers.ForEach(marker => marker.TrySetResult());
        batch.Clear();
    }

    private async Task<WriteResult?> TryWriteAsync(Batch batch)
    {
        // Outside the guard: this asks Redis, and the guard's proofs would age meanwhile.
        await store.LimitAsync(batch);
        return await guard.WriteAsync(batch);
    }

    /// <summary>What remains after the write: dead letters for what Redis will never accept, updates, the epoch.</summary>
    private async Task FollowUpAsync(Batch batch, WriteResult result)
    {
        if (result.WrongType.Count > 0 || result.Sessions.WrongType.Count > 0)
        {
            LogWrongType(string.Join(", ", result.WrongType.Select(window => $"{window.Type.Name} {window.Start}")
                .Concat(result.Sessions.WrongType.Select(id => $"{RedisKeys.SessionType} {id}"))));
        }

        if (!result.IsComplete)
        {
            await deadLetters.AddRefusedAsync(batch, result);
        }

        try
        {
            await store.PublishAsync(batch, result);
            await guard.ObserveAsync(result);
        }
        catch (Exception exception) when (Failures.IsRetryable(exception))
        {
            // The rows are written. Subscribers miss an update, as whenever Redis is down; the epoch is checked again.
            LogFollowUpFailed(RedisErrors.Text(exception));
        }
    }

    [LoggerMessage(EventIds.Flush + 3, LogLevel.Error,
        "A key in Redis has the wrong type; cannot write {Windows}. The rows go to the dead letters. Delete or rename the key.")]
    private partial void LogWrongType(string windows);

    [LoggerMessage(EventIds.Flush + 4, LogLevel.Warning, "The batch is written, but publishing its updates or checking the epoch failed: {Error}.")]
    private partial void LogFollowUpFailed(string error);
}
