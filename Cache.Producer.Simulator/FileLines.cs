using System.Text;
using System.Text.Json;
using Cache.Metrics;
using Confluent.Kafka;

namespace Cache.Producer.Simulator;

/// <summary>
/// Makes rows of the lines of a file. A line is a row as it is to be sent, or a dead letter as the service exports it, which holds a
/// row and where it came from.
/// </summary>
internal sealed class FileLines(SimulatorOptions options)
{
    private static readonly JsonDocumentOptions Deep = new() { MaxDepth = 256 };

    /// <summary>Whether a line said that the file does not have all dead letters.</summary>
    public bool IsIncomplete { get; private set; }

    /// <summary>Makes the row of a line.</summary>
    /// <param name="line">The line, without its end.</param>
    /// <param name="number">Its number, from 1.</param>
    /// <returns>Null if there is nothing to send: the line is blank, or the last one of an export that is not complete.</returns>
    /// <exception cref="BadLineException">It cannot be sent.</exception>
    public Outgoing? Read(ReadOnlyMemory<byte> line, long number)
    {
        if (line.Span.Trim(" \t\r"u8).IsEmpty)
        {
            return null;
        }

        try
        {
            using var json = JsonDocument.Parse(line, Deep);
            var row = json.RootElement;
            if (row.ValueKind != JsonValueKind.Object)
            {
                throw new BadLineException(number, "not a JSON object");
            }

            if (IsLetter(row))
            {
                return Letter(row, number);
            }

            if (row.TryGetProperty("complete", out var complete) && complete.ValueKind == JsonValueKind.False && row.TryGetProperty("scanned", out _))
            {
                IsIncomplete = true;
                return null;
            }

            return Row(row, line, number);
        }
        catch (JsonException)
        {
            throw new BadLineException(number, "not JSON");
        }
    }

    // A row may have a field called topic, and a number called value.
    private static bool IsLetter(JsonElement row) =>
        row.TryGetProperty("topic", out var topic) && topic.ValueKind is JsonValueKind.String or JsonValueKind.Null
        && (row.TryGetProperty("value_base64", out _)
            || (row.TryGetProperty("value", out var value) && value.ValueKind is JsonValueKind.String or JsonValueKind.Null or JsonValueKind.Object));

    private Outgoing Letter(JsonElement letter, long number)
    {
        var topic = letter.GetProperty("topic").GetString() ?? options.Topic
            ?? throw new BadLineException(number, "the dead letter does not say which topic it came from; name one with --topic");
        if (!TopicPattern.IsName(topic))
        {
            throw new BadLineException(number, "its topic cannot be one: 1 to 249 letters, digits, dots, underscores or hyphens");
        }

        var value = letter.TryGetProperty("value", out var own) && own.ValueKind == JsonValueKind.Object
            ? Encoding.UTF8.GetBytes(own.GetRawText())
            : Bytes(letter, "value", number);
        if (value is null)
        {
            throw new BadLineException(number, letter.TryGetProperty("omitted_bytes", out _)
                ? "its value is too large to be in the file; it is still where it came from"
                : "it has no value");
        }

        var partition = letter.TryGetProperty("partition", out var from) && from.ValueKind == JsonValueKind.Number && from.TryGetInt32(out var known) && known >= 0 ? new Partition(known) : Partition.Any;
        return new(topic, partition, Bytes(letter, "key", number), value, Headers(letter, number), TimesOf(topic));
    }

    private Outgoing Row(JsonElement row, ReadOnlyMemory<byte> line, long number)
    {
        if (options.Topic is { } topic)
        {
            return new(topic, Partition.Any, topic == RowGenerator.SessionTopic ? Key(row, ["session_id"], "") : TypeOf(topic) is { } known ? Key(row, known) : null, line.ToArray(), null, TimesOf(topic));
        }

        var types = options.FileTypes.Where(type => Has(row, type)).ToList();
        var isSession = row.TryGetProperty("session_id", out _) && row.TryGetProperty("end_time", out _);
        string[] names = [.. types.Select(type => type.Name), .. isSession ? ["sessions"] : Array.Empty<string>()];
        switch (names)
        {
            case []:
                throw new BadLineException(number, $"it has the fields of no metric type, of {string.Join(", ", options.FileTypes)} and sessions; name its topic with --topic, or its type in {MetricTypesReader.Key}");

            case [_, _, ..]:
                throw new BadLineException(number, $"it has the fields of {string.Join(" and ", names)}; name one of them with --{SimulatorTypes.Key}, or the topic with --topic");
        }

        if (isSession)
        {
            return new(RowGenerator.SessionTopic, Partition.Any, Key(row, ["session_id"], ""), line.ToArray(), null, RowTimes.OfSessions);
        }

        var type = types[0];
        return new(
            SimulatorTypes.TopicOf(type) ?? throw new BadLineException(number, $"every topic of {type} is a pattern; name one with --topic"),
            Partition.Any, Key(row, type), line.ToArray(), null, RowTimes.Of(type));
    }

    private MetricType? TypeOf(string topic) => options.FileTypes.FirstOrDefault(type => type.Topics.Any(known => TopicPattern.Matches(known, topic)));

    private RowTimes? TimesOf(string topic) =>
        topic == RowGenerator.SessionTopic ? RowTimes.OfSessions : TypeOf(topic) is { } type ? RowTimes.Of(type) : null;

    private static bool Has(JsonElement row, MetricType type) =>
        row.TryGetProperty(type.TimeField, out _) && type.DimensionFields.All(field => row.TryGetProperty(field, out _))
        && type.Measures.Any(measure => row.TryGetProperty(measure.Field, out _));

    private static byte[]? Key(JsonElement row, MetricType type) => Key(row, type.DimensionFields, type.Separator);

    // The dimension, or a session's id. Without it, the service rejects the row, wherever it is.
    private static byte[]? Key(JsonElement row, IReadOnlyList<string> fields, string separator)
    {
        var values = fields.Select(field => row.TryGetProperty(field, out var value) && value.ValueKind == JsonValueKind.String ? value.GetString() : null).ToList();
        return values.Contains(null) ? null : Encoding.UTF8.GetBytes(string.Join(separator, values));
    }

    private static byte[]? Bytes(JsonElement holder, string name, long number)
    {
        if (holder.TryGetProperty($"{name}_base64", out var base64))
        {
            return base64.ValueKind == JsonValueKind.String && base64.TryGetBytesFromBase64(out var bytes)
                ? bytes
                : throw new BadLineException(number, $"its {name}_base64 is not Base64");
        }

        return !holder.TryGetProperty(name, out var text) || text.ValueKind == JsonValueKind.Null ? null
            : text.ValueKind == JsonValueKind.String ? Encoding.UTF8.GetBytes(text.GetString()!)
            : throw new BadLineException(number, $"its {name} is not text");
    }

    private static Headers? Headers(JsonElement letter, long number)
    {
        if (!letter.TryGetProperty("headers", out var list))
        {
            return null;
        }

        var headers = new Headers();
        foreach (var header in list.ValueKind == JsonValueKind.Array ? list.EnumerateArray().ToArray() : throw new BadLineException(number, "its headers are not a list"))
        {
            headers.Add(
                header.ValueKind == JsonValueKind.Object && header.TryGetProperty("name", out var name) && name.ValueKind == JsonValueKind.String
                    ? name.GetString()!
                    : throw new BadLineException(number, "one of its headers has no name"),
                Bytes(header, "value", number));
        }

        return headers;
    }
}
