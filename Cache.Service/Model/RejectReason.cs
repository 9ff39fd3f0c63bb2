using Cache.Service.Decode;
using Confluent.Kafka;

namespace Cache.Service.Model;

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
