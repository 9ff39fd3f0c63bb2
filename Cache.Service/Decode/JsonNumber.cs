using System.Buffers.Text;
using System.Text.Json;
using Cache.Service.Model;

namespace Cache.Service.Decode;

/// <summary>Reads and rejects measures: counts, durations in milliseconds and numbers. Null leaves a measure absent.</summary>
internal static class JsonNumber
{
    /// <summary>Reads a whole number from 0 to <see cref="long.MaxValue"/>.</summary>
    /// <returns><see cref="RejectReason.BadMeasure"/> for anything else but null.</returns>
    public static RejectReason ReadCount(ref Utf8JsonReader reader, out long count, out bool has)
    {
        count = 0;
        has = false;
        switch (reader.TokenType)
        {
            case JsonTokenType.Null:
                return RejectReason.None;

            case JsonTokenType.Number:
                has = TryReadWhole(ref reader, out count) && count >= 0;
                return has ? RejectReason.None : RejectReason.BadMeasure;

            default:
                reader.Skip();
                return RejectReason.BadMeasure;
        }
    }

    /// <summary>Reads a finite number, as the bits of a <see cref="double"/>.</summary>
    /// <returns><see cref="RejectReason.BadMeasure"/> for anything else but null.</returns>
    public static RejectReason ReadNumber(ref Utf8JsonReader reader, bool signed, out long bits, out bool has)
    {
        bits = 0;
        has = false;
        switch (reader.TokenType)
        {
            case JsonTokenType.Null:
                return RejectReason.None;

            case JsonTokenType.Number:
                has = reader.TryGetDouble(out var number) && double.IsFinite(number) && (signed || number >= 0);

                // Adding 0 turns -0 into 0.
                bits = has ? BitConverter.DoubleToInt64Bits(number + 0.0) : 0;
                return has ? RejectReason.None : RejectReason.BadMeasure;

            default:
                reader.Skip();
                return RejectReason.BadMeasure;
        }
    }

    /// <summary>Reads a whole number within int64, also if it is written as <c>2.0</c> or <c>1e3</c>.</summary>
    public static bool TryReadWhole(ref Utf8JsonReader reader, out long number) =>
        reader.TryGetInt64(out number) || TryParseWhole(reader.ValueSpan, out number);

    /// <summary>Parses digit by digit: decimal and double would round a fraction to a whole number.</summary>
    private static bool TryParseWhole(ReadOnlySpan<byte> text, out long number)
    {
        var negative = text[0] == '-';
        var e = text.IndexOfAny((byte)'e', (byte)'E');
        var mantissa = text[(negative ? 1 : 0)..(e < 0 ? text.Length : e)];
        var point = mantissa.IndexOf((byte)'.') is var at and >= 0 ? at : mantissa.Length;
        var exponent = 0;
        if (e >= 0 && !Utf8Parser.TryParse(text[(e + 1)..], out exponent, out _))
        {
            // Beyond int32: larger than any number of digits in a value.
            exponent = text[e + 1] == '-' ? int.MinValue : int.MaxValue;
        }

        number = 0;
        var digitsLeft = (long)point + exponent;
        foreach (var digit in mantissa)
        {
            if (digit == '.')
            {
                continue;
            }

            if (digitsLeft-- > 0 ? !TryAppend(ref number, digit - '0') : digit != '0')
            {
                return false;
            }
        }

        for (; digitsLeft > 0 && number > 0; digitsLeft--)
        {
            if (!TryAppend(ref number, 0))
            {
                return false;
            }
        }

        number = negative ? -number : number;
        return true;
    }

    private static bool TryAppend(ref long number, int digit)
    {
        if (number > (long.MaxValue - digit) / 10)
        {
            return false;
        }

        number = (number * 10) + digit;
        return true;
    }
}
