using System.Buffers;
using System.Runtime.InteropServices;
using System.Threading.Channels;
using Cache.Service.Options;
using Cache.Service.Partitions;

namespace Cache.Service.Enqueue;

/// <summary>
/// The bounded queue between the consume loop, its only writer, and the flush worker, its only reader. It is bounded because
/// Redis can stall for longer than memory lasts; when it is full, the consume loop pauses its partitions. Rows are handed over
/// in chunks, because waking the reader costs more than a row.
/// </summary>
internal sealed class RowQueue(CacheOptions options)
{
    /// <summary>Bytes of rejected rows at which the queue is full (only rejected rows keep their bytes).</summary>
    public const long MaxRejectedBytes = 32 * 1024 * 1024;

    /// <summary>Maximum number of rows handed over at once.</summary>
    public const int MaxAtOnce = 1024;

    private readonly Channel<Chunk> _chunks = Channel.CreateUnbounded<Chunk>(new() { SingleReader = true, SingleWriter = true });
    private readonly int _max = options.QueueMaxSize;
    private long _rejectedBytes;
    private volatile bool _moreComes;

    // Used by the consume loop: the chunk being filled, and the number of its first row.
    private QueuedRow[]? _filling;
    private long _fillingFrom;
    private long _lastSeenTaken;
    private Counter _added;

    // Used by the flush worker: the chunk being read, and the number of its first row.
    private Chunk _reading;
    private long _readingFrom;
    private Counter _taken;

    /// <summary>Rows in the queue.</summary>
    public int Count => (int)Math.Max(0, Volatile.Read(ref _added.Value) - Volatile.Read(ref _taken.Value));

    /// <summary>Memory held by rejected rows in the queue, in bytes.</summary>
    public long RejectedBytes => Interlocked.Read(ref _rejectedBytes);

    /// <summary>Whether the queue is at most half full, so that paused partitions may resume.</summary>
    public bool IsAtLowWater => Count <= _max / 2 && Interlocked.Read(ref _rejectedBytes) <= MaxRejectedBytes / 2;

    /// <summary>Whether the consume loop had more rows at hand at the last handover.</summary>
    public bool MoreComes => _moreComes;

    /// <summary>Adds a row, which the flush worker sees once it is handed over; false if the queue is full.</summary>
    public bool TryEnqueue(in QueuedRow row)
    {
        // The reader's count is read only when it matters: reading it costs more than the row.
        if (_added.Value - _lastSeenTaken >= _max && _added.Value - (_lastSeenTaken = Volatile.Read(ref _taken.Value)) >= _max)
        {
            return false;
        }

        if (row.Row.Rejected is { } rejected)
        {
            if (Interlocked.Read(ref _rejectedBytes) + rejected.Size > MaxRejectedBytes && Count > 0)
            {
                return false;
            }

            Interlocked.Add(ref _rejectedBytes, rejected.Size);
        }

        Add(row);
        return true;
    }

    /// <summary>Hands the rows added so far over to the flush worker.</summary>
    /// <param name="moreComes">Whether more rows are at hand, so that waiting briefly for them pays off.</param>
    /// <returns>False if the queue is completed.</returns>
    public bool HandOver(bool moreComes)
    {
        _moreComes = moreComes;
        if (_filling is not { } rows)
        {
            return true;
        }

        var chunk = new Chunk(rows, (int)(_added.Value - _fillingFrom));
        (_filling, _fillingFrom) = (null, _added.Value);
        return _chunks.Writer.TryWrite(chunk);
    }

    /// <summary>Hands over, and waits until every row added so far is written or its partition revoked.</summary>
    /// <exception cref="ChannelClosedException">The queue is completed.</exception>
    public Task DrainAsync()
    {
        var drained = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Add(new QueuedRow(null, 0, 0, default, Drained: drained));
        return HandOver(moreComes: false) ? drained.Task : Task.FromException(new ChannelClosedException());
    }

    /// <summary>Takes the next row; false if there is none at the moment.</summary>
    public bool TryDequeue(out QueuedRow row)
    {
        var at = (int)(_taken.Value - _readingFrom);
        if (at == _reading.Count)
        {
            if (_reading.Rows is { } empty)
            {
                ArrayPool<QueuedRow>.Shared.Return(empty);
            }

            (_readingFrom, at) = (_taken.Value, 0);
            if (!_chunks.Reader.TryRead(out _reading))
            {
                row = default;
                return false;
            }
        }

        ref var next = ref _reading.Rows[at];
        row = next;
        next = default;
        Volatile.Write(ref _taken.Value, _taken.Value + 1);
        if (row.Row.Rejected is { } rejected)
        {
            Interlocked.Add(ref _rejectedBytes, -rejected.Size);
        }

        return true;
    }

    /// <summary>Waits for a row; false if the queue is completed and empty.</summary>
    public async Task<bool> WaitForRowAsync() => _taken.Value - _readingFrom < _reading.Count || await _chunks.Reader.WaitToReadAsync();

    /// <summary>Completes the queue: no more rows are added.</summary>
    public void Complete() => _chunks.Writer.TryComplete();

    private void Add(in QueuedRow row)
    {
        // One more than the maximum, because a marker may follow a full queue.
        _filling ??= ArrayPool<QueuedRow>.Shared.Rent(Math.Min(MaxAtOnce - 1, _max) + 1);
        _filling[_added.Value - _fillingFrom] = row;
        Volatile.Write(ref _added.Value, _added.Value + 1);
        if (_added.Value - _fillingFrom == MaxAtOnce)
        {
            HandOver(moreComes: true);
        }
    }

    /// <summary>Rows handed over together.</summary>
    private readonly record struct Chunk(QueuedRow[] Rows, int Count);

    /// <summary>A counter that one side updates per row, on a cache line of its own so that it does not slow the other side down.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    private struct Counter
    {
        [FieldOffset(64)]
        public long Value;
    }
}
