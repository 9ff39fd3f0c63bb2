using System.Text.Json;

namespace Cache.Client;

/// <summary>A time window of a metric type: per dimension, the values of its measures.</summary>
public sealed class MetricWindow
{
    private readonly Dictionary<string, Dictionary<string, MetricValue>> _dimensions = [];

    private MetricWindow(string type, DateTimeOffset start) => (Type, Start) = (type, start);

    /// <summary>The name of the metric type, such as <c>event</c>.</summary>
    public string Type { get; }

    /// <summary>When the window starts, in UTC.</summary>
    public DateTimeOffset Start { get; }

    /// <summary>The dimensions. Those with several fields are joined by the type's <see cref="MetricType.Separator"/>, such as <c>DE|pro</c>.</summary>
    public IReadOnlyCollection<string> Dimensions => _dimensions.Keys;

    /// <summary>The measures of a dimension, by name; empty if the window does not have the dimension.</summary>
    public IReadOnlyDictionary<string, MetricValue> this[string dimension] =>
        _dimensions.GetValueOrDefault(dimension) ?? (IReadOnlyDictionary<string, MetricValue>)System.Collections.ObjectModel.ReadOnlyDictionary<string, MetricValue>.Empty;

    /// <summary>A value, such as <c>window["click", "count"]</c>; null if the window does not have it.</summary>
    public MetricValue? this[string dimension, string measure] =>
        _dimensions.TryGetValue(dimension, out var measures) && measures.TryGetValue(measure, out var value) ? value : null;

    /// <summary>The values of a measure, by dimension; dimensions without one are left out.</summary>
    public IEnumerable<KeyValuePair<string, MetricValue>> Values(string measure)
    {
        foreach (var (dimension, measures) in _dimensions)
        {
            if (measures.TryGetValue(measure, out var value))
            {
                yield return new(dimension, value);
            }
        }
    }

    /// <summary>Reads a window of an answer: <c>{"window_start":…,"click.count":…}</c>; null for an empty object.</summary>
    internal static MetricWindow? Of(string type, JsonElement window) =>
        window.TryGetProperty("window_start", out var start) ? Of(type, start, window) : null;

    /// <summary>Reads a window.</summary>
    /// <param name="type">The name of its type.</param>
    /// <param name="start">When it starts, in milliseconds since 1970.</param>
    /// <param name="fields">The fields, named <c>{dimension}.{measure}</c>.</param>
    internal static MetricWindow Of(string type, JsonElement start, JsonElement fields)
    {
        var window = new MetricWindow(type, DateTimeOffset.FromUnixTimeMilliseconds(start.GetInt64()));
        foreach (var field in fields.EnumerateObject())
        {
            // A dimension may contain dots, a measure has none.
            if (field.Name.LastIndexOf('.') is > 0 and var dot && field.Value.ValueKind == JsonValueKind.Number)
            {
                var dimension = field.Name[..dot];
                if (!window._dimensions.TryGetValue(dimension, out var measures))
                {
                    window._dimensions[dimension] = measures = [];
                }

                measures[field.Name[(dot + 1)..]] = MetricValue.Of(field.Value);
            }
        }

        return window;
    }
}
