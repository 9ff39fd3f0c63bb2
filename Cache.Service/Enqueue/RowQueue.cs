using System.Diagnostics;
using System.Threading.Channels;
using Cache.Service.Consume;
using Cache.Service.Decode;

namespace Cache.Service.Enqueue;

/// <summary>A row on its way to the flush, or a marker between rows.</summary>
/// <param name="Partition">Where the row came from; null for a marker.</param>
/// <param name="Offset">The row's offset.</param>
/// <param name="Timestamp">The row's Kafka timestamp, milliseconds since 1970 UTC; 0 when it has none.</param>
/// <param name="Row">What it says.</param>
/// <param name="Receipt">The span of its receipt; null when its trace is not sampled.</param>
/// <param name="Drained">A marker: told when every row before it is written.</param>
internal readonly record struct QueuedRow(
    AssignedPartition? Partition, long Offset, long Timestamp, Row Row, Activity? Receipt = null, TaskCompletionSource? Drained = null);

/// <summary>
/// The bounded queue between the consume loop and the flush worker: one writer, one reader. Bounded, since Redis can stall
/// for longer than memory lasts; the consume loop answers a full queue by pausing its partitions.
/// </summary>
internal sealed class RowQueue
{
    /// <summary>Bytes of rejected rows beyond which the queue counts as full (they are the only rows that keep their bytes).</summary>
    public const long MostRejectedBytes = 32 * 1024 * 1024;

    private readonly Channel<QueuedRow> _rows;
    private readonly int _most;
    private long _rejectedBytes;

    public RowQueue(CacheOptions options)
    {
        _most = options.QueueMaxSize;
        _rows = Channel.CreateBounded<QueuedRow>(new BoundedChannelOptions(_most) { SingleReader = true, SingleWriter = true });
    }

    /// <summary>Rows in the queue.</summary>
    public int Count => _rows.Reader.Count;

    /// <summary>Whether there is room enough for paused partitions to go on: half of it.</summary>
    public bool IsAtLowWater => Count <= _most / 2 && Interlocked.Read(ref _rejectedBytes) <= MostRejectedBytes / 2;

    /// <summary>Adds a row; false when the queue is full.</summary>
    public bool TryEnqueue(in QueuedRow row)
    {
        var bytes = row.Row.Rejected?.Size ?? 0;
        if (bytes > 0 && Interlocked.Read(ref _rejectedBytes) + bytes > MostRejectedBytes && Count > 0)
        {
            return false;
        }

        if (!_rows.Writer.TryWrite(row))
        {
            return false;
        }

        if (bytes > 0)
        {
            Interlocked.Add(ref _rejectedBytes, bytes);
        }

        return true;
    }

    /// <summary>Ends when every row that is in the queue now is written, or its partition let go.</summary>
    /// <param name="cancellationToken">Ends the wait for room in a full queue.</param>
    /// <exception cref="ChannelClosedException">No rows come any more.</exception>
    public async Task DrainAsync(CancellationToken cancellationToken)
    {
        var drained = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await _rows.Writer.WriteAsync(new QueuedRow(null, 0, 0, default, Drained: drained), cancellationToken);
        await drained.Task;
    }

    /// <summary>Takes the next row; false when there is none right now.</summary>
    public bool TryDequeue(out QueuedRow row)
    {
        if (!_rows.Reader.TryRead(out row))
        {
            return false;
        }

        if (row.Row.Rejected is { } rejected)
        {
            Interlocked.Add(ref _rejectedBytes, -rejected.Size);
        }

        return true;
    }

    /// <summary>Waits for a row; false when there will be none any more.</summary>
    public async Task<bool> WaitForRowAsync() => await _rows.Reader.WaitToReadAsync();

    /// <summary>No more rows will come.</summary>
    public void Complete() => _rows.Writer.TryComplete();
}
