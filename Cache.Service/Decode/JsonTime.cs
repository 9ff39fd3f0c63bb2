using System.Text.Json;
using Cache.Service.Model;

namespace Cache.Service.Decode;

/// <summary>Reads and rejects times: epoch milliseconds, or text that <see cref="WindowTime"/> parses.</summary>
internal static class JsonTime
{
    // The longest time has 35 characters; escaped text is unescaped into a buffer of this size.
    private const int MaxBytes = 64;

    /// <summary>Reads a time that must not be before 1970.</summary>
    /// <param name="reader">The reader, at the value.</param>
    /// <param name="absent">What null means.</param>
    /// <param name="bad">What any other value that is not a time means.</param>
    /// <param name="milliseconds">Milliseconds since 1970 UTC; meaningless if the value is rejected.</param>
    public static RejectReason Read(ref Utf8JsonReader reader, RejectReason absent, RejectReason bad, out long milliseconds)
    {
        milliseconds = 0;
        Span<byte> text = stackalloc byte[MaxBytes];
        switch (reader.TokenType)
        {
            case JsonTokenType.Number:
                return JsonNumber.TryReadWhole(ref reader, out milliseconds) && milliseconds >= 0 ? RejectReason.None : bad;

            case JsonTokenType.String:
                return JsonText.TryCopy(ref reader, text, out var length)
                    && WindowTime.TryParse(text[..length], out milliseconds) && milliseconds >= 0
                    ? RejectReason.None
                    : bad;

            case JsonTokenType.Null:
                return absent;

            default:
                reader.Skip();
                return bad;
        }
    }
}
