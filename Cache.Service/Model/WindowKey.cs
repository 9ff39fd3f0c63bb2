using Cache.Metrics;

namespace Cache.Service.Model;

/// <summary>Identifies a window by metric type and start.</summary>
/// <param name="Type">The metric type.</param>
/// <param name="Start">Milliseconds since 1970 UTC.</param>
internal readonly record struct WindowKey(MetricType Type, long Start);
