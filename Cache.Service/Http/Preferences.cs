using Microsoft.Net.Http.Headers;

namespace Cache.Service.Http;

/// <summary>Reads which of two formats a client prefers.</summary>
internal static class Preferences
{
    /// <summary>Whether the request prefers a media type to JSON, by its <c>Accept</c> headers.</summary>
    public static bool Prefers(this HttpRequest request, string type, string subtype) =>
        request.Headers.Accept is { Count: > 0 } accept && MediaTypeHeaderValue.TryParseList(accept, out var ranges)
        && Quality(ranges, type, subtype) > Quality(ranges, "application", "json");

    /// <summary>The quality of a media type, from 0 to 1, taken from the most specific range that matches it.</summary>
    private static double Quality(IList<MediaTypeHeaderValue> ranges, string type, string subtype)
    {
        var (quality, specificity) = (0.0, -1);
        foreach (var range in ranges)
        {
            var match = range.MatchesAllTypes ? 0
                : !range.Type.Equals(type, StringComparison.OrdinalIgnoreCase) ? -1
                : range.MatchesAllSubTypes ? 1
                : range.SubType.Equals(subtype, StringComparison.OrdinalIgnoreCase) ? 2
                : -1;
            if (match > specificity)
            {
                (quality, specificity) = (range.Quality ?? 1, match);
            }
        }

        return quality;
    }
}
