using System.Diagnostics;

namespace Cache.Service.Telemetry;

/// <summary>The source of the service's spans, which follow the OpenTelemetry conventions for messaging and databases.</summary>
internal static class Tracing
{
    /// <summary>The name of the activity source.</summary>
    public const string SourceName = "Cache.Service";

    /// <summary>Maximum number of links per span: more add no information, and exporters drop them anyway.</summary>
    public const int MaxLinks = 32;

    /// <summary>The activity source.</summary>
    public static readonly ActivitySource Source = new(SourceName);
}
