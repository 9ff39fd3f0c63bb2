using System.Buffers;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Threading.Channels;
using Cache.Service.Options;
using Cache.Service.Partitions;

namespace Cache.Service.Enqueue;

/// <summary>
/// The bounded queue between the consume loop, which alone adds, and the flush worker, which alone takes. Bounded, since Redis
/// can stall for longer than memory lasts; the consume loop answers a full queue by pausing its partitions. Rows are handed
/// over many at once: to wake the other side costs more than a row.
/// </summary>
internal sealed class RowQueue(CacheOptions options)
{
    /// <summary>Bytes of rejected rows beyond which the queue counts as full (they are the only rows that keep their bytes).</summary>
    public const long MaxRejectedBytes = 32 * 1024 * 1024;

    /// <summary>Rows that are handed over at once.</summary>
    public const int MaxAtOnce = 1024;

    private readonly Channel<Chunk> _chunks = Channel.CreateUnbounded<Chunk>(new() { SingleReader = true, SingleWriter = true });
    private readonly int _max = options.QueueMaxSize;
    private long _rejectedBytes;
    private volatile bool _moreComes;

    // The consume loop's side: the chunk that it fills, and the number of that chunk's first row.
    private QueuedRow[]? _open;
    private long _openFrom;
    private long _takenAsSeen;
    private Counter _added;

    // The flush worker's side: the chunk that it takes rows of.
    private Chunk _reading;
    private long _readingFrom;
    private Counter _taken;

    /// <summary>Rows in the queue.</summary>
    public int Count => (int)Math.Max(0, Volatile.Read(ref _added.Value) - Volatile.Read(ref _taken.Value));

    /// <summary>Bytes of memory that rejected rows in the queue hold.</summary>
    public long RejectedBytes => Interlocked.Read(ref _rejectedBytes);

    /// <summary>Whether there is room enough for paused partitions to go on: half of it.</summary>
    public bool IsAtLowWater => Count <= _max / 2 && Interlocked.Read(ref _rejectedBytes) <= MaxRejectedBytes / 2;

    /// <summary>Whether the consume loop had more rows at hand when it last handed some over.</summary>
    public bool MoreComes => _moreComes;

    /// <summary>Adds a row; false when the queue is full. The flush worker sees it once it is handed over.</summary>
    public bool TryEnqueue(in QueuedRow row)
    {
        // What the other side has taken is looked at only when it matters: the look costs more than the row.
        if (_added.Value - _takenAsSeen >= _max && _added.Value - (_takenAsSeen = Volatile.Read(ref _taken.Value)) >= _max)
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

    /// <summary>Lets the flush worker see what was added.</summary>
    /// <param name="moreComes">Whether more rows are at hand, so that it pays to wait a moment for them.</param>
    /// <returns>False when no rows are taken any more.</returns>
    public bool HandOver(bool moreComes)
    {
        _moreComes = moreComes;
        if (_open is not { } rows)
        {
            return true;
        }

        var chunk = new Chunk(rows, (int)(_added.Value - _openFrom));
        (_open, _openFrom) = (null, _added.Value);
        return _chunks.Writer.TryWrite(chunk);
    }

    /// <summary>Hands over, and ends when every row that was added so far is written, or its partition let go.</summary>
    /// <exception cref="ChannelClosedException">No rows are taken any more.</exception>
    public Task DrainAsync()
    {
        var drained = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        Add(new QueuedRow(null, 0, 0, default, Drained: drained));
        return HandOver(moreComes: false) ? drained.Task : Task.FromException(new ChannelClosedException());
    }

    /// <summary>Takes the next row; false when there is none right now.</summary>
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

    /// <summary>Waits for a row; false when there will be none any more.</summary>
    public async Task<bool> WaitForRowAsync() => _taken.Value - _readingFrom < _reading.Count || await _chunks.Reader.WaitToReadAsync();

    /// <summary>No more rows will come.</summary>
    public void Complete() => _chunks.Writer.TryComplete();

    private void Add(in QueuedRow row)
    {
        // A marker may come behind as many rows as there may be.
        _open ??= ArrayPool<QueuedRow>.Shared.Rent(Math.Min(MaxAtOnce - 1, _max) + 1);
        _open[_added.Value - _openFrom] = row;
        Volatile.Write(ref _added.Value, _added.Value + 1);
        if (_added.Value - _openFrom == MaxAtOnce)
        {
            HandOver(moreComes: true);
        }
    }

    /// <summary>Rows that are handed over together.</summary>
    private readonly record struct Chunk(QueuedRow[] Rows, int Count);

    /// <summary>A number that one side writes for each row: on a cache line of its own, so that it does not slow the other.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 128)]
    private struct Counter
    {
        [FieldOffset(64)]
        public long Value;
    }
}
