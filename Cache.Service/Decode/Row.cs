using Confluent.Kafka;

namespace Cache.Service.Decode;

/// <summary>What a value from Kafka turned out to be.</summary>
public enum RowKind : byte
{
    /// <summary>Nothing to write: a tombstone, or a topic that nobody handles.</summary>
    Skipped,

    /// <summary>A dimension of an event window.</summary>
    Event,

    /// <summary>A dimension of a performance window.</summary>
    Performance,

    /// <summary>Not usable; its bytes go to the dead letters.</summary>
    Rejected,
}

/// <summary>
/// One row, decoded: the window, the dimension and the measures that it carries. Event measures are whole numbers;
/// performance measures are <see cref="double"/>s, kept as their bits.
/// </summary>
public readonly struct Row
{
    private Row(RowKind kind, RejectReason reason, long windowStart, Dimension? dimension, Measures measures, RejectedRow? rejected)
    {
        Kind = kind;
        Reason = reason;
        WindowStart = windowStart;
        Dimension = dimension;
        Measures = measures;
        Rejected = rejected;
    }

    /// <summary>What the value turned out to be.</summary>
    public RowKind Kind { get; }

    /// <summary>Why the row is rejected; <see cref="RejectReason.None"/> for any other kind.</summary>
    public RejectReason Reason { get; }

    /// <summary>Start of the window, milliseconds since 1970 UTC.</summary>
    public long WindowStart { get; }

    /// <summary>The dimension; null unless the row is to be written.</summary>
    public Dimension? Dimension { get; }

    /// <summary>The measures that the row carries, one or two.</summary>
    public Measures Measures { get; }

    /// <summary>The original bytes of a rejected row; null until they are kept.</summary>
    public RejectedRow? Rejected { get; }

    /// <summary>A value with nothing to write.</summary>
    public static Row Skip => default;

    /// <summary>A row to write.</summary>
    public static Row Window(RowKind kind, long windowStart, Dimension dimension, Measures measures) =>
        new(kind, RejectReason.None, windowStart, dimension, measures, null);

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

/// <summary>A rejected row as Kafka delivered it.</summary>
/// <param name="Key">The key's bytes; null when there is none.</param>
/// <param name="Value">The value's bytes.</param>
/// <param name="Headers">The headers.</param>
public sealed record RejectedRow(byte[]? Key, byte[] Value, Headers? Headers)
{
    /// <summary>Bytes of memory that the row holds.</summary>
    public int Size => Value.Length + (Key?.Length ?? 0);
}

/// <summary>Why a row is rejected.</summary>
public enum RejectReason : byte
{
    /// <summary>It is not.</summary>
    None,

    /// <summary>The value is over <see cref="RowDecoder.MaxValueBytes"/>.</summary>
    TooLarge,

    /// <summary>The value is not JSON.</summary>
    NotJson,

    /// <summary>The value is JSON, but no object.</summary>
    NotAnObject,

    /// <summary>There is no window start.</summary>
    NoWindowStart,

    /// <summary>The window start is not in one of the four shapes, or before 1970.</summary>
    BadWindowStart,

    /// <summary>The window starts further ahead of the clock than <c>window_max_future_seconds</c>.</summary>
    FutureWindow,

    /// <summary>There is no dimension.</summary>
    NoDimension,

    /// <summary>The dimension is no text, empty, too long, or has control characters.</summary>
    BadDimension,

    /// <summary>There is neither measure.</summary>
    NoMeasure,

    /// <summary>A measure is of the wrong type, negative, or out of range.</summary>
    BadMeasure,

    /// <summary>The key in Redis holds another type.</summary>
    WrongKeyType,
}

/// <summary>Names of <see cref="RejectReason"/> as they stand in headers and metrics.</summary>
public static class RejectReasons
{
    /// <summary>The snake_case name.</summary>
    public static string Name(this RejectReason reason) => reason switch
    {
        RejectReason.TooLarge => "too_large",
        RejectReason.NotJson => "not_json",
        RejectReason.NotAnObject => "not_an_object",
        RejectReason.NoWindowStart => "no_window_start",
        RejectReason.BadWindowStart => "bad_window_start",
        RejectReason.FutureWindow => "future_window",
        RejectReason.NoDimension => "no_dimension",
        RejectReason.BadDimension => "bad_dimension",
        RejectReason.NoMeasure => "no_measure",
        RejectReason.BadMeasure => "bad_measure",
        RejectReason.WrongKeyType => "wrong_key_type",
        _ => "none",
    };
}
