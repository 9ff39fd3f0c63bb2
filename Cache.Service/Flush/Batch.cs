using System.Diagnostics;
using System.Runtime.InteropServices;
using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Enqueue;
using Cache.Service.Telemetry;

namespace Cache.Service.Flush;

/// <summary>Names one window: a type and a start.</summary>
/// <param name="Kind"><see cref="RowKind.Event"/> or <see cref="RowKind.Performance"/>.</param>
/// <param name="Start">Milliseconds since 1970 UTC.</param>
internal readonly record struct WindowKey(RowKind Kind, long Start);

/// <summary>What a batch says of one dimension of one window.</summary>
/// <param name="Measures">The last values.</param>
/// <param name="FirstFrom">The partition that the first measure is from; when it is let go, the measure is not written.</param>
/// <param name="SecondFrom">The partition that the second measure is from, likewise.</param>
internal readonly record struct FieldWrite(Measures Measures, AssignedPartition? FirstFrom, AssignedPartition? SecondFrom)
{
    /// <summary>These measures with those of a later row over them.</summary>
    public FieldWrite With(Measures later, AssignedPartition from) =>
        new(Measures.With(later), later.HasFirst ? from : FirstFrom, later.HasSecond ? from : SecondFrom);

    /// <summary>What is left of it when partitions were let go.</summary>
    public FieldWrite OfOwned()
    {
        var (first, second) = (FirstFrom is { Owned: true }, SecondFrom is { Owned: true });
        return this with { Measures = new(first ? Measures.First : 0, second ? Measures.Second : 0, first, second) };
    }
}

/// <summary>What a batch says of one session: its rows in their order, those that can be one made one.</summary>
internal sealed class SessionWrite
{
    private readonly List<(AssignedPartition From, Session Row)> _parts = new(1);

    /// <summary>Puts a row over those that are there.</summary>
    /// <returns>Whether it stands beside them, since it may be the only one to be written in the end.</returns>
    public bool Add(Session row, AssignedPartition from)
    {
        // Not over one of another partition, which may be let go; nor over one with a later end, which may be active when
        // this one no longer is.
        if (_parts is [.., var last] && ReferenceEquals(last.From, from) && row.End >= last.Row.End)
        {
            _parts[^1] = (from, last.Row.With(row));
            return false;
        }

        _parts.Add((from, row));
        return true;
    }

    /// <summary>The session, of what ended after a time; null when nothing did.</summary>
    /// <param name="time">Milliseconds since 1970 UTC.</param>
    public Session? EndedAfter(long time)
    {
        Session? session = null;
        foreach (var (_, row) in _parts)
        {
            if (row.End > time)
            {
                session = session?.With(row) ?? row;
            }
        }

        return session;
    }

    /// <summary>Whether nothing is left of it.</summary>
    public bool IsEmpty => _parts.Count == 0;

    /// <summary>Takes out what is from partitions that were let go.</summary>
    /// <returns>How many rows that were.</returns>
    public int DropLetGo() => _parts.RemoveAll(part => !part.From.Owned);
}

/// <summary>What a batch read from one partition.</summary>
internal sealed class PartitionRange(AssignedPartition partition)
{
    public AssignedPartition Partition { get; } = partition;

    /// <summary>The first row's offset.</summary>
    public long First { get; init; }

    /// <summary>The offset after the last row.</summary>
    public long Next { get; set; }

    /// <summary>The latest Kafka timestamp of its rows, milliseconds; 0 when they have none.</summary>
    public long Timestamp { get; set; }
}

/// <summary>A rejected row on its way to the dead letters.</summary>
internal sealed record DeadLetter(AssignedPartition Partition, long Offset, long Timestamp, RejectReason Reason, RejectedRow Row);

/// <summary>
/// Rows coalesced for one write: of the rows for one field of one window or session only the last stays, so that Redis gets
/// one HSET a window or session however many rows it had. Filled and emptied by the flush worker alone.
/// </summary>
internal sealed class Batch
{
    // Rejected rows hold their bytes; a batch of them must not outgrow what the queue bounds.
    private const int MostDeadLetters = 1000;

    /// <summary>Bytes of rejected rows beyond which the batch takes no more.</summary>
    public const int MostDeadLetterBytes = 8 * 1024 * 1024;

    private readonly Dictionary<WindowKey, Dictionary<Dimension, FieldWrite>> _windows = [];
    private readonly Stack<Dictionary<Dimension, FieldWrite>> _spare = [];
    private readonly Dictionary<string, SessionWrite> _sessions = [];
    private readonly HashSet<(WindowKey Window, Dimension Dimension)> _refused = [];
    private int _sessionParts;
    private long _deadLetterBytes;
    private WindowKey _lastKey;
    private Dictionary<Dimension, FieldWrite>? _lastFields;
    private PartitionRange? _lastRange;

    /// <summary>The windows to write, with their fields.</summary>
    public IReadOnlyDictionary<WindowKey, Dictionary<Dimension, FieldWrite>> Windows => _windows;

    /// <summary>The sessions to write, by their ids.</summary>
    public IReadOnlyDictionary<string, SessionWrite> Sessions => _sessions;

    /// <summary>What was taken out, since its window has no room for it.</summary>
    public IReadOnlySet<(WindowKey Window, Dimension Dimension)> Refused => _refused;

    /// <summary>What was read from which partition.</summary>
    public List<PartitionRange> Ranges { get; } = [];

    /// <summary>The rejected rows.</summary>
    public List<DeadLetter> DeadLetters { get; } = [];

    /// <summary>Markers to tell when the batch is written.</summary>
    public List<TaskCompletionSource> Markers { get; } = [];

    /// <summary>Links to the receipts of its rows, the first few of them.</summary>
    public List<ActivityLink> Traces { get; } = [];

    /// <summary>Rows that were put in.</summary>
    public int Rows { get; private set; }

    /// <summary>When the first row was put in (<see cref="TimeProvider.GetTimestamp"/>).</summary>
    public long StartedAt { get; private set; }

    public bool IsEmpty => Rows == 0 && Markers.Count == 0;

    /// <summary>Whether the batch takes no more before it is written.</summary>
    /// <param name="mostWindows">Windows, and sessions, that are written at once.</param>
    public bool IsFull(int mostWindows) =>
        _windows.Count + _sessionParts >= mostWindows || DeadLetters.Count >= MostDeadLetters || _deadLetterBytes >= MostDeadLetterBytes || Markers.Count > 0;

    /// <summary>Puts a row, or a marker, in.</summary>
    /// <param name="row">The row; ignored when its partition has been let go.</param>
    /// <param name="now">The time, should this be the first (<see cref="TimeProvider.GetTimestamp"/>).</param>
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

        if (row.Receipt is { } receipt && Traces.Count < Tracing.MostLinks)
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

    /// <summary>Takes out a dimension that its window has no room for.</summary>
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

    /// <summary>Takes out what belongs to partitions that were let go since.</summary>
    public void DropLetGo()
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
            _sessionParts -= session.DropLetGo();
            if (session.IsEmpty)
            {
                _sessions.Remove(id);
            }
        }
    }

    /// <summary>Empties the batch for its next use.</summary>
    public void Clear()
    {
        foreach (var fields in _windows.Values)
        {
            // A dictionary keeps its size when cleared: one window of 10,000 dimensions must not make all of them so large.
            if (_spare.Count < 100 && fields.Capacity <= 1024)
            {
                fields.Clear();
                _spare.Push(fields);
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
            fields = _spare.TryPop(out var spare) ? spare : [];
        }

        _lastKey = key;
        return _lastFields = fields!;
    }

    private PartitionRange RangeOf(AssignedPartition partition, long offset)
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
