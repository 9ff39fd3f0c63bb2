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

    private readonly Dictionary<WindowKey, Dictionary<Dimension, FieldWrite>> _windows = [];
    private readonly Stack<Dictionary<Dimension, FieldWrite>> _spareFields = [];
    private readonly Dictionary<string, SessionWrite> _sessions = [];
    private readonly HashSet<(WindowKey Window, Dimension Dimension)> _refused = [];
    private int _sessionParts;
    private long _deadLetterBytes;
    private WindowKey _lastKey;
    private Dictionary<Dimension, FieldWrite>? _lastFields;
    private OffsetRange? _lastRange;

    /// <summary>The windows to write, with their fields.</summary>
    public IReadOnlyDictionary<WindowKey, Dictionary<Dimension, FieldWrite>> Windows => _windows;

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
    /// <param name="row">The row; ignored if its partition is no longer owned.</param>
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
            case RowKind.Event or RowKind.Performance:
                var fields = FieldsOf(new(row.Row.Kind, row.Row.WindowStart));
                ref var field = ref CollectionsMarshal.GetValueRefOrAddDefault(fields, row.Row.Dimension!, out _);
                field = field.With(row.Row.Measures, partition);
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

            case RowKind.Skipped:
            default:
                break;
        }
    }

    /// <summary>Removes a dimension that exceeds the limit of its window.</summary>
    public void Refuse(WindowKey window, Dimension dimension)
    {
        var fields = _windows[window];
        fields.Remove(dimension);
        _refused.Add((window, dimension));
        if (fields.Count == 0)
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
        foreach (var (key, fields) in _windows)
        {
            foreach (var dimension in fields.Keys)
            {
                ref var field = ref CollectionsMarshal.GetValueRefOrNullRef(fields, dimension);
                field = field.OfOwned();
                if (!field.Measures.HasFirst && !field.Measures.HasSecond)
                {
                    fields.Remove(dimension);
                }
            }

            if (fields.Count == 0)
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
        foreach (var fields in _windows.Values)
        {
            // A dictionary keeps its capacity when cleared: windows of 10,000 dimensions must not make every spare that large.
            if (_spareFields.Count < 100 && fields.Capacity <= 1024)
            {
                fields.Clear();
                _spareFields.Push(fields);
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
        _lastFields = null;
        _lastRange = null;
        Rows = 0;
    }

    private Dictionary<Dimension, FieldWrite> FieldsOf(WindowKey key)
    {
        if (_lastFields is not null && _lastKey == key)
        {
            return _lastFields;
        }

        ref var fields = ref CollectionsMarshal.GetValueRefOrAddDefault(_windows, key, out var exists);
        if (!exists)
        {
            fields = _spareFields.TryPop(out var spare) ? spare : [];
        }

        _lastKey = key;
        return _lastFields = fields!;
    }

    private OffsetRange RangeOf(AssignedPartition partition, long offset)
    {
        if (_lastRange is not null && ReferenceEquals(_lastRange.Partition, partition))
        {
            return _lastRange;
        }

        var range = Ranges.Find(candidate => ReferenceEquals(candidate.Partition, partition));
        if (range is null)
        {
            range = new(partition) { First = offset };
            Ranges.Add(range);
        }

        return _lastRange = range;
    }
}
