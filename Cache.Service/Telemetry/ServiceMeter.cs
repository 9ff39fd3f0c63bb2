using System.Diagnostics.Metrics;

namespace Cache.Service.Telemetry;

/// <summary>
/// The meter that every stage registers its own instruments with. Prometheus names follow from theirs: dots become
/// underscores, counters end in <c>_total</c>, the unit <c>s</c> in <c>_seconds</c>.
/// </summary>
internal static class ServiceMeter
{
    /// <summary>The meter's name.</summary>
    public const string Name = "Cache.Service";

    /// <summary>The meter; the same one for every caller of a factory.</summary>
    public static Meter Of(IMeterFactory meters) => meters.Create(Name);
}
