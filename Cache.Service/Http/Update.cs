using System.Buffers;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using Cache.Service.Persist;

namespace Cache.Service.Http;

/// <summary>A changed window or session, as published on <c>cache:updates</c>, with its event for the streams: built once, shared by all.</summary>
internal sealed class Update
{
    private static readonly byte[] BeforeMessage = "data: "u8.ToArray();

    private readonly byte[] _id;
    private readonly Range _message;

    private Update(long number, string type, ReadOnlySpan<byte> message, byte[] id)
    {
        Number = number;
        Type = type;
        _id = id;
        _message = BeforeMessage.Length..(BeforeMessage.Length + message.Length);
        Frame = FrameOf(message, id);
    }

    /// <summary>Counts up from 1 in this process, without gaps; the second part of the event id.</summary>
    public long Number { get; }

    /// <summary>The name of the metric type, or <c>session</c>.</summary>
    public string Type { get; }

    /// <summary>The whole update as a Server-Sent Event.</summary>
    public byte[] Frame { get; }

    private ReadOnlyMemory<byte> Message => Frame.AsMemory(_message);

    /// <summary>
    /// Parses a message; returns null if it is not an update but something that another program published. The whole message is
    /// validated here, so no later step has to check it again.
    /// </summary>
    /// <param name="number">Its number.</param>
    /// <param name="message">The message.</param>
    /// <param name="id">The event id.</param>
    /// <param name="types">All types of updates.</param>
    public static Update? Read(long number, byte[] message, string id, IReadOnlyList<string> types)
    {
        try
        {
            var type = Utf8.IsValid(message) ? TypeOf(message, types) : null;

            // A line break between two values, which JSON allows, would end the event.
            return type is null ? null : new(number, type, message.AsSpan().ContainsAny((byte)'\r', (byte)'\n') ? OneLine(message) : message, Encoding.ASCII.GetBytes(id));
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            return null;
        }
    }

    /// <summary>The update with the fields of the selected dimensions, as a Server-Sent Event; empty if it has none of them.</summary>
    public byte[] FrameOf(DimensionFilter dimensions) => Type == RedisKeys.SessionType ? FrameOfSession(dimensions) : FrameOfWindow(dimensions);

    /// <summary>A session has a single dimension, its device category, and is sent as a whole or not at all.</summary>
    private byte[] FrameOfSession(DimensionFilter dimensions)
    {
        using var message = JsonDocument.Parse(Message);
        return message.RootElement.GetProperty("fields").TryGetProperty(SessionStore.Device, out var device)
            && device.ValueKind == JsonValueKind.String && dimensions.SelectsDimension(device.GetString()!) ? Frame : [];
    }

    private byte[] FrameOfWindow(DimensionFilter dimensions)
    {
        var message = Message.Span;
        var buffer = new ArrayBufferWriter<byte>(1024);
        using var json = new Utf8JsonWriter(buffer);
        var reader = new Utf8JsonReader(message);
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
                CopyValue(message, ref reader, json);
                continue;
            }

            json.WriteStartObject();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                var name = Name(ref reader);
                reader.Read();
                if (dimensions.Selects(name))
                {
                    any = true;
                    json.WritePropertyName(name);
                    CopyValue(message, ref reader, json);
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
        return any ? FrameOf(buffer.WrittenSpan, _id) : [];
    }

    private static void CopyValue(ReadOnlySpan<byte> message, ref Utf8JsonReader reader, Utf8JsonWriter json)
    {
        var start = (int)reader.TokenStartIndex;
        reader.Skip();
        json.WriteRawValue(message[start..(int)reader.BytesConsumed], skipInputValidation: true);
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

    /// <summary>
    /// The type of an update; null, or an exception, if the message is not one: invalid JSON, an unknown type, a duplicate
    /// property, or half a character.
    /// </summary>
    private static string? TypeOf(byte[] message, IReadOnlyList<string> types)
    {
        string? type = null;
        var (hasFields, isType, isFields) = (false, false, false);
        var reader = new Utf8JsonReader(message);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
        {
            return null;
        }

        while (reader.Read())
        {
            if (reader.TokenType is JsonTokenType.PropertyName or JsonTokenType.String && reader.ValueIsEscaped)
            {
                reader.CopyString(new byte[reader.ValueSpan.Length]);
            }

            if (reader.CurrentDepth != 1)
            {
                continue;
            }

            if (reader.TokenType == JsonTokenType.PropertyName)
            {
                (isType, isFields) = (reader.ValueTextEquals("type"u8), reader.ValueTextEquals("fields"u8));
                if ((isType && type is not null) || (isFields && hasFields))
                {
                    return null;
                }

                continue;
            }

            if (isType)
            {
                type = reader.GetString();
            }

            if (isFields && reader.TokenType != JsonTokenType.StartObject)
            {
                return null;
            }

            hasFields |= isFields;
            (isType, isFields) = (false, false);
        }

        return hasFields && type is not null && types.Contains(type) ? type : null;
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

    private static byte[] FrameOf(ReadOnlySpan<byte> message, ReadOnlySpan<byte> id) => [.. BeforeMessage, .. message, .. "\nid: "u8, .. id, .. "\n\n"u8];
}
