using Confluent.Kafka;

namespace Cache.Service.Model;

/// <summary>
/// One row, decoded: the window, the dimension and the measures that it carries. Event measures are whole numbers;
/// performance measures are <see cref="double"/>s, kept as their bits. Rows of windows are by far the most, so what only
/// others carry shares one reference.
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

    /// <summary>What the value turned out to be.</summary>
    public RowKind Kind { get; }

    /// <summary>Why the row is rejected; <see cref="RejectReason.None"/> for any other kind.</summary>
    public RejectReason Reason { get; }

    /// <summary>Start of the window, milliseconds since 1970 UTC.</summary>
    public long WindowStart { get; }

    /// <summary>The dimension; null unless the row is of a window.</summary>
    public Dimension? Dimension { get; }

    /// <summary>The measures that the row carries, one or two.</summary>
    public Measures Measures { get; }

    /// <summary>The original bytes of a rejected row; null until they are kept.</summary>
    public RejectedRow? Rejected => _other as RejectedRow;

    /// <summary>The session; null unless the row is of one.</summary>
    public Session? Session => _other as Session;

    /// <summary>A value with nothing to write.</summary>
    public static Row Skip => default;

    /// <summary>A row of a window.</summary>
    public static Row Window(RowKind kind, long windowStart, Dimension dimension, Measures measures) =>
        new(kind, RejectReason.None, windowStart, dimension, measures, null);

    /// <summary>A row of a session.</summary>
    public static Row Of(Session session) => new(RowKind.Session, RejectReason.None, 0, null, default, session);

    /// <summary>A row that cannot be used.</summary>
    public static Row Reject(RejectReason reason, RejectedRow? rejected = null) =>
        new(RowKind.Rejected, reason, 0, null, default, rejected);
}

/// <summary>Up to two measures of one dimension: what is there is written, what is absent is left as it was.</summary>
/// <param name="First">Event count, or the bits of the average load time.</param>
/// <param name="Second">User count, or the bits of the 95th percentile of the load time.</param>
/// <param name="HasFirst">Whether <paramref name="First"/> is there.</param>
/// <param name="HasSecond">Whether <paramref name="Second"/> is there.</param>
public readonly record struct Measures(long First, long Second, bool HasFirst, bool HasSecond)
{
    /// <summary>These measures with those of a later row over them.</summary>
    public Measures With(Measures later) => new(
        later.HasFirst ? later.First : First,
        later.HasSecond ? later.Second : Second,
        HasFirst || later.HasFirst,
        HasSecond || later.HasSecond);
}

/// <summary>Stands for a key that is not kept: only a rejected row needs its key's bytes.</summary>
public readonly struct RowKey;
