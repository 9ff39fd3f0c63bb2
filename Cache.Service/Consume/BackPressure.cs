using Cache.Service.Enqueue;
using Cache.Service.Model;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Keeps the queue bounded without leaving the group: while the queue is full, the partitions are paused and the loop polls
/// on. The consume loop's own.
/// </summary>
internal sealed partial class BackPressure(RowQueue queue, Assignment assignment, TimeProvider time, ILogger<BackPressure> logger)
{
    // Pausing discards what the client has prefetched, so a queue that is full only for a moment is waited for.
    private static readonly TimeSpan FullTimeout = TimeSpan.FromMilliseconds(200);

    // Rows that the full queue did not take; more than one only if a rebalance delivered some in between.
    private readonly Queue<QueuedRow> _held = [];
    private IReadOnlyList<AssignedPartition> _paused = [];
    private IReadOnlyList<AssignedPartition> _running = [];
    private long? _fullSince;

    /// <summary>Whether rows wait because the queue is full.</summary>
    public bool HoldsRows => _held.Count > 0;

    /// <summary>Whether partitions are paused.</summary>
    public bool IsPaused => _paused.Count > 0;

    /// <summary>Puts a row into the queue, or holds it while the queue is full.</summary>
    public void Enqueue(in QueuedRow row)
    {
        row.Partition!.Next = row.Offset + 1;
        if (_held.Count > 0 || !queue.TryEnqueue(row))
        {
            _held.Enqueue(row);
        }
    }

    /// <summary>Stands for rows that nobody sees: up to an offset there is nothing to write.</summary>
    public void Skip(AssignedPartition partition, long offset) => Enqueue(new(partition, offset, 0, Row.Skip));

    /// <summary>Hands the rows of a turn over to the flush.</summary>
    /// <param name="moreComes">Whether more rows are at hand.</param>
    public void HandOver(bool moreComes) => queue.HandOver(moreComes);

    /// <summary>Enqueues the rows held back; pauses once the queue stays full, and resumes when it is half empty.</summary>
    /// <returns>False while the queue has not been full for long enough to pause.</returns>
    public bool Apply(IConsumer<RowKey, Row> consumer)
    {
        if (_held.Count > 0 && _paused.Count == 0)
        {
            _fullSince ??= time.GetTimestamp();
            if (!TryEnqueueHeld())
            {
                if (time.GetElapsedTime(_fullSince.Value) <= FullTimeout)
                {
                    return false;
                }

                Pause(consumer);
            }

            _fullSince = null;
            return true;
        }

        if (_paused.Count == 0)
        {
            if (!ReferenceEquals(_running, assignment.Current))
            {
                // The client remembers a pause across rebalances: a partition that was paused when it was revoked comes back
                // paused, and nobody here would ever resume it.
                _running = assignment.Current;
                OnAssigned(consumer.Resume);
            }
        }
        else if (TryEnqueueHeld() && queue.IsAtLowWater)
        {
            Resume(consumer);
        }
        else if (!ReferenceEquals(_paused, assignment.Current))
        {
            // Partitions that came with a rebalance start out running.
            Pause(consumer);
        }

        return true;
    }

    /// <summary>Pauses again, where paused: partitions that were assigned anew in the client are running.</summary>
    public void PauseAgain(IConsumer<RowKey, Row> consumer)
    {
        if (_paused.Count > 0)
        {
            OnAssigned(consumer.Pause);
        }
    }

    private bool TryEnqueueHeld()
    {
        while (_held.TryPeek(out var row))
        {
            if (row.Partition!.Owned && !queue.TryEnqueue(row))
            {
                return false;
            }

            _held.Dequeue();
        }

        return true;
    }

    private void Pause(IConsumer<RowKey, Row> consumer)
    {
        if (_paused.Count == 0)
        {
            LogPaused(queue.Count);
        }

        _paused = assignment.Current;
        OnAssigned(consumer.Pause);
    }

    private void Resume(IConsumer<RowKey, Row> consumer)
    {
        LogResumed();
        _paused = [];
        OnAssigned(consumer.Resume);
    }

    private void OnAssigned(Action<IEnumerable<TopicPartition>> action)
    {
        try
        {
            action([.. assignment.Current.Select(partition => partition.TopicPartition)]);
        }
        catch (KafkaException exception) when (exception.Error.Code is ErrorCode.Local_State or ErrorCode.Local_UnknownPartition)
        {
            // One of them is on its way to another member.
        }
    }

    [LoggerMessage(EventIds.Consume + 33, LogLevel.Warning,
        "The queue is full ({Rows} rows): partitions are paused until it is half empty. Is Redis slow, or redis_queue_max_size too small?")]
    private partial void LogPaused(int rows);

    [LoggerMessage(EventIds.Consume + 34, LogLevel.Information, "The queue is half empty: partitions are resumed.")]
    private partial void LogResumed();
}
