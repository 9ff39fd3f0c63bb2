using System.Globalization;

namespace Cache.Service.Options;

/// <summary>Durations as users write them: a whole number from 1 to 100,000 with <c>s</c>, <c>m</c>, <c>h</c> or <c>d</c>.</summary>
internal static class Durations
{
    /// <summary>Parses a duration.</summary>
    public static bool TryParse(ReadOnlySpan<char> text, out TimeSpan duration)
    {
        duration = TimeSpan.Zero;
        var unitSeconds = text is [.., var unit] ? char.ToLowerInvariant(unit) switch { 's' => 1, 'm' => 60, 'h' => 3600, 'd' => 86400, _ => 0 } : 0;
        if (unitSeconds == 0 || !int.TryParse(text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out var number) || number is 0 or > 100_000)
        {
            return false;
        }

        duration = TimeSpan.FromSeconds((long)number * unitSeconds);
        return true;
    }
}
