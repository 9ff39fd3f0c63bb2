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

    /// <summary>A session.</summary>
    Session,

    /// <summary>Not usable; its bytes go to the dead letters.</summary>
    Rejected,
}

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

/// <summary>One session, as far as a row tells of it: what is there is written, what is absent is left as it was.</summary>
/// <param name="Id">Names the session; 1 to 128 UTF-8 bytes without control characters, as every text here.</param>
/// <param name="End">When it was last seen, milliseconds since 1970 UTC.</param>
/// <param name="User">Whose it is.</param>
/// <param name="Start">When it began, milliseconds since 1970 UTC; not after <paramref name="End"/>.</param>
/// <param name="Duration">How long it has lasted, milliseconds.</param>
/// <param name="Pages">How many pages it has seen.</param>
/// <param name="Device">The device category.</param>
public sealed record Session(string Id, long End, string? User = null, long? Start = null, long? Duration = null, long? Pages = null, string? Device = null)
{
    /// <summary>This session with what a later row tells over it.</summary>
    public Session With(Session later) => new(
        Id, later.End, later.User ?? User, later.Start ?? Start, later.Duration ?? Duration, later.Pages ?? Pages, later.Device ?? Device);
}

/// <summary>A rejected row as Kafka delivered it.</summary>
/// <param name="Key">The key's bytes; null when there is none.</param>
/// <param name="Value">The value's bytes.</param>
/// <param name="Headers">The headers.</param>
public sealed record RejectedRow(byte[]? Key, byte[] Value, Headers? Headers)
{
    // What .NET needs for the objects of a header, beside its bytes.
    private const int BytesAHeader = 100;

    /// <summary>Bytes of memory that the row holds.</summary>
    public int Size { get; } = Value.Length + (Key?.Length ?? 0) + SizeOf(Headers);

    /// <summary>Bytes of the headers' names and values.</summary>
    public int HeaderBytes => SizeOf(Headers) - ((Headers?.Count ?? 0) * BytesAHeader);

    private static int SizeOf(Headers? headers)
    {
        var size = 0;
        for (var number = 0; number < headers?.Count; number++)
        {
            size += BytesAHeader + headers[number].Key.Length + (headers[number].GetValueBytes()?.Length ?? 0);
        }

        return size;
    }
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

    /// <summary>The dimension, or a session's device category, is no text, empty, too long, or has control characters.</summary>
    BadDimension,

    /// <summary>There is neither measure.</summary>
    NoMeasure,

    /// <summary>A measure, or a session's duration or page count, is of the wrong type, negative, or out of range.</summary>
    BadMeasure,

    /// <summary>There is no session id.</summary>
    NoSessionId,

    /// <summary>The session id is no text, empty, too long, or has control characters.</summary>
    BadSessionId,

    /// <summary>There is no end time.</summary>
    NoEndTime,

    /// <summary>The end time is not in one of the four shapes, or before 1970.</summary>
    BadEndTime,

    /// <summary>The session ends further ahead of the clock than <c>window_max_future_seconds</c>.</summary>
    FutureSession,

    /// <summary>The start time is not in one of the four shapes, before 1970, or after the end time.</summary>
    BadStartTime,

    /// <summary>The user id is no text, empty, too long, or has control characters.</summary>
    BadUserId,

    /// <summary>The key in Redis holds another type.</summary>
    WrongKeyType,

    /// <summary>The window has <c>window_max_dimensions</c> dimensions already.</summary>
    TooManyDimensions,
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
        RejectReason.NoSessionId => "no_session_id",
        RejectReason.BadSessionId => "bad_session_id",
        RejectReason.NoEndTime => "no_end_time",
        RejectReason.BadEndTime => "bad_end_time",
        RejectReason.FutureSession => "future_session",
        RejectReason.BadStartTime => "bad_start_time",
        RejectReason.BadUserId => "bad_user_id",
        RejectReason.WrongKeyType => "wrong_key_type",
        RejectReason.TooManyDimensions => "too_many_dimensions",
        _ => "none",
    };
}
