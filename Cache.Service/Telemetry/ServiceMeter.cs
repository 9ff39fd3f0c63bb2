using System.Diagnostics.Metrics;

namespace Cache.Service.Telemetry;

/// <summary>
/// The meter on which every stage registers its own instruments. In Prometheus, dots in their names become underscores,
/// counters end in <c>_total</c>, and instruments with the unit <c>s</c> end in <c>_seconds</c>.
/// </summary>
internal static class ServiceMeter
{
    /// <summary>The meter's name.</summary>
    public const string Name = "Cache.Service";

    /// <summary>Gets the meter, which is the same for every caller with the same factory.</summary>
    public static Meter Of(IMeterFactory meters) => meters.Create(Name);
}
