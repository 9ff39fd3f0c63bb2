using System.Buffers.Text;
using System.Text;
using System.Text.Json;
using Cache.Service.Model;

namespace Cache.Service.Decode;

/// <summary>
/// Reads and rejects names (dimensions, session and user ids): 1 to <see cref="RowDecoder.MaxDimensionBytes"/> bytes of UTF-8
/// without control characters.
/// </summary>
internal static class JsonText
{
    /// <summary>Reads a dimension.</summary>
    /// <param name="reader">The reader, at the value.</param>
    /// <param name="table">Where the dimension is interned.</param>
    /// <param name="absent">What null means; any other value that is not a name is a <see cref="RejectReason.BadDimension"/>.</param>
    /// <param name="dimension">The dimension; null if there is none or it is rejected.</param>
    public static RejectReason ReadDimension(ref Utf8JsonReader reader, DimensionTable table, RejectReason absent, out Dimension? dimension)
    {
        Span<byte> buffer = stackalloc byte[RowDecoder.MaxDimensionBytes];
        var reason = CopyName(ref reader, buffer, absent, RejectReason.BadDimension, out var length);
        dimension = length > 0 ? table.Get(buffer[..length]) : null;
        return reason;
    }

    /// <summary>Reads a name into a string of its own.</summary>
    /// <param name="reader">The reader, at the value.</param>
    /// <param name="absent">What null means.</param>
    /// <param name="bad">What any other value that is not a name means.</param>
    /// <param name="name">The name; null if there is none or it is rejected.</param>
    public static RejectReason ReadName(ref Utf8JsonReader reader, RejectReason absent, RejectReason bad, out string? name)
    {
        Span<byte> buffer = stackalloc byte[RowDecoder.MaxDimensionBytes];
        var reason = CopyName(ref reader, buffer, absent, bad, out var length);
        name = length > 0 ? Encoding.UTF8.GetString(buffer[..length]) : null;
        return reason;
    }

    /// <summary>Copies a string, unescaped; false if it does not fit or has a lone surrogate.</summary>
    public static bool TryCopy(ref Utf8JsonReader reader, scoped Span<byte> buffer, out int length)
    {
        length = 0;
        if (!reader.ValueIsEscaped)
        {
            return reader.ValueSpan.TryCopyTo(buffer) && (length = reader.ValueSpan.Length) >= 0;
        }

        // An escape takes at most six bytes per byte of text (\u0041): anything longer cannot fit, and is not worth unescaping.
        if (reader.ValueSpan.Length > buffer.Length * 6 || HasLoneSurrogate(reader.ValueSpan))
        {
            return false;
        }

        Span<byte> unescaped = stackalloc byte[reader.ValueSpan.Length];
        length = reader.CopyString(unescaped);
        return unescaped[..length].TryCopyTo(buffer);
    }

    /// <summary>Copies a name.</summary>
    /// <returns>Why the name is rejected; the length is 0 then, and if there is no name.</returns>
    public static RejectReason CopyName(ref Utf8JsonReader reader, scoped Span<byte> buffer, RejectReason absent, RejectReason bad, out int length)
    {
        length = 0;
        if (reader.TokenType == JsonTokenType.Null)
        {
            return absent;
        }

        if (reader.TokenType != JsonTokenType.String)
        {
            reader.Skip();
            return bad;
        }

        if (!TryCopy(ref reader, buffer, out length) || length == 0 || HasControlCharacter(buffer[..length]))
        {
            length = 0;
            return bad;
        }

        return RejectReason.None;
    }

    /// <summary>
    /// Whether escaped text has a lone surrogate: unescaping or comparing it would throw, at the cost of an exception per text.
    /// </summary>
    public static bool HasLoneSurrogate(ReadOnlySpan<byte> escaped)
    {
        for (var at = escaped.IndexOf((byte)'\\'); at >= 0; at = escaped.IndexOf((byte)'\\'))
        {
            var unit = Unit(escaped[at..]);
            escaped = escaped[(at + 2)..];
            if (char.IsHighSurrogate(unit) && escaped[4..] is [(byte)'\\', ..] and var next && char.IsLowSurrogate(Unit(next)))
            {
                escaped = next[2..];
            }
            else if (char.IsSurrogate(unit))
            {
                return true;
            }
        }

        return false;

        // The JSON reader has already checked that every escape is complete.
        static char Unit(ReadOnlySpan<byte> escape) =>
            escape[1] == 'u' && Utf8Parser.TryParse(escape[2..6], out ushort unit, out _, 'x') ? (char)unit : '\0';
    }

    /// <summary>Whether text has a character of Unicode category Cc: U+0000–U+001F or U+007F–U+009F.</summary>
    private static bool HasControlCharacter(ReadOnlySpan<byte> utf8)
    {
        if (utf8.ContainsAnyInRange((byte)0x00, (byte)0x1F) || utf8.Contains((byte)0x7F))
        {
            return true;
        }

        // U+0080–U+009F take two bytes, the first of which is C2.
        for (var lead = utf8.IndexOf((byte)0xC2); lead >= 0; lead = utf8.IndexOf((byte)0xC2))
        {
            utf8 = utf8[(lead + 1)..];
            if (utf8 is [< 0xA0, ..])
            {
                return true;
            }
        }

        return false;
    }
}
