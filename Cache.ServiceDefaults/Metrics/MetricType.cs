using System.Text;

namespace Cache.Metrics;

/// <summary>A type of windows: where its rows come from, what they hold, and how the windows are named.</summary>
public sealed class MetricType
{
    /// <summary>The most dimension fields of a type.</summary>
    public const int MaxDimensionFields = 3;

    /// <summary>The most measures of a type.</summary>
    public const int MaxMeasures = 8;

    /// <summary>What joins several dimension fields, unless the type says otherwise.</summary>
    public const string DefaultSeparator = "|";

    /// <summary>Windows of events, by event type.</summary>
    public static MetricType Event { get; } = new()
    {
        Name = "event",
        Key = "event",
        Topics = ["event_metrics"],
        DimensionFields = ["event_type"],
        Measures =
        [
            new("count", "event_count", MeasureKind.Count, Rollup.Sum),
            new("users", "user_count", MeasureKind.Count, Rollup.Max),
        ],
    };

    /// <summary>Windows of load times, by device category.</summary>
    public static MetricType Performance { get; } = new()
    {
        Name = "performance",
        Key = "perf",
        Topics = ["performance_metrics"],
        DimensionFields = ["device_category"],
        Measures =
        [
            new("avg_load_time", "avg_load_time", MeasureKind.Number, Rollup.Mean, "ms"),
            new("p95_load_time", "p95_load_time", MeasureKind.Number, Rollup.Max, "ms"),
        ],
    };

    /// <summary>The types that are there without configuration.</summary>
    public static IReadOnlyList<MetricType> Defaults { get; } = [Event, Performance];

    /// <summary>The name in routes, updates and metrics: <c>[a-z][a-z0-9_]*</c>, unique.</summary>
    public required string Name { get; init; }

    /// <summary>The part of the Redis keys that tells types apart (<c>metrics:{key}:…</c>); unique.</summary>
    public required string Key { get; init; }

    /// <summary>The topics: names, or regular expressions that begin with <c>^</c>.</summary>
    public required IReadOnlyList<string> Topics { get; init; }

    /// <summary>The field with the start of the window.</summary>
    public string TimeField { get; init; } = "window_start";

    /// <summary>The field with the end of the window; only read if <see cref="WindowSeconds"/> is set.</summary>
    public string EndField { get; init; } = "window_end";

    /// <summary>What a time that is a number counts.</summary>
    public TimeUnit TimeUnit { get; init; }

    /// <summary>The fields whose values make up the dimension, 1 to <see cref="MaxDimensionFields"/>.</summary>
    public required IReadOnlyList<string> DimensionFields { get; init; }

    /// <summary>What joins the values of several dimension fields; no value may contain it.</summary>
    public string Separator { get; init; } = DefaultSeparator;

    /// <summary>The measures, 1 to <see cref="MaxMeasures"/>, in the order in which they are shown.</summary>
    public required IReadOnlyList<Measure> Measures { get; init; }

    /// <summary>The length of a window in seconds; null if rows of any length are taken.</summary>
    public int? WindowSeconds { get; init; }

    /// <summary>Whether the type is one of <see cref="Defaults"/>.</summary>
    public bool IsDefault => Defaults.Contains(this);

    /// <summary>The place of a measure in <see cref="Measures"/>; -1 if there is none of that name.</summary>
    /// <param name="name">The name, in UTF-8.</param>
    public int PlaceOf(ReadOnlySpan<byte> name)
    {
        for (var place = 0; place < Measures.Count; place++)
        {
            if (Ascii.Equals(name, Measures[place].Name))
            {
                return place;
            }
        }

        return -1;
    }

    /// <inheritdoc/>
    public override string ToString() => Name;
}

/// <summary>A measure of a metric type.</summary>
/// <param name="Name">The name in Redis and in answers: <c>[a-z][a-z0-9_]*</c>, unique in its type.</param>
/// <param name="Field">The field of the row.</param>
/// <param name="Kind">What values it has.</param>
/// <param name="Rollup">How its values in several windows become one.</param>
/// <param name="Unit">The unit, for display; null if it has none.</param>
/// <param name="IsSigned">Whether a number may be negative; counts never are.</param>
public sealed record Measure(string Name, string Field, MeasureKind Kind, Rollup Rollup, string? Unit = null, bool IsSigned = false);

/// <summary>The kinds of <see cref="Measure"/>.</summary>
public enum MeasureKind
{
    /// <summary>A whole number from 0 to <see cref="long.MaxValue"/>.</summary>
    Count,

    /// <summary>A finite number, not negative unless <see cref="Measure.IsSigned"/>.</summary>
    Number,
}

/// <summary>How the values of a measure in several windows become one.</summary>
public enum Rollup
{
    /// <summary>Their sum.</summary>
    Sum,

    /// <summary>The largest.</summary>
    Max,

    /// <summary>The smallest.</summary>
    Min,

    /// <summary>Their mean; each window and dimension counts once.</summary>
    Mean,

    /// <summary>The one in the newest window.</summary>
    Last,
}

/// <summary>What a time that is a number counts since 1970 UTC.</summary>
public enum TimeUnit
{
    /// <summary>Milliseconds, <c>ms</c>.</summary>
    Milliseconds,

    /// <summary>Seconds, <c>s</c>, with or without a fraction.</summary>
    Seconds,

    /// <summary>Microseconds, <c>us</c>.</summary>
    Microseconds,
}

/// <summary>Words of the configuration and of answers.</summary>
public static class MetricWords
{
    /// <summary><c>count</c> or <c>number</c>.</summary>
    public static string Word(this MeasureKind kind) => kind == MeasureKind.Count ? "count" : "number";

    /// <summary><c>sum</c>, <c>max</c>, <c>min</c>, <c>mean</c> or <c>last</c>.</summary>
    public static string Word(this Rollup rollup) => rollup switch
    {
        Rollup.Sum => "sum",
        Rollup.Max => "max",
        Rollup.Min => "min",
        Rollup.Mean => "mean",
        _ => "last",
    };
}
