namespace Cache.Client;

/// <summary>A metric type of the service: what its windows hold.</summary>
/// <param name="Name">Its name, such as <c>event</c>: the one that reads take.</param>
/// <param name="Dimensions">The fields that make up a dimension, one to three.</param>
/// <param name="Separator">What joins the values of several fields; null if there is one field.</param>
/// <param name="WindowSeconds">The length of its windows; null if it is not configured.</param>
/// <param name="Measures">The measures of a dimension, one to eight.</param>
public sealed record MetricType(string Name, IReadOnlyList<string> Dimensions, string? Separator, int? WindowSeconds, IReadOnlyList<Measure> Measures);

/// <summary>A measure of a metric type.</summary>
/// <param name="Name">Its name, such as <c>count</c>.</param>
/// <param name="Kind"><c>count</c>, a whole number, or <c>number</c>.</param>
/// <param name="Unit">The unit, for display; null if it has none.</param>
/// <param name="Rollup">How values of several windows become one: <c>sum</c>, <c>max</c>, <c>min</c>, <c>mean</c> or <c>last</c>.</param>
public sealed record Measure(string Name, string Kind, string? Unit, string Rollup);
