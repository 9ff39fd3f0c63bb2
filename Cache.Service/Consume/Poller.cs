using Cache.Service.Enqueue;
using Cache.Service.Model;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Does one turn of the consume loop: makes room, moves partitions, and takes the rows that have arrived. While the queue
/// stays full, it polls with its partitions paused, so that the process never drops out of the group for being slow.
/// </summary>
internal sealed partial class Poller(
    Assignment assignment, Topics topics, BackPressure pressure, Repositioning repositioning, Rewinding rewinding, SchemaWaits waits, TimeProvider time,
    ILogger<Poller> logger)
{
    private static readonly TimeSpan PollWait = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan HeldPollWait = TimeSpan.FromMilliseconds(5);
    private static readonly TimeSpan WatermarkInterval = TimeSpan.FromSeconds(1);

    private readonly Throttle _watermarksDue = new(time, WatermarkInterval);
    private volatile bool _hasConsumed;
    private long _lastHeartbeat = time.GetTimestamp();

    /// <summary>Whether anything has been consumed yet, even if only the end of an empty partition.</summary>
    public bool HasConsumed => _hasConsumed;

    /// <summary>Time since the last heartbeat.</summary>
    public TimeSpan SinceLastHeartbeat => time.GetElapsedTime(Volatile.Read(ref _lastHeartbeat));

    /// <summary>Shows that the consume thread is alive.</summary>
    public void Heartbeat() => Volatile.Write(ref _lastHeartbeat, time.GetTimestamp());

    /// <summary>Does one turn.</summary>
    /// <returns>False if nothing was done: the queue is full, but perhaps only for a moment.</returns>
    public bool Turn(IConsumer<RowKey, Row> consumer)
    {
        Heartbeat();
        if (!pressure.Apply(consumer))
        {
            return false;
        }

        NoteWatermarks(consumer);
        repositioning.Apply(consumer);
        rewinding.Apply(consumer);
        waits.Apply(consumer);

        // Wait only for the first row.
        var wait = pressure.HoldsRows || pressure.IsPaused || waits.ExpectSoon ? HeldPollWait : PollWait;
        var rows = 0;
        while (rows < RowQueue.MaxAtOnce && Poll(consumer, wait) && !pressure.HoldsRows)
        {
            rows++;
            wait = TimeSpan.Zero;
        }

        pressure.HandOver(moreComes: rows == RowQueue.MaxAtOnce);
        return true;
    }

    /// <summary>Takes the next row.</summary>
    /// <returns>False if there is none at the moment.</returns>
    private bool Poll(IConsumer<RowKey, Row> consumer, TimeSpan wait)
    {
        ConsumeResult<RowKey, Row>? result;
        try
        {
            result = consumer.Consume(wait);
        }
        catch (ConsumeException exception) when (!exception.Error.IsFatal)
        {
            NoteError(exception);
            return false;
        }

        if (result is null)
        {
            return false;
        }

        // Null if the partition was revoked after the client had queued the row.
        if (assignment.Find(result.Topic, result.Partition) is not { } partition)
        {
            return true;
        }

        _hasConsumed = true;
        topics.NoteRead(result.Topic);
        if (waits.Holds(consumer, partition, result))
        {
            return true;
        }

        if (result.IsPartitionEOF)
        {
            // Transaction markers and aborted rows use up offsets but are never delivered; only the end reveals them.
            if (result.Offset.Value > partition.Next)
            {
                pressure.Skip(partition, result.Offset.Value - 1);
            }

            return true;
        }

        partition.Records.Increment();
        if (result.Message.Value.Kind == RowKind.WithoutType)
        {
            topics.NoteWithoutType(result.Topic);
        }

        using var receipt = ReceiveSpan.Start(result, topics.ConsumerGroup);
        pressure.Enqueue(new(partition, result.Offset.Value, result.Message.Timestamp.UnixTimestampMs, result.Message.Value, receipt));
        return true;
    }

    private void NoteError(ConsumeException exception)
    {
        var (origin, error) = (exception.ConsumerRecord?.TopicPartition, exception.Error);
        if (error.Code is ErrorCode.Local_AutoOffsetReset or ErrorCode.Local_LogTruncation && origin is not null)
        {
            // Next is negative while the start of a partition without a committed offset is still being looked up: no offset of
            // ours can be missing then.
            if (assignment.Find(origin.Topic, origin.Partition) is { Next: >= 0 } partition)
            {
                repositioning.Strand(partition);
            }
        }
        else if (!topics.Note(origin?.Topic ?? "", error.Code))
        {
            LogConsumeFailed(error.Reason);
        }
    }

    /// <summary>Records the high watermarks that the client caches from its last fetches, without asking Kafka.</summary>
    private void NoteWatermarks(IConsumer<RowKey, Row> consumer)
    {
        if (_watermarksDue.IsDue())
        {
            foreach (var partition in assignment.Current)
            {
                partition.HighWatermarkSeen(consumer.GetWatermarkOffsets(partition.TopicPartition).High.Value);
            }
        }
    }

    [LoggerMessage(EventIds.Consume + 32, LogLevel.Warning, "Kafka did not deliver: {Error}. The client retries.")]
    private partial void LogConsumeFailed(string error);
}
