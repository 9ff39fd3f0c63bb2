using System.Buffers.Binary;
using System.Text.Json;
using System.Text.Unicode;
using Cache.Metrics;
using Cache.Service.Model;
using Cache.Service.Options;

namespace Cache.Service.Decode;

/// <summary>
/// Decodes the bytes of a Kafka value into a <see cref="Row"/>, without intermediate objects and without ever throwing. Window
/// rows in plain JSON take the fast path through <see cref="PlainReader"/>; everything else takes the full path through
/// <see cref="Utf8JsonReader"/>, which alone rejects. Avro is first written as JSON. Not thread-safe: each consumer has its own.
/// </summary>
public sealed class RowDecoder
{
    /// <summary>The largest value that is decoded, in bytes (1 MiB).</summary>
    public const int MaxValueBytes = 1024 * 1024;

    /// <summary>The longest dimension, session id or user id, in UTF-8 bytes.</summary>
    public const int MaxDimensionBytes = 128;

    // Unknown fields may nest as deep as the value's size allows; the reader keeps one bit per level.
    private static readonly JsonReaderOptions Json = new() { MaxDepth = MaxValueBytes };

    // A zero and the four bytes of a schema's id, which a schema registry's serializer puts before the value.
    private const int FrameBytes = 5;

    private readonly Schemas? _schemas;
    private readonly AvroJson _avro = new();
    private readonly SessionDecoder _sessions;
    private readonly TopicRoutes _routes;

    /// <summary>Creates a decoder that knows no dimensions yet.</summary>
    /// <param name="options">The metric types, their topics, and how far ahead of the clock a window may start, or a session end.</param>
    /// <param name="time">The clock.</param>
    public RowDecoder(CacheOptions options, TimeProvider time)
        : this(options, time, null)
    {
    }

    /// <summary>Creates a decoder that knows no dimensions yet.</summary>
    /// <param name="options">The metric types, their topics, and how far ahead of the clock a window may start, or a session end.</param>
    /// <param name="time">The clock.</param>
    /// <param name="schemas">The schemas that values may name; without <c>schema_registry_url</c> they are JSON, whatever schema they name.</param>
    internal RowDecoder(CacheOptions options, TimeProvider time, Schemas? schemas)
    {
        _schemas = options.SchemaRegistryUrl.Length > 0 ? schemas : null;
        var limit = new FutureLimit(TimeSpan.FromSeconds(options.WindowMaxFutureSeconds), time);
        _routes = new(options, options.MetricTypes.ToDictionary(type => type, type => new TypeDecoder(type, new DimensionTable(type), limit)));
        _sessions = new SessionDecoder(options.SessionTimeUnit, new DimensionTable(MetricType.Performance), limit);
    }

    /// <summary>Decodes one value.</summary>
    /// <param name="topic">The topic it comes from.</param>
    /// <param name="value">The value's bytes, of any size.</param>
    /// <returns>
    /// A row of the topic's kind; or of kind <see cref="RowKind.Rejected"/> with the reason, <see cref="RowKind.AwaitsSchema"/> with the
    /// schema's id, or <see cref="RowKind.WithoutType"/>.
    /// </returns>
    public Row Decode(string topic, ReadOnlySpan<byte> value)
    {
        var route = _routes.Of(topic);
        if (route.Kind == RowKind.WithoutType)
        {
            return Row.WithoutType;
        }

        if (value.Length > MaxValueBytes)
        {
            return Row.Reject(RejectReason.TooLarge);
        }

        return _schemas is not null && IsFramed(value) ? DecodeFramed(route, _schemas, value) : DecodeJson(route, WithoutFrame(value));
    }

    private static bool IsFramed(ReadOnlySpan<byte> value) => value is [0, _, _, _, _, ..];

    /// <summary>Decodes a value by the schema that it names.</summary>
    private Row DecodeFramed(TopicRoute route, Schemas schemas, ReadOnlySpan<byte> value)
    {
        var id = BinaryPrimitives.ReadInt32BigEndian(value[1..]);
        if (id < 0)
        {
            // No registry gives such an id away; what it would answer is not worth waiting for.
            return Row.Reject(RejectReason.SchemaUnknown);
        }

        return schemas.Find(id) switch
        {
            null => Row.AwaitsSchema(id),
            { Avro: { } avro } => _avro.TryWrite(avro, value[FrameBytes..], out var json) ? DecodeJson(route, json) : Row.Reject(RejectReason.BadAvro),
            { Format: SchemaFormat.Json } => DecodeJson(route, WithoutFrame(value)),
            { Format: SchemaFormat.Unknown } => Row.Reject(RejectReason.SchemaUnknown),
            _ => Row.Reject(RejectReason.SchemaUnsupported),
        };
    }

    private Row DecodeJson(TopicRoute route, ReadOnlySpan<byte> value)
    {
        if (route.Type is { } type && type.TryDecodePlain(value, out var row))
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
                : route.Type is { } full ? full.Decode(ref reader)
                : _sessions.Decode(ref reader);
        }
        catch (JsonException)
        {
            return Row.Reject(RejectReason.NotJson);
        }
    }

    /// <summary>
    /// Removes what some producers put before the JSON: the frame of a schema registry, and a byte order mark. No JSON begins with
    /// either.
    /// </summary>
    private static ReadOnlySpan<byte> WithoutFrame(ReadOnlySpan<byte> value)
    {
        if (value is [(byte)'{', ..])
        {
            return value;
        }

        value = IsFramed(value) ? value[FrameBytes..] : value;
        return value.StartsWith("\uFEFF"u8) ? value[3..] : value;
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
