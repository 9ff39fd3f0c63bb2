using System.Text.Json;
using System.Text.Unicode;
using Cache.Service.Model;
using Cache.Service.Options;

namespace Cache.Service.Decode;

/// <summary>
/// Decodes the bytes of a Kafka value into a <see cref="Row"/>, without intermediate objects and without ever throwing. Window
/// rows in plain JSON take the fast path through <see cref="PlainReader"/>; everything else takes the full path through
/// <see cref="Utf8JsonReader"/>, which alone rejects. Not thread-safe: each consumer has its own.
/// </summary>
public sealed class RowDecoder
{
    /// <summary>The largest value that is decoded, in bytes (1 MiB).</summary>
    public const int MaxValueBytes = 1024 * 1024;

    /// <summary>The longest dimension, session id or user id, in UTF-8 bytes.</summary>
    public const int MaxDimensionBytes = 128;

    // Unknown fields may nest as deep as the value's size allows; the reader keeps one bit per level.
    private static readonly JsonReaderOptions Json = new() { MaxDepth = MaxValueBytes };

    private readonly WindowDecoder _windows;
    private readonly SessionDecoder _sessions;

    /// <summary>Creates a decoder that knows no dimensions yet.</summary>
    /// <param name="maxFuture">How far ahead of the clock a window may start, or a session end.</param>
    /// <param name="time">The clock.</param>
    public RowDecoder(TimeSpan maxFuture, TimeProvider time)
    {
        var limit = new FutureLimit(maxFuture, time);
        var devices = new DimensionTable(".avg_load_time", ".p95_load_time");
        _windows = new WindowDecoder(new DimensionTable(".count", ".users"), devices, limit);
        _sessions = new SessionDecoder(devices, limit);
    }

    /// <summary>The kind of row that a topic carries; <see cref="RowKind.Skipped"/> if no stage handles the topic.</summary>
    public static RowKind KindOf(string topic) => topic switch
    {
        MetricTopics.Event => RowKind.Event,
        MetricTopics.Performance => RowKind.Performance,
        MetricTopics.Session => RowKind.Session,
        _ => RowKind.Skipped,
    };

    /// <summary>Decodes one value.</summary>
    /// <param name="kind"><see cref="RowKind.Event"/>, <see cref="RowKind.Performance"/> or <see cref="RowKind.Session"/>.</param>
    /// <param name="value">The value's bytes, of any size.</param>
    /// <returns>A row of that kind, or of kind <see cref="RowKind.Rejected"/> with the reason.</returns>
    public Row Decode(RowKind kind, ReadOnlySpan<byte> value)
    {
        if (value.Length > MaxValueBytes)
        {
            return Row.Reject(RejectReason.TooLarge);
        }

        if (kind != RowKind.Session && _windows.TryDecodePlain(kind, value, out var row))
        {
            return row;
        }

        // The JSON reader does not validate strings that nobody asks for.
        if (!Utf8.IsValid(value))
        {
            return Row.Reject(RejectReason.NotJson);
        }

        try
        {
            var reader = new Utf8JsonReader(value, Json);
            return !reader.Read() || reader.TokenType != JsonTokenType.StartObject ? RejectNonObject(ref reader)
                : kind == RowKind.Session ? _sessions.Decode(ref reader)
                : _windows.Decode(kind, ref reader);
        }
        catch (JsonException)
        {
            return Row.Reject(RejectReason.NotJson);
        }
    }

    private static Row RejectNonObject(ref Utf8JsonReader reader)
    {
        // "JSON, but not an object" takes a complete JSON text: on anything else the reader throws.
        while (reader.Read())
        {
        }

        return Row.Reject(RejectReason.NotAnObject);
    }
}
