using Confluent.Kafka;

namespace Cache.Service.Model;

/// <summary>A rejected row as Kafka delivered it.</summary>
/// <param name="Key">The key's bytes; null if there is no key.</param>
/// <param name="Value">The value's bytes.</param>
/// <param name="Headers">The headers.</param>
public sealed record RejectedRow(byte[]? Key, byte[] Value, Headers? Headers)
{
    // .NET's overhead per header, in addition to its bytes.
    private const int OverheadPerHeader = 100;

    /// <summary>Memory held by the row, in bytes.</summary>
    public int Size { get; } = Value.Length + (Key?.Length ?? 0) + SizeOf(Headers);

    /// <summary>Size of the header names and values, in bytes.</summary>
    public int HeaderBytes => SizeOf(Headers) - ((Headers?.Count ?? 0) * OverheadPerHeader);

    private static int SizeOf(Headers? headers)
    {
        var size = 0;
        for (var number = 0; number < headers?.Count; number++)
        {
            size += OverheadPerHeader + headers[number].Key.Length + (headers[number].GetValueBytes()?.Length ?? 0);
        }

        return size;
    }
}
