using System.Diagnostics.Metrics;
using OpenTelemetry.Metrics;

namespace Cache.Service.Telemetry;

/// <summary>Registers metrics and traces; each stage registers its own instruments.</summary>
internal static class TelemetrySetup
{
    public static void AddTelemetry(this WebApplicationBuilder builder) =>
        builder.Services.AddOpenTelemetry()
            .WithMetrics(metrics => metrics.AddMeter(ServiceMeter.Name).AddPrometheusExporter()
                .AddInstrumentation(services => ServiceMeter.Of(services.GetRequiredService<IMeterFactory>()).CreateObservableGauge(
                    "cache.build.info", () => new Measurement<int>(1, new KeyValuePair<string, object?>("version", BuildInfo.Version)),
                    description: "Always 1; the label identifies the build.")))
            .WithTracing(tracing => tracing.AddSource(Tracing.SourceName));
}
