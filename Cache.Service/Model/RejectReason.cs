using Cache.Service.Decode;

namespace Cache.Service.Model;

/// <summary>Why a row was rejected.</summary>
public enum RejectReason : byte
{
    /// <summary>The row was not rejected.</summary>
    None,

    /// <summary>The value is longer than <see cref="RowDecoder.MaxValueBytes"/>.</summary>
    TooLarge,

    /// <summary>The value is not JSON.</summary>
    NotJson,

    /// <summary>The value is JSON, but not an object.</summary>
    NotAnObject,

    /// <summary>The window start is missing.</summary>
    NoWindowStart,

    /// <summary>The window start is in none of the formats, or before 1970.</summary>
    BadWindowStart,

    /// <summary>The window starts more than <c>window_max_future_seconds</c> ahead of the clock.</summary>
    FutureWindow,

    /// <summary>The dimension is missing.</summary>
    NoDimension,

    /// <summary>The dimension, or a session's device category, is not text, is empty or too long, or contains control characters.</summary>
    BadDimension,

    /// <summary>All measures are missing.</summary>
    NoMeasure,

    /// <summary>A measure, or a session's duration or page count, is of the wrong type, negative, or out of range.</summary>
    BadMeasure,

    /// <summary>The session id is missing.</summary>
    NoSessionId,

    /// <summary>The session id is not text, is empty or too long, or contains control characters.</summary>
    BadSessionId,

    /// <summary>The end time is missing.</summary>
    NoEndTime,

    /// <summary>The end time is in none of the formats, or before 1970.</summary>
    BadEndTime,

    /// <summary>The session ends more than <c>window_max_future_seconds</c> ahead of the clock.</summary>
    FutureSession,

    /// <summary>The start time is in none of the formats, before 1970, or after the end time.</summary>
    BadStartTime,

    /// <summary>The user id is not text, is empty or too long, or contains control characters.</summary>
    BadUserId,

    /// <summary>The key in Redis holds another type.</summary>
    WrongKeyType,

    /// <summary>The window already has <c>window_max_dimensions</c> dimensions.</summary>
    TooManyDimensions,

    /// <summary>A time is a number that as milliseconds lies before 2001: seconds, most likely.</summary>
    TimeInSeconds,

    /// <summary>The window end, of a type with <c>window_seconds</c>, is in none of the formats, or before 1970.</summary>
    BadWindowEnd,

    /// <summary>The window is longer or shorter than its type's <c>window_seconds</c>.</summary>
    WrongWindowLength,

    /// <summary>The schema registry does not know the schema that the value names.</summary>
    SchemaUnknown,

    /// <summary>The schema that the value names is neither Avro nor JSON.</summary>
    SchemaUnsupported,

    /// <summary>The value is not Avro of the schema that it names.</summary>
    BadAvro,
}

/// <summary>Names of <see cref="RejectReason"/> in headers and metrics.</summary>
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
        RejectReason.TimeInSeconds => "time_in_seconds",
        RejectReason.BadWindowEnd => "bad_window_end",
        RejectReason.WrongWindowLength => "wrong_window_length",
        RejectReason.SchemaUnknown => "schema_unknown",
        RejectReason.SchemaUnsupported => "schema_unsupported",
        RejectReason.BadAvro => "bad_avro",
        _ => "none",
    };
}
