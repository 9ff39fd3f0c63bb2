using System.Diagnostics;
using System.Runtime.InteropServices;
using Cache.Service.Model;
using Cache.Service.Telemetry;

namespace Cache.Service.Partitions;

/// <summary>
/// Rows coalesced for one write: only the last row per field of a window or session is kept, so that Redis gets one HSET per
/// window or session, however many rows there were. Used only by the flush worker.
/// </summary>
internal sealed class Batch
{
    // Rejected rows keep their bytes; a batch must not hold more of them than the queue allows.
    private const int MaxDeadLetters = 1000;

    /// <summary>Bytes of rejected rows at which the batch is full.</summary>
    public const int MaxDeadLetterBytes = 8 * 1024 * 1024;

    private readonly Dictionary<WindowKey, WindowWrite> _windows = [];
    private readonly Stack<WindowWrite> _spares = [];
    private readonly Dictionary<string, SessionWrite> _sessions = [];
    private readonly HashSet<(WindowKey Window, Dimension Dimension)> _refused = [];
    private int _sessionParts;
    private long _deadLetterBytes;
    private WindowKey _lastKey;
    private WindowWrite? _lastWindow;
    private OffsetRange? _lastRange;

    /// <summary>The windows to write.</summary>
    public IReadOnlyDictionary<WindowKey, WindowWrite> Windows => _windows;

    /// <summary>The sessions to write, by id.</summary>
    public IReadOnlyDictionary<string, SessionWrite> Sessions => _sessions;

    /// <summary>The dimensions removed because their windows are at the limit.</summary>
    public IReadOnlySet<(WindowKey Window, Dimension Dimension)> Refused => _refused;

    /// <summary>The offsets read, one range per partition.</summary>
    public List<OffsetRange> Ranges { get; } = [];

    /// <summary>The rejected rows.</summary>
    public List<DeadLetter> DeadLetters { get; } = [];

    /// <summary>Markers to complete when the batch is written.</summary>
    public List<TaskCompletionSource> Markers { get; } = [];

    /// <summary>Links to the receive spans of its rows, at most <see cref="Tracing.MaxLinks"/>.</summary>
    public List<ActivityLink> Traces { get; } = [];

    /// <summary>Rows added.</summary>
    public int Rows { get; private set; }

    /// <summary>When the first row was added (<see cref="TimeProvider.GetTimestamp"/>).</summary>
    public long StartedAt { get; private set; }

    public bool IsEmpty => Rows == 0 && Markers.Count == 0;

    /// <summary>Whether the batch has to be written before anything is added.</summary>
    /// <param name="maxWindows">Maximum number of windows and sessions per batch.</param>
    public bool IsFull(int maxWindows) =>
        _windows.Count + _sessionParts >= maxWindows || DeadLetters.Count >= MaxDeadLetters || _deadLetterBytes >= MaxDeadLetterBytes || Markers.Count > 0;

    /// <summary>Adds a row or a marker.</summary>
    /// <param name="row">The row, whose measures must not be used any more; ignored if its partition is no longer owned.</param>
    /// <param name="now">The current time (<see cref="TimeProvider.GetTimestamp"/>), used for the first row.</param>
    public void Add(in QueuedRow row, long now)
    {
        if (row.Drained is { } marker)
        {
            Markers.Add(marker);
            return;
        }

        var partition = row.Partition!;
        if (!partition.Owned)
        {
            return;
        }

        if (Rows++ == 0)
        {
            StartedAt = now;
        }

        var range = RangeOf(partition, row.Offset);
        range.Next = row.Offset + 1;
        range.Timestamp = Math.Max(range.Timestamp, row.Timestamp);

        if (row.Receipt is { } receipt && Traces.Count < Tracing.MaxLinks)
        {
            Traces.Add(new(receipt.Context));
        }

        switch (row.Row.Kind)
        {
            case RowKind.Window:
                var measures = row.Row.Measures;
                WindowOf(row.Row.Key).Add(row.Row.Dimension!, measures, partition);
                measures.Release();
                break;

            case RowKind.Session:
                ref var session = ref CollectionsMarshal.GetValueRefOrAddDefault(_sessions, row.Row.Session!.Id, out _);
                session ??= new();
                _sessionParts += session.Add(row.Row.Session, partition) ? 1 : 0;
                break;

            case RowKind.Rejected:
                DeadLetters.Add(new(partition, row.Offset, row.Timestamp, row.Row.Reason, row.Row.Rejected!));
                _deadLetterBytes += row.Row.Rejected!.Size;
                break;

            case RowKind.Skipped or RowKind.WithoutType or RowKind.AwaitsSchema:
            default:
                break;
        }
    }

    /// <summary>Removes a dimension that exceeds the limit of its window.</summary>
    public void Refuse(WindowKey window, Dimension dimension)
    {
        var write = _windows[window];
        write.Remove(dimension);
        _refused.Add((window, dimension));
        if (write.Count == 0)
        {
            _windows.Remove(window);
        }
    }

    /// <summary>Removes everything that came from partitions no longer owned.</summary>
    public void DropRevoked()
    {
        if (Ranges.TrueForAll(range => range.Partition.Owned))
        {
            return;
        }

        Ranges.RemoveAll(range => !range.Partition.Owned);
        DeadLetters.RemoveAll(letter => !letter.Partition.Owned);
        foreach (var (key, window) in _windows)
        {
            window.DropRevoked();
            if (window.Count == 0)
            {
                _windows.Remove(key);
            }
        }

        foreach (var (id, session) in _sessions)
        {
            _sessionParts -= session.DropRevoked();
            if (session.IsEmpty)
            {
                _sessions.Remove(id);
            }
        }
    }

    /// <summary>Empties the batch for reuse.</summary>
    public void Clear()
    {
        foreach (var window in _windows.Values)
        {
            // It keeps its capacity when emptied: windows of 10,000 dimensions must not make every spare that large.
            if (_spares.Count < 100 && window.Capacity <= 1024)
            {
                _spares.Push(window);
            }
        }

        _windows.Clear();
        _sessions.Clear();
        _refused.Clear();
        _sessionParts = 0;
        Ranges.Clear();
        DeadLetters.Clear();
        _deadLetterBytes = 0;
        Markers.Clear();
        Traces.Clear();
        _lastWindow = null;
        _lastRange = null;
        Rows = 0;
    }

    private WindowWrite WindowOf(WindowKey key)
    {
        if (_lastWindow is not null && _lastKey == key)
        {
            return _lastWindow;
        }

        ref var window = ref CollectionsMarshal.GetValueRefOrAddDefault(_windows, key, out _);
        if (window is null)
        {
            window = _spares.TryPop(out var spare) ? spare : new();
            window.Reset(key.Type);
        }

        _lastKey = key;
        return _lastWindow = window;
    }

    private OffsetRange RangeOf(AssignedPartition partition, long offset)
    {
        if (_lastRange is not null && ReferenceEquals(_lastRange.Partition, partition))
        {
            return _lastRange;
        }

        // Not with a lambda, which would cost an object per row.
        foreach (var range in Ranges)
        {
            if (ReferenceEquals(range.Partition, partition))
            {
                return _lastRange = range;
            }
        }

        _lastRange = new(partition) { First = offset };
        Ranges.Add(_lastRange);
        return _lastRange;
    }
}
