using System.Globalization;
using System.Text;
using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Service.Persist;

/// <summary>
/// A dead letter as it is in its topic. Anybody may have written it: without the headers of <see cref="DeadLetters"/>, its origin is
/// unknown.
/// </summary>
internal sealed class SentLetter
{
    /// <summary>The most bytes that are kept of a value that is too large to keep.</summary>
    public const int MaxPreview = 4096;

    // .NET's overhead per letter, in addition to its bytes.
    private const int Overhead = 400;

    // The longest name that Kafka allows for a topic. Reasons are shorter.
    private const int MaxName = 249;

    private static readonly string[] AddedHeaders =
    [
        DeadLetters.ReasonHeader, DeadLetters.TopicHeader, DeadLetters.PartitionHeader, DeadLetters.OffsetHeader, DeadLetters.TimestampHeader,
        DeadLetters.OmittedHeader, DeadLetters.OmittedHeadersHeader, DeadLetters.OmittedKeyHeader,
    ];

    /// <summary>Its partition in the dead-letter topic.</summary>
    public required int Partition { get; init; }

    /// <summary>Its offset there.</summary>
    public required long Offset { get; init; }

    /// <summary>When it was sent, which is when the row was rejected: milliseconds since 1970 UTC.</summary>
    public required long Rejected { get; init; }

    /// <summary>Why the row was rejected; null if unknown.</summary>
    public string? Reason { get; private init; }

    /// <summary>The row's topic; null if unknown.</summary>
    public string? OriginTopic { get; private init; }

    /// <summary>The row's partition; null if unknown.</summary>
    public int? OriginPartition { get; private init; }

    /// <summary>The row's offset; null if unknown.</summary>
    public long? OriginOffset { get; private init; }

    /// <summary>The row's Kafka timestamp, milliseconds since 1970 UTC; null if unknown.</summary>
    public long? Timestamp { get; private init; }

    /// <summary>The row's key; null if it has none, or if it was omitted.</summary>
    public byte[]? Key { get; private init; }

    /// <summary>The row's value, or its beginning unless <see cref="IsWhole"/>; null if it has none, or if it was omitted.</summary>
    public byte[]? Value { get; private init; }

    /// <summary>The length of the row's value in bytes, also if it was omitted.</summary>
    public long ValueBytes { get; private init; }

    /// <summary>The row's own headers.</summary>
    public Headers Headers { get; private init; } = [];

    /// <summary>Whether key, value and headers are those of the row; otherwise, at least the value is not.</summary>
    public bool IsWhole { get; private init; }

    /// <summary>The memory it holds, in bytes.</summary>
    public int Size { get; private init; }

    /// <summary>Keeps a record of the dead-letter topic.</summary>
    /// <param name="record">The record.</param>
    /// <param name="maxSize">A larger letter keeps only the beginning of its value and its key.</param>
    public static SentLetter Of(ConsumeResult<byte[]?, byte[]?> record, int maxSize)
    {
        var (key, value, headers) = (record.Message.Key, record.Message.Value, record.Message.Headers ?? []);
        Headers own = [.. headers.Where(header => !AddedHeaders.Contains(header.Key))];
        var size = new RejectedRow(key, value ?? [], own).Size + Overhead;
        var isKept = size <= maxSize;
        var omitted = Number(headers, DeadLetters.OmittedHeader);
        return new()
        {
            Partition = record.Partition.Value,
            Offset = record.Offset.Value,
            Rejected = record.Message.Timestamp.UnixTimestampMs,
            Reason = Text(headers, DeadLetters.ReasonHeader),
            OriginTopic = Text(headers, DeadLetters.TopicHeader),
            OriginPartition = Number(headers, DeadLetters.PartitionHeader) is { } partition and >= 0 and <= int.MaxValue ? (int)partition : null,
            OriginOffset = Number(headers, DeadLetters.OffsetHeader),
            Timestamp = Number(headers, DeadLetters.TimestampHeader),
            Key = isKept || key is null ? key : Beginning(key, MaxPreview).ToArray(),
            Value = isKept || value is null ? value : Beginning(value, MaxPreview).ToArray(),
            ValueBytes = omitted ?? value?.Length ?? 0,
            Headers = isKept ? own : [],
            IsWhole = isKept && omitted is null,
            Size = isKept ? size : Overhead + (2 * MaxPreview),
        };
    }

    /// <summary>The beginning of a text, without cutting a character in two.</summary>
    /// <param name="bytes">The text; other bytes are cut anywhere.</param>
    /// <param name="maxBytes">How long the beginning may be; at least 4.</param>
    public static ReadOnlySpan<byte> Beginning(ReadOnlySpan<byte> bytes, int maxBytes)
    {
        if (bytes.Length <= maxBytes)
        {
            return bytes;
        }

        // At most three bytes continue a character.
        var length = maxBytes;
        while (length > maxBytes - 3 && (bytes[length] & 0b1100_0000) == 0b1000_0000)
        {
            length--;
        }

        return bytes[..length];
    }

    // The last of several is ours: a producer may have sent a header of the same name.
    private static string? Text(Headers headers, string name) =>
        headers.TryGetLastBytes(name, out var bytes) && bytes is { Length: > 0 and <= MaxName } ? Encoding.UTF8.GetString(bytes) : null;

    private static long? Number(Headers headers, string name) =>
        long.TryParse(Text(headers, name), NumberStyles.None, CultureInfo.InvariantCulture, out var number) ? number : null;
}
