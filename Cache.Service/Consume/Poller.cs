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
    private readonly HashSet<AssignedPartition> _startAgain = [];
    private IReadOnlyCollection<AssignedPartition> _new = [];
    private long _lastHeartbeat = time.GetTimestamp();

    /// <summary>Time since the last heartbeat.</summary>
    public TimeSpan SinceLastHeartbeat => time.GetElapsedTime(Volatile.Read(ref _lastHeartbeat));

    /// <summary>Shows that the consume thread is alive.</summary>
    public void Heartbeat() => Volatile.Write(ref _lastHeartbeat, time.GetTimestamp());

    /// <summary>Does one turn.</summary>
    /// <returns>False if nothing was done: the queue is full, but perhaps only for a moment.</returns>
    public bool Turn(IRowSource source)
    {
        Heartbeat();
        var consumer = source.Consumer;
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
        while ((Take(source, wait) && ++rows < RowQueue.MaxAtOnce && !pressure.HoldsRows) || source.HasMore)
        {
            wait = TimeSpan.Zero;
        }

        repositioning.StartAgain(consumer, _startAgain);
        pressure.HandOver(moreComes: rows >= RowQueue.MaxAtOnce);
        return true;
    }

    /// <summary>Takes the next row.</summary>
    /// <returns>False if there is none at the moment.</returns>
    private bool Take(IRowSource source, TimeSpan wait)
    {
        var isNext = !source.HasMore;
        var before = assignment.Current;
        Received received;
        bool isTaken;
        try
        {
            isTaken = source.TryTake(wait, out received);
        }
        catch (ConsumeException exception) when (!exception.Error.IsFatal)
        {
            NoteError(exception);
            isTaken = false;
            received = default;
        }

        if (isNext)
        {
            // Callbacks have come between the rows that are taken together now.
            _new = source.TakesBatches && !ReferenceEquals(before, assignment.Current) ? [.. assignment.Current.Except(before)] : [];
        }

        if (isTaken)
        {
            Process(source.Consumer, received);
        }

        return isTaken;
    }

    private void Process(IConsumer<RowKey, Row> consumer, in Received received)
    {
        // Null if the partition was revoked after the client had queued the row.
        if (assignment.Find(received.Topic, received.Partition) is not { } partition)
        {
            return;
        }

        if ((_new.Count > 0 && _new.Contains(partition)) || (_startAgain.Count > 0 && _startAgain.Contains(partition)))
        {
            // The row may have been fetched before the partition was assigned anew, from beyond the offset at which it starts now.
            _startAgain.Add(partition);
            return;
        }

        topics.NoteRead(received.Topic);
        if (waits.Holds(consumer, partition, received))
        {
            return;
        }

        if (received.IsEnd)
        {
            // Transaction markers and aborted rows use up offsets but are never delivered; only the end reveals them.
            if (received.Offset > partition.Next)
            {
                pressure.Skip(partition, received.Offset - 1);
            }

            return;
        }

        partition.Records.Increment();
        if (received.Row.Kind == RowKind.WithoutType)
        {
            topics.NoteWithoutType(received.Topic);
        }

        using var receipt = ReceiveSpan.Start(received, topics.ConsumerGroup);
        pressure.Enqueue(new(partition, received.Offset, received.Timestamp, received.Row, receipt));
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
