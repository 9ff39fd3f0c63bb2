using System.Text;
using System.Text.Json;
using Cache.Service.Persist;
using Confluent.Kafka;

namespace Cache.Tests.Persist;

/// <summary>Records that anybody may have written to the dead-letter topic.</summary>
internal static class HostileLetters
{
    private static readonly string[] OwnHeaders =
    [
        DeadLetters.ReasonHeader, DeadLetters.TopicHeader, DeadLetters.PartitionHeader, DeadLetters.OffsetHeader, DeadLetters.TimestampHeader,
        DeadLetters.OmittedHeader, DeadLetters.OmittedHeadersHeader, DeadLetters.OmittedKeyHeader,
    ];

    private static readonly string[] Texts =
        ["", "not_json", "event_metrics", "-1", "0", "3", "99999999999999999999", "9223372036854775807", " 3 ", "1e3", "\0", "\ud83d\ude00", "\u202e", "</script>", "{\"a\":\"b\"}\r\n{}"];

    public static Message<byte[]?, byte[]?> Draw(Random random)
    {
        var headers = new Headers();
        for (var count = random.Next(12); count > 0; count--)
        {
            var name = random.Next(3) == 0 ? Texts[random.Next(Texts.Length)] : OwnHeaders[random.Next(OwnHeaders.Length)];
            headers.Add(name, Bytes(random));
        }

        if (random.Next(20) == 0)
        {
            headers.Add(random.Next(2) == 0 ? DeadLetters.TopicHeader : "large", new byte[random.Next(100_000)]);
        }

        return new() { Key = Bytes(random), Value = Bytes(random), Headers = headers, Timestamp = new Timestamp(random.NextInt64(0, 4_000_000_000_000), TimestampType.CreateTime) };
    }

    /// <summary>Asserts that a line has a record's key, value and own headers, unless parts of the record were omitted.</summary>
    public static void AssertSame(Message<byte[]?, byte[]?> record, JsonElement line)
    {
        if (line.TryGetProperty("omitted_bytes", out _))
        {
            Assert.True(record.Headers.TryGetLastBytes(DeadLetters.OmittedHeader, out _));
            Assert.Equal(JsonValueKind.Null, line.GetProperty("value").ValueKind);
            return;
        }

        Assert.Equal(record.Key, Bytes(line, "key"));
        Assert.Equal(record.Value, Bytes(line, "value"));
        var headers = line.TryGetProperty("headers", out var found) ? found.EnumerateArray().ToArray() : [];
        Assert.Equal(
            record.Headers.Where(header => !OwnHeaders.Contains(header.Key)).Select(header => (header.Key, (byte[]?)header.GetValueBytes())),
            headers.Select(header => (header.GetProperty("name").GetString()!, Bytes(header, "value"))));
    }

    private static byte[]? Bytes(JsonElement line, string name) =>
        line.TryGetProperty($"{name}_base64", out var base64) ? base64.GetBytesFromBase64()
        : line.GetProperty(name).GetString() is { } text ? Encoding.UTF8.GetBytes(text)
        : null;

    private static byte[]? Bytes(Random random)
    {
        switch (random.Next(5))
        {
            case 0:
                return null;
            case 1:
                var bytes = new byte[random.Next(10)];
                random.NextBytes(bytes);
                return bytes;
            case 2:
                // A character that is cut in two.
                return [.. Encoding.UTF8.GetBytes(Texts[random.Next(Texts.Length)]), 0xE2, 0x82];
            default:
                return Encoding.UTF8.GetBytes(Texts[random.Next(Texts.Length)]);
        }
    }
}
