using System.Buffers.Text;

namespace Cache.Metrics;

/// <summary>
/// Parses the text formats of a time: ISO-8601 with <c>Z</c> or an offset, and Flink's SQL timestamp
/// (<c>2025-01-01 00:00:00.123Z</c>, 0 to 9 fraction digits) with or without a zone; without one it is UTC. Also as others write
/// them: with a lower-case <c>t</c> or <c>z</c>, a comma before the fraction, or a space before the zone.
/// </summary>
public static class WindowTime
{
    /// <summary>Parses a time from UTF-8 text.</summary>
    /// <param name="text">The text, without quotes.</param>
    /// <param name="milliseconds">Milliseconds since 1970 UTC, negative before; finer digits are cut off.</param>
    /// <returns>Whether the text is a time in one of the formats.</returns>
    public static bool TryParse(ReadOnlySpan<byte> text, out long milliseconds)
    {
        milliseconds = 0;

        // The shortest is yyyy-MM-ddTHH:mm: Java omits seconds that are zero.
        if (text.Length < 16 || text[4] != '-' || text[7] != '-' || text[10] is not ((byte)'T' or (byte)'t' or (byte)' ') || text[13] != ':'
            || !TryNumber(text[..4], out var year) || !TryNumber(text[5..7], out var month) || !TryNumber(text[8..10], out var day)
            || !TryNumber(text[11..13], out var hour) || !TryNumber(text[14..16], out var minute)
            || year < 1 || month is < 1 or > 12 || day < 1 || day > DateTime.DaysInMonth(year, month) || hour > 23 || minute > 59)
        {
            return false;
        }

        var rest = text[16..];
        var second = 0;
        var fraction = 0;
        if (rest is [(byte)':', ..])
        {
            if (rest.Length < 3 || !TryNumber(rest[1..3], out second) || second > 59)
            {
                return false;
            }

            rest = rest[3..];
            if (rest is [(byte)'.' or (byte)',', ..] && !TryFraction(ref rest, out fraction))
            {
                return false;
            }
        }

        if (!TryOffset(rest, out var offsetMinutes))
        {
            return false;
        }

        var days = new DateOnly(year, month, day).DayNumber - DateOnly.FromDateTime(DateTime.UnixEpoch).DayNumber;
        milliseconds = ((((((days * 24L) + hour) * 60) + minute - offsetMinutes) * 60 + second) * 1000) + fraction;
        return true;
    }

    /// <summary>Parses a point or comma and one to nine digits, of which the first three count.</summary>
    private static bool TryFraction(ref ReadOnlySpan<byte> rest, out int milliseconds)
    {
        milliseconds = 0;
        var digits = 1;
        for (; digits < rest.Length && rest[digits] is >= (byte)'0' and <= (byte)'9'; digits++)
        {
            milliseconds += (rest[digits] - '0') * digits switch { 1 => 100, 2 => 10, 3 => 1, _ => 0 };
        }

        rest = rest[digits..];
        return digits is > 1 and <= 10;
    }

    /// <summary>Parses the zone: nothing, or <c>Z</c>, <c>±HH:mm</c>, <c>±HHmm</c> or <c>±HH</c>, with or without a space before it.</summary>
    private static bool TryOffset(ReadOnlySpan<byte> zone, out int minutes)
    {
        minutes = 0;
        if (zone is [])
        {
            return true;
        }

        zone = zone[0] == ' ' ? zone[1..] : zone;
        if (zone is [(byte)'Z' or (byte)'z'])
        {
            return true;
        }

        if (zone is [] || zone[0] is not ((byte)'+' or (byte)'-') || zone.Length < 3 || !TryNumber(zone[1..3], out var hours) || hours > 18)
        {
            return false;
        }

        var rest = zone is [_, _, _, (byte)':', ..] ? zone[4..] : zone[3..];
        var minute = 0;
        if (zone.Length > 3 && (rest.Length != 2 || !TryNumber(rest, out minute) || minute > 59))
        {
            return false;
        }

        minutes = ((hours * 60) + minute) * (zone[0] == '-' ? -1 : 1);
        return true;
    }

    private static bool TryNumber(ReadOnlySpan<byte> digits, out int number) =>
        Utf8Parser.TryParse(digits, out number, out var read) && read == digits.Length && digits[0] is >= (byte)'0' and <= (byte)'9';
}
