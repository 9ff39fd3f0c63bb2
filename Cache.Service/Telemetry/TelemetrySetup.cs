using System.Diagnostics.Metrics;
using OpenTelemetry.Metrics;

namespace Cache.Service.Telemetry;

/// <summary>Registers metrics and traces; each stage registers its own instruments.</summary>
internal static class TelemetrySetup
{
    // Most answers come from memory, in less than a millisecond. The bounds from 5 ms on are those that ASP.NET itself proposes.
    private static readonly double[] RequestSeconds =
        [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

    public static void AddTelemetry(this WebApplicationBuilder builder) =>
        builder.Services.AddSingleton<ThisReplica>().AddOpenTelemetry()
            .WithMetrics(metrics => metrics.AddMeter(ServiceMeter.Name).AddPrometheusExporter()
                .AddView("http.server.request.duration", new ExplicitBucketHistogramConfiguration { Boundaries = RequestSeconds })
                .AddInstrumentation(services => ServiceMeter.Of(services.GetRequiredService<IMeterFactory>()).CreateObservableGauge(
                    "cache.build.info", () => new Measurement<int>(1, new KeyValuePair<string, object?>("version", BuildInfo.Version)),
                    description: "Always 1; the label identifies the build.")))
            .WithTracing(tracing => tracing.AddSource(Tracing.SourceName));
}
