using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Unicode;
using Cache.Service.Persist;

namespace Cache.Service.Http.Query;

/// <summary>
/// Writes dead letters: as JSON to look at, in which long values are shortened; and as lines of JSON (NDJSON) to edit and send again,
/// in which each value is whole or left out. Bytes that are not UTF-8 are Base64.
/// </summary>
internal static class LetterJson
{
    /// <summary>A longer value is shortened in JSON, in bytes.</summary>
    public const int MaxValueShown = SentLetter.MaxPreview;

    /// <summary>A longer key is shortened in JSON, in bytes.</summary>
    public const int MaxKeyShown = 1024;

    /// <summary>JSON ends with the letter that reaches this length, in bytes.</summary>
    public const int MaxBytes = 4 * 1024 * 1024;

    // Rows are JSON themselves: with quotes as \u0022, and letters beyond ASCII escaped, nobody could edit them. The answers are
    // never part of a page.
    private static readonly JsonWriterOptions Readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Writes the letters that were found, newest first.</summary>
    public static void Write(IBufferWriter<byte> answer, string topic, LettersFound found)
    {
        using var json = new Utf8JsonWriter(answer, Readable);
        json.WriteStartObject();
        json.WriteString("topic"u8, topic);
        json.WriteStartArray("letters"u8);
        var written = 0;
        foreach (var letter in found.Letters.TakeWhile(_ => json.BytesCommitted + json.BytesPending < MaxBytes))
        {
            Write(json, letter);
            written++;
        }

        json.WriteEndArray();
        json.WriteNumber("scanned"u8, found.Scanned);
        json.WriteBoolean("complete"u8, found.IsComplete && written == found.Letters.Count);
        json.WriteEndObject();
    }

    /// <summary>Writes a letter as a line.</summary>
    public static void WriteLine(IBufferWriter<byte> answer, SentLetter letter)
    {
        using (var json = new Utf8JsonWriter(answer, Readable))
        {
            json.WriteStartObject();
            WriteOrigin(json, letter);
            json.WriteString("reason"u8, letter.Reason);
            if (letter.IsWhole)
            {
                WriteBytes(json, "key", letter.Key);
                WriteBytes(json, "value", letter.Value);
                WriteHeaders(json, letter);
            }
            else
            {
                json.WriteNull("value"u8);
                json.WriteNumber("omitted_bytes"u8, letter.ValueBytes);
            }

            json.WriteEndObject();
        }

        answer.Write("\n"u8);
    }

    /// <summary>Writes a last line that is no letter: it tells that there may be more.</summary>
    public static void WriteRest(IBufferWriter<byte> answer, int scanned)
    {
        using (var json = new Utf8JsonWriter(answer, Readable))
        {
            json.WriteStartObject();
            json.WriteNumber("scanned"u8, scanned);
            json.WriteBoolean("complete"u8, false);
            json.WriteEndObject();
        }

        answer.Write("\n"u8);
    }

    private static void Write(Utf8JsonWriter json, SentLetter letter)
    {
        json.WriteStartObject();
        json.WriteString("reason"u8, letter.Reason);
        WriteOrigin(json, letter);
        json.WriteNumber("rejected"u8, letter.Rejected);
        json.WriteStartObject("dead_letter"u8);
        json.WriteNumber("partition"u8, letter.Partition);
        json.WriteNumber("offset"u8, letter.Offset);
        json.WriteEndObject();
        WriteBeginning(json, "key", letter.Key, MaxKeyShown);
        WriteBeginning(json, "value", letter.Value, MaxValueShown);
        json.WriteNumber("bytes"u8, letter.ValueBytes);
        json.WriteBoolean("truncated"u8, !letter.IsWhole || letter.ValueBytes > MaxValueShown);
        json.WriteEndObject();
    }

    private static void WriteOrigin(Utf8JsonWriter json, SentLetter letter)
    {
        json.WriteString("topic"u8, letter.OriginTopic);
        Write("partition"u8, letter.OriginPartition);
        Write("offset"u8, letter.OriginOffset);
        Write("timestamp"u8, letter.Timestamp);

        void Write(ReadOnlySpan<byte> name, long? number)
        {
            json.WritePropertyName(name);
            if (number is { } known)
            {
                json.WriteNumberValue(known);
            }
            else
            {
                json.WriteNullValue();
            }
        }
    }

    private static void WriteHeaders(Utf8JsonWriter json, SentLetter letter)
    {
        if (letter.Headers.Count == 0)
        {
            return;
        }

        // In an array: a name may occur more than once.
        json.WriteStartArray("headers"u8);
        foreach (var header in letter.Headers)
        {
            json.WriteStartObject();
            json.WriteString("name"u8, header.Key);
            WriteBytes(json, "value", header.GetValueBytes());
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private static void WriteBeginning(Utf8JsonWriter json, string name, byte[]? bytes, int max)
    {
        if (bytes is null)
        {
            json.WriteNull(name);
        }
        else
        {
            WriteBytes(json, name, SentLetter.Beginning(bytes, max));
        }
    }

    private static void WriteBytes(Utf8JsonWriter json, string name, byte[]? bytes)
    {
        if (bytes is null)
        {
            json.WriteNull(name);
        }
        else
        {
            WriteBytes(json, name, bytes.AsSpan());
        }
    }

    private static void WriteBytes(Utf8JsonWriter json, string name, ReadOnlySpan<byte> bytes)
    {
        if (Utf8.IsValid(bytes))
        {
            json.WriteString(name, bytes);
        }
        else
        {
            json.WriteNull(name);
            json.WriteBase64String($"{name}_base64", bytes);
        }
    }
}
