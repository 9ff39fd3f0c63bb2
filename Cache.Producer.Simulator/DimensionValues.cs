using Cache.Metrics;

namespace Cache.Producer.Simulator;

/// <summary>Makes up the values of dimension fields.</summary>
internal static class DimensionValues
{
    private static readonly Dictionary<string, string[]> Known = new(StringComparer.OrdinalIgnoreCase)
    {
        ["browser"] = ["Chrome", "Firefox", "Safari"],
        ["category"] = ["books", "games", "music"],
        ["channel"] = ["web", "app", "store"],
        ["country"] = ["DE", "FR", "US", "JP"],
        ["currency"] = ["EUR", "USD", "JPY"],
        ["environment"] = ["production", "staging"],
        ["language"] = ["de", "en", "fr", "ja"],
        ["method"] = ["GET", "POST", "PUT"],
        ["os"] = ["Android", "iOS", "Linux", "Windows"],
        ["plan"] = ["free", "pro"],
        ["region"] = ["eu-west", "us-east", "ap-south"],
        ["service"] = ["checkout", "payment", "search"],
        ["severity"] = ["info", "warning", "error"],
        ["status"] = ["ok", "error"],
    };

    // Together they serve where a separator occurs in all else.
    private static readonly string[] Digits = ["1", "2", "3"];
    private static readonly string[] Letters = ["a", "b", "c"];

    /// <summary>The values of a field: 2 to 4, or those of <c>event_types</c> and <c>device_categories</c>.</summary>
    /// <param name="type">The metric type; none of the values of several fields may contain its separator.</param>
    /// <param name="field">The field.</param>
    /// <param name="options">The values of the default types' fields.</param>
    public static IReadOnlyList<string> Of(MetricType type, string field, SimulatorOptions options)
    {
        IReadOnlyList<string> likely = field switch
        {
            "event_type" => options.EventTypes,
            "device_category" => options.DeviceCategories,
            _ => Known.GetValueOrDefault(field) ?? [],
        };
        IReadOnlyList<string>[] all = [likely, [.. Digits.Select(digit => $"{field}-{digit}")], Digits, Letters];
        return all.First(values => values.Count > 0 && values.All(value => IsUsable(value, type)));
    }

    private static bool IsUsable(string value, MetricType type) =>
        SimulatorOptions.IsDimension(value)
        && (type.DimensionFields.Count == 1 || !value.Contains(type.Separator, StringComparison.Ordinal));
}
