using Confluent.Kafka;

namespace Cache.Service.Model;

/// <summary>A rejected row as Kafka delivered it.</summary>
/// <param name="Key">The key's bytes; null when there is none.</param>
/// <param name="Value">The value's bytes.</param>
/// <param name="Headers">The headers.</param>
public sealed record RejectedRow(byte[]? Key, byte[] Value, Headers? Headers)
{
    // What .NET needs for the objects of a header, beside its bytes.
    private const int BytesAHeader = 100;

    /// <summary>Bytes of memory that the row holds.</summary>
    public int Size { get; } = Value.Length + (Key?.Length ?? 0) + SizeOf(Headers);

    /// <summary>Bytes of the headers' names and values.</summary>
    public int HeaderBytes => SizeOf(Headers) - ((Headers?.Count ?? 0) * BytesAHeader);

    private static int SizeOf(Headers? headers)
    {
        var size = 0;
        for (var number = 0; number < headers?.Count; number++)
        {
            size += BytesAHeader + headers[number].Key.Length + (headers[number].GetValueBytes()?.Length ?? 0);
        }

        return size;
    }
}
