namespace Cache.Service.Model;

/// <summary>
/// A decoded row: its window, dimension and measures. Event measures are integers; performance measures are
/// <see cref="double"/>s, stored as their bits. Most rows belong to windows, so all other kinds share one reference for what
/// they carry.
/// </summary>
public readonly struct Row
{
    private readonly object? _other;

    private Row(RowKind kind, RejectReason reason, long windowStart, Dimension? dimension, Measures measures, object? other)
    {
        Kind = kind;
        Reason = reason;
        WindowStart = windowStart;
        Dimension = dimension;
        Measures = measures;
        _other = other;
    }

    /// <summary>The kind of row.</summary>
    public RowKind Kind { get; }

    /// <summary>Why the row was rejected; <see cref="RejectReason.None"/> for any other kind.</summary>
    public RejectReason Reason { get; }

    /// <summary>Start of the window, milliseconds since 1970 UTC.</summary>
    public long WindowStart { get; }

    /// <summary>The dimension; null unless the row belongs to a window.</summary>
    public Dimension? Dimension { get; }

    /// <summary>The row's measures, one or two.</summary>
    public Measures Measures { get; }

    /// <summary>The original bytes of a rejected row; null until they are copied.</summary>
    public RejectedRow? Rejected => _other as RejectedRow;

    /// <summary>The session; null unless the row belongs to one.</summary>
    public Session? Session => _other as Session;

    /// <summary>A row with nothing to write.</summary>
    public static Row Skip => default;

    /// <summary>A row of a window.</summary>
    public static Row Window(RowKind kind, long windowStart, Dimension dimension, Measures measures) =>
        new(kind, RejectReason.None, windowStart, dimension, measures, null);

    /// <summary>A row of a session.</summary>
    public static Row Of(Session session) => new(RowKind.Session, RejectReason.None, 0, null, default, session);

    /// <summary>A rejected row.</summary>
    public static Row Reject(RejectReason reason, RejectedRow? rejected = null) =>
        new(RowKind.Rejected, reason, 0, null, default, rejected);
}

/// <summary>Up to two measures of one dimension: those present are written, those absent stay as they are in Redis.</summary>
/// <param name="First">Event count, or the bits of the average load time.</param>
/// <param name="Second">User count, or the bits of the 95th percentile of the load time.</param>
/// <param name="HasFirst">Whether <paramref name="First"/> is present.</param>
/// <param name="HasSecond">Whether <paramref name="Second"/> is present.</param>
public readonly record struct Measures(long First, long Second, bool HasFirst, bool HasSecond)
{
    /// <summary>Merges the measures of a later row, which win.</summary>
    public Measures With(Measures later) => new(
        later.HasFirst ? later.First : First,
        later.HasSecond ? later.Second : Second,
        HasFirst || later.HasFirst,
        HasSecond || later.HasSecond);
}

/// <summary>Placeholder for the key, which is not decoded: only rejected rows need the bytes of their key.</summary>
public readonly struct RowKey;
