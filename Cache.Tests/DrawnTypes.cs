using System.Text.Json.Nodes;
using Cache.Metrics;

namespace Cache.Tests;

/// <summary>Metric types drawn at random: all that <c>metric_types</c> can say about rows and fields.</summary>
internal static class DrawnTypes
{
    private static readonly string[] Fields = ["A", "b", "WINDOW", "ünï", "x y", "a.b", "event_type", "日本", "value"];

    /// <summary>A type as an entry of <c>metric_types</c>.</summary>
    public static string Json(MetricType type)
    {
        var json = new JsonObject
        {
            ["name"] = type.Name,
            ["key"] = type.Key,
            ["topics"] = new JsonArray([.. type.Topics.Select(topic => (JsonNode)topic)]),
            ["time"] = type.TimeField,
            ["end"] = type.EndField,
            ["time_unit"] = type.TimeUnit switch { TimeUnit.Seconds => "s", TimeUnit.Microseconds => "us", _ => "ms" },
            ["dimension"] = new JsonArray([.. type.DimensionFields.Select(field => (JsonNode)field)]),
            ["separator"] = type.Separator,
            ["measures"] = new JsonArray([.. type.Measures.Select(measure => (JsonNode)new JsonObject
            {
                ["name"] = measure.Name,
                ["field"] = measure.Field,
                ["kind"] = measure.Kind.Word(),
                ["rollup"] = measure.Rollup.Word(),
                ["signed"] = measure.IsSigned,
            })]),
        };
        if (type.WindowSeconds is { } seconds)
        {
            json["window_seconds"] = seconds;
        }

        return json.ToJsonString();
    }

    /// <summary>Draws a type.</summary>
    /// <param name="random">Where the draws come from.</param>
    /// <param name="number">Makes its names unique.</param>
    /// <param name="measures">The number of measures; null for any.</param>
    public static MetricType Draw(Random random, int number, int? measures = null)
    {
        var next = 0;
        var name = $"drawn{number}";
        var dimensions = random.Next(1, MetricType.MaxDimensionFields + 1);
        return new()
        {
            Name = name,
            Key = random.Next(2) == 0 ? name : $"k{number}",
            Topics = [$"{name}_metrics"],
            TimeField = random.Next(2) == 0 ? "window_start" : Field(),
            EndField = random.Next(2) == 0 ? "window_end" : Field(),
            TimeUnit = (TimeUnit)random.Next(3),
            DimensionFields = [.. Enumerable.Range(0, dimensions).Select(_ => Field())],
            Separator = random.Next(3) switch { 0 => "|", 1 => ", ", _ => "→" },
            WindowSeconds = random.Next(2) == 0 ? null : 60,
            Measures = [.. Enumerable.Range(0, measures ?? random.Next(1, MetricType.MaxMeasures + 1)).Select(Measure)],
        };

        Measure Measure(int place)
        {
            var kind = (MeasureKind)random.Next(2);
            return new($"m{place}", Field(), kind, (Rollup)random.Next(5), random.Next(2) == 0 ? "ms" : null, kind == MeasureKind.Number && random.Next(2) == 0);
        }

        string Field() => $"{Fields[random.Next(Fields.Length)]}{next++}";
    }
}
