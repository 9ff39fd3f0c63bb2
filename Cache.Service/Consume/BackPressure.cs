using Cache.Service.Enqueue;
using Cache.Service.Model;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Keeps the queue bounded without leaving the group: while the queue is full, partitions are paused and the loop keeps
/// polling. Those that await a schema stay paused (<see cref="SchemaWaits"/>). Used only by the consume loop.
/// </summary>
internal sealed partial class BackPressure(RowQueue queue, Assignment assignment, TimeProvider time, ILogger<BackPressure> logger)
{
    // Pausing discards what the client has prefetched, so wait this long first: the queue may be full only for a moment.
    private static readonly TimeSpan FullTimeout = TimeSpan.FromMilliseconds(200);

    // Rows that did not fit into the full queue; more than one only if a rebalance delivered some in the meantime.
    private readonly Queue<QueuedRow> _held = [];
    private IReadOnlyList<AssignedPartition> _paused = [];
    private IReadOnlyList<AssignedPartition> _running = [];
    private long? _fullSince;

    /// <summary>Whether rows are held back because the queue is full.</summary>
    public bool HoldsRows => _held.Count > 0;

    /// <summary>Whether partitions are paused.</summary>
    public bool IsPaused => _paused.Count > 0;

    /// <summary>Enqueues a row, or holds it back while the queue is full.</summary>
    public void Enqueue(in QueuedRow row)
    {
        row.Partition!.Next = row.Offset + 1;
        if (_held.Count > 0 || !queue.TryEnqueue(row))
        {
            _held.Enqueue(row);
        }
    }

    /// <summary>
    /// Enqueues a placeholder for rows that are never delivered: up to and including this offset, nothing is left to write.
    /// </summary>
    public void Skip(AssignedPartition partition, long offset) => Enqueue(new(partition, offset, 0, Row.Skip));

    /// <summary>Hands the rows of this turn over to the flush.</summary>
    /// <param name="moreComes">Whether more rows are at hand.</param>
    public void HandOver(bool moreComes) => queue.HandOver(moreComes);

    /// <summary>Enqueues the rows held back; pauses partitions if the queue stays full, and resumes them at half.</summary>
    /// <returns>False while the queue is full, but not yet for long enough to pause.</returns>
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
                // The client remembers pauses across rebalances: a partition revoked while paused comes back paused, and nothing
                // else would ever resume it.
                _running = assignment.Current;
                ResumeAll(consumer);
            }
        }
        else if (TryEnqueueHeld() && queue.IsAtLowWater)
        {
            Resume(consumer);
        }
        else if (!ReferenceEquals(_paused, assignment.Current))
        {
            // Newly assigned partitions start out running.
            Pause(consumer);
        }

        return true;
    }

    /// <summary>If partitions are paused, pauses them again: reassigning one in the client sets it running.</summary>
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
        ResumeAll(consumer);
    }

    private void ResumeAll(IConsumer<RowKey, Row> consumer) => OnAssigned(consumer.Resume, partition => !partition.AwaitsSchema);

    private void OnAssigned(Action<IEnumerable<TopicPartition>> action, Func<AssignedPartition, bool>? only = null)
    {
        try
        {
            action([.. assignment.Current.Where(only ?? (_ => true)).Select(partition => partition.TopicPartition)]);
        }
        catch (KafkaException exception) when (exception.Error.Code is ErrorCode.Local_State or ErrorCode.Local_UnknownPartition)
        {
            // One of them is moving to another member.
        }
    }

    [LoggerMessage(EventIds.Consume + 33, LogLevel.Warning,
        "The queue is full ({Rows} rows): partitions are paused until it is half empty. Is Redis slow, or redis_queue_max_size too small?")]
    private partial void LogPaused(int rows);

    [LoggerMessage(EventIds.Consume + 34, LogLevel.Information, "The queue is half empty: partitions are resumed.")]
    private partial void LogResumed();
}
