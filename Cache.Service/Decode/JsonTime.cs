using System.Text.Json;
using Cache.Metrics;
using Cache.Service.Model;

namespace Cache.Service.Decode;

/// <summary>Reads and rejects times: numbers, or text that <see cref="WindowTime"/> parses.</summary>
internal static class JsonTime
{
    // The longest time has 35 characters; escaped text is unescaped into a buffer of this size.
    private const int MaxBytes = 64;

    /// <summary>The earliest time that a number can mean, 2001-01-01: seconds, sent by mistake, are smaller until the year 32971.</summary>
    public const long EarliestNumber = 978_307_200_000;

    /// <summary>Reads a time that must not be before 1970.</summary>
    /// <param name="reader">The reader, at the value.</param>
    /// <param name="unit">What a number counts.</param>
    /// <param name="absent">What null means.</param>
    /// <param name="bad">What any other value that is not a time means.</param>
    /// <param name="milliseconds">Milliseconds since 1970 UTC; meaningless if the value is rejected.</param>
    public static RejectReason Read(ref Utf8JsonReader reader, TimeUnit unit, RejectReason absent, RejectReason bad, out long milliseconds)
    {
        milliseconds = 0;
        Span<byte> text = stackalloc byte[MaxBytes];
        switch (reader.TokenType)
        {
            case JsonTokenType.Number:
                return ReadNumber(ref reader, unit, bad, out milliseconds);

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

    /// <summary>Converts a number to milliseconds, cutting off what is finer; false beyond int64.</summary>
    public static bool TryConvert(long number, TimeUnit unit, out long milliseconds)
    {
        milliseconds = unit switch
        {
            TimeUnit.Milliseconds => number,
            TimeUnit.Microseconds => (long)Math.Floor(number / 1000m),
            _ => number is > long.MinValue / 1000 and < long.MaxValue / 1000 ? number * 1000 : -1,
        };
        return unit != TimeUnit.Seconds || milliseconds != -1;
    }

    private static RejectReason ReadNumber(ref Utf8JsonReader reader, TimeUnit unit, RejectReason bad, out long milliseconds)
    {
        if (!JsonNumber.TryReadWhole(ref reader, out var number) || !TryConvert(number, unit, out milliseconds))
        {
            return ReadFraction(ref reader, unit, bad, out milliseconds);
        }

        return milliseconds >= EarliestNumber ? RejectReason.None
            : unit == TimeUnit.Milliseconds && milliseconds >= 0 ? RejectReason.TimeInSeconds
            : bad;
    }

    /// <summary>Only seconds may have a fraction; where milliseconds are due, one often gives seconds away.</summary>
    private static RejectReason ReadFraction(ref Utf8JsonReader reader, TimeUnit unit, RejectReason bad, out long milliseconds)
    {
        milliseconds = 0;
        if (unit == TimeUnit.Milliseconds)
        {
            return reader.GetDouble() is >= 0 and < EarliestNumber ? RejectReason.TimeInSeconds : bad;
        }

        if (unit != TimeUnit.Seconds || !reader.TryGetDecimal(out var seconds) || seconds is < EarliestNumber / 1000m or > long.MaxValue / 1000m)
        {
            return bad;
        }

        milliseconds = (long)(seconds * 1000);
        return RejectReason.None;
    }
}
