using System.Diagnostics;

namespace Cache.Service.Telemetry;

/// <summary>The source of the service's spans, which follow OpenTelemetry's conventions for messaging and databases.</summary>
internal static class Tracing
{
    /// <summary>The name of the activity source.</summary>
    public const string SourceName = "Cache.Service";

    /// <summary>The maximum of links on one span: more say no more, and exporters cut them off anyway.</summary>
    public const int MaxLinks = 32;

    /// <summary>The activity source.</summary>
    public static readonly ActivitySource Source = new(SourceName);
}
