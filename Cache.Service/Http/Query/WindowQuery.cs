using Cache.Metrics;

namespace Cache.Service.Http.Query;

/// <summary>A query for windows.</summary>
/// <param name="Type">The metric type; null for all (<c>/metrics/overview</c>).</param>
/// <param name="Limit">Maximum number of windows; null for only the newest, without a list.</param>
/// <param name="From">The earliest start, in milliseconds; null for no bound.</param>
/// <param name="To">The latest start, in milliseconds; null for no bound.</param>
/// <param name="Fields">The dimensions, comma-separated; null or empty for all.</param>
/// <param name="Csv">CSV instead of JSON.</param>
/// <param name="Summary">How to summarize the windows; null to list them.</param>
internal readonly record struct WindowQuery(MetricType? Type, int? Limit, string? Fields, long? From = null, long? To = null, bool Csv = false, SummaryQuery? Summary = null);
