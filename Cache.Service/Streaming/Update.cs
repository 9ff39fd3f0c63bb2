using System.Buffers;
using System.Text;
using System.Text.Json;
using Cache.Service.Persist;
using Cache.Service.Query;

namespace Cache.Service.Streaming;

/// <summary>One touched window or session, as <c>cache:updates</c> told it, with the event that goes to the streams: made once, shared by all.</summary>
internal sealed class Update
{
    private readonly byte[] _message;

    private Update(long number, string type, byte[] message, byte[] id)
    {
        Number = number;
        Type = type;
        _message = message;
        Id = id;
        Frame = FrameOf(message, id);
    }

    /// <summary>Counts up from 1 in this process; the gapless part of the event id.</summary>
    public long Number { get; }

    /// <summary><c>event</c>, <c>performance</c> or <c>session</c>.</summary>
    public string Type { get; }

    /// <summary>The whole update as a Server-Sent Event.</summary>
    public ReadOnlyMemory<byte> Frame { get; }

    private byte[] Id { get; }

    /// <summary>Reads a message; null when it is no update, but somebody else's.</summary>
    public static Update? Read(long number, byte[] message, string id)
    {
        try
        {
            var type = TypeOf(message);

            // A line break between two values, which JSON allows, would end the event.
            return type is null ? null : new(number, type, message.AsSpan().ContainsAny((byte)'\r', (byte)'\n') ? OneLine(message) : message, Encoding.ASCII.GetBytes(id));
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>The update with the fields of some dimensions, as a Server-Sent Event; empty when it has none of them.</summary>
    public ReadOnlyMemory<byte> FrameOf(DimensionFilter dimensions) => Type == "session" ? FrameOfSession(dimensions) : FrameOfWindow(dimensions);

    /// <summary>A session has one dimension, its device, and goes as a whole.</summary>
    private ReadOnlyMemory<byte> FrameOfSession(DimensionFilter dimensions)
    {
        using var message = JsonDocument.Parse(_message);
        return message.RootElement.GetProperty("fields").TryGetProperty(SessionStore.Device, out var device)
            && device.ValueKind == JsonValueKind.String && dimensions.Names(device.GetString()!) ? Frame : default;
    }

    private ReadOnlyMemory<byte> FrameOfWindow(DimensionFilter dimensions)
    {
        var buffer = new ArrayBufferWriter<byte>(_message.Length);
        using var json = new Utf8JsonWriter(buffer);
        var reader = new Utf8JsonReader(_message);
        var any = false;
        reader.Read();
        json.WriteStartObject();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isFields = reader.ValueTextEquals("fields"u8);
            json.WritePropertyName(Name(ref reader));
            reader.Read();
            if (!isFields)
            {
                CopyValue(ref reader, json);
                continue;
            }

            json.WriteStartObject();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var name = Name(ref reader);
                reader.Read();
                if (dimensions.Wants(name))
                {
                    any = true;
                    json.WritePropertyName(name);
                    CopyValue(ref reader, json);
                }
                else
                {
                    reader.Skip();
                }
            }

            json.WriteEndObject();
        }

        json.WriteEndObject();
        json.Flush();
        return any ? FrameOf(buffer.WrittenSpan, Id) : default;
    }

    private void CopyValue(ref Utf8JsonReader reader, Utf8JsonWriter json)
    {
        var start = (int)reader.TokenStartIndex;
        reader.Skip();
        json.WriteRawValue(_message.AsSpan(start..(int)reader.BytesConsumed), skipInputValidation: true);
    }

    private static ReadOnlySpan<byte> Name(ref Utf8JsonReader reader)
    {
        if (!reader.ValueIsEscaped)
        {
            return reader.ValueSpan;
        }

        var name = new byte[reader.ValueSpan.Length];
        return name.AsSpan(0, reader.CopyString(name));
    }

    /// <summary>The type of an update; reads to the end, so that what is no JSON throws.</summary>
    private static string? TypeOf(byte[] message)
    {
        string? type = null;
        var hasFields = false;
        var reader = new Utf8JsonReader(message);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            return null;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var (isType, isFields) = (reader.ValueTextEquals("type"u8), reader.ValueTextEquals("fields"u8));
            reader.Read();
            if (isType)
            {
                type = reader.GetString();
            }

            hasFields |= isFields && reader.TokenType == JsonTokenType.StartObject;
            reader.Skip();
        }

        return reader.Read() || !hasFields ? null : type;
    }

    private static byte[] OneLine(byte[] message)
    {
        var buffer = new ArrayBufferWriter<byte>(message.Length);
        using (var json = new Utf8JsonWriter(buffer))
        using (var document = JsonDocument.Parse(message))
        {
            document.WriteTo(json);
        }

        return buffer.WrittenSpan.ToArray();
    }

    private static byte[] FrameOf(ReadOnlySpan<byte> message, ReadOnlySpan<byte> id) => [.. "data: "u8, .. message, .. "\nid: "u8, .. id, .. "\n\n"u8];
}
