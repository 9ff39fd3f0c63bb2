namespace Cache.Client;

/// <summary>Windows rolled up into one: each measure by its roll-up, per dimension and in total.</summary>
/// <param name="Type">The name of the metric type.</param>
/// <param name="Rollups">The roll-up of each measure, such as <c>sum</c>.</param>
/// <param name="Windows">How many windows there were.</param>
/// <param name="First">The start of the oldest window; null if there was none.</param>
/// <param name="Last">The start of the newest window; null if there was none.</param>
/// <param name="Total">The measures over all dimensions. One whose roll-up is <c>last</c> has no total.</param>
/// <param name="Dimensions">The dimensions, in the order asked for.</param>
/// <param name="Step">The length of a step of the series; null if none was asked for.</param>
/// <param name="Series">The steps, newest first; null if none were asked for.</param>
public sealed record MetricSummary(
    string Type,
    IReadOnlyDictionary<string, string> Rollups,
    int Windows,
    DateTimeOffset? First,
    DateTimeOffset? Last,
    IReadOnlyDictionary<string, MetricValue> Total,
    IReadOnlyList<DimensionSummary> Dimensions,
    TimeSpan? Step,
    IReadOnlyList<SummaryStep>? Series);

/// <summary>A dimension of a summary.</summary>
/// <param name="Dimension">The dimension.</param>
/// <param name="Measures">Its measures, rolled up.</param>
public sealed record DimensionSummary(string Dimension, IReadOnlyDictionary<string, MetricValue> Measures);

/// <summary>A step of a summary's series.</summary>
/// <param name="Start">When it starts: a multiple of its length since 1970.</param>
/// <param name="Windows">How many windows started in it.</param>
/// <param name="Total">The measures over all dimensions.</param>
/// <param name="Dimensions">The dimensions that the summary lists, as far as this step has them.</param>
public sealed record SummaryStep(
    DateTimeOffset Start, int Windows, IReadOnlyDictionary<string, MetricValue> Total, IReadOnlyList<DimensionSummary> Dimensions);
