using System.Text.Json.Serialization;
using Cache.Metrics;

namespace Cache.Service.Http.Query;

/// <summary>How old the newest window of a metric type is.</summary>
/// <param name="Type">The name of the type.</param>
/// <param name="Newest">The start of the newest window, in milliseconds since 1970 UTC; null without windows.</param>
/// <param name="AgeSeconds">The time since then, negative for a window that starts in the future; null without windows.</param>
/// <param name="WindowSeconds">The length of a window that the rule uses; null if it is not known.</param>
/// <param name="Fresh">Whether the newest window started less than two window lengths and <see cref="Grace"/> ago.</param>
internal sealed record Freshness(
    string Type,
    long? Newest,
    [property: JsonPropertyName("age_seconds")] double? AgeSeconds,
    [property: JsonPropertyName("window_seconds")] double? WindowSeconds,
    bool Fresh)
{
    /// <summary>The number of windows, newest first, among which the length is looked for.</summary>
    public const int MaxWindows = 15;

    /// <summary>What a stream processor may be late by, whatever the length of its windows.</summary>
    public static readonly TimeSpan Grace = TimeSpan.FromSeconds(60);

    /// <summary>
    /// Applies the rule. A window may be sent when it ends, and is the newest until the next one ends: two lengths after it has
    /// started. The length is the type's; otherwise the smallest gap between two windows, since some windows may be absent.
    /// </summary>
    /// <param name="type">The metric type.</param>
    /// <param name="starts">Its newest windows, newest first, at most <see cref="MaxWindows"/>.</param>
    /// <param name="now">The time.</param>
    public static Freshness Of(MetricType type, IReadOnlyList<long> starts, DateTimeOffset now)
    {
        var length = type.WindowSeconds is { } seconds ? seconds * 1000L : starts.Zip(starts.Skip(1), (newer, older) => (long?)(newer - older)).Min();
        var newest = starts is [var first, ..] ? first : (long?)null;
        var age = now.ToUnixTimeMilliseconds() - newest;
        return new(type.Name, newest, age / 1000.0, length / 1000.0, age < (2 * (length ?? 0)) + Grace.TotalMilliseconds);
    }
}
