using OpenTelemetry.Metrics;

namespace Cache.Service.Telemetry;

/// <summary>The registration of metrics and traces; stages register their own instruments.</summary>
internal static class TelemetrySetup
{
    public static void AddTelemetry(this WebApplicationBuilder builder) =>
        builder.Services.AddOpenTelemetry()
            .WithMetrics(metrics => metrics.AddMeter(ServiceMeter.Name).AddPrometheusExporter())
            .WithTracing(tracing => tracing.AddSource(Tracing.SourceName));
}
