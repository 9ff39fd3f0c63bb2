using System.Collections.Frozen;
using System.Diagnostics.Metrics;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Diagnostics.HealthChecks;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

namespace Microsoft.Extensions.Hosting;

/// <summary>What all processes of the stack share: telemetry, health checks, service discovery and resilient HTTP clients.</summary>
public static class Extensions
{
    /// <summary>The tag of the liveness checks (<c>/alive</c>).</summary>
    public const string LiveTag = "live";

    private static readonly FrozenSet<string> Probes = FrozenSet.Create(
        StringComparer.OrdinalIgnoreCase, "/health", "/alive", "/healthz", "/readyz", "/metrics");

    /// <summary>Adds telemetry, the <c>self</c> health check, service discovery and resilient HTTP clients.</summary>
    public static TBuilder AddServiceDefaults<TBuilder>(this TBuilder builder) where TBuilder : IHostApplicationBuilder
    {
        builder.ConfigureOpenTelemetry();
        builder.AddDefaultHealthChecks();
        builder.Services.AddServiceDiscovery();
        builder.Services.ConfigureHttpClientDefaults(http =>
        {
            http.AddStandardResilienceHandler();
            http.AddServiceDiscovery();
        });
        return builder;
    }

    /// <summary>
    /// Adds traces, metrics and logs, exported over OTLP if <c>OTEL_EXPORTER_OTLP_ENDPOINT</c> is set, as Aspire does.
    /// </summary>
    public static TBuilder ConfigureOpenTelemetry<TBuilder>(this TBuilder builder) where TBuilder : IHostApplicationBuilder
    {
        builder.Logging.AddOpenTelemetry(logging =>
        {
            logging.IncludeFormattedMessage = true;
            logging.IncludeScopes = true;
        });

        builder.Services.AddOpenTelemetry()
            .WithMetrics(metrics => metrics
                .AddAspNetCoreInstrumentation()
                .AddHttpClientInstrumentation()
                .AddRuntimeInstrumentation()
                .AddView(instrument => IsInternal(instrument) ? MetricStreamConfiguration.Drop : null))
            .WithTracing(tracing => tracing
                .AddSource(builder.Environment.ApplicationName)
                .AddAspNetCoreInstrumentation(options => options.Filter = context => !IsProbe(context.Request.Path))
                .AddHttpClientInstrumentation());

        // Telemetry sent over HTTP goes through the resilient clients, and a log line per attempt would be exported in turn.
        builder.Logging.AddFilter("Polly", LogLevel.Warning);

        if (builder.ExportsTelemetry())
        {
            builder.Services.AddOpenTelemetry()
                .WithTracing(tracing => tracing.AddProcessor<LoneRedisCommands>())
                .UseOtlpExporter();
        }
        else
        {
            // Without an exporter, one span per row would be created for nothing.
            builder.Services.AddOpenTelemetry().WithTracing(tracing => tracing.SetSampler(new AlwaysOffSampler()));
        }

        return builder;
    }

    /// <summary>Whether telemetry is exported: <c>OTEL_EXPORTER_OTLP_ENDPOINT</c> is set.</summary>
    public static bool ExportsTelemetry(this IHostApplicationBuilder builder) =>
        !string.IsNullOrWhiteSpace(builder.Configuration["OTEL_EXPORTER_OTLP_ENDPOINT"]);

    /// <summary>Adds the check <c>self</c>: a process that answers is alive.</summary>
    public static TBuilder AddDefaultHealthChecks<TBuilder>(this TBuilder builder) where TBuilder : IHostApplicationBuilder
    {
        builder.Services.AddHealthChecks().AddCheck("self", () => HealthCheckResult.Healthy(), [LiveTag]);
        return builder;
    }

    /// <summary>Maps <c>/health</c> (readiness: all checks) and <c>/alive</c> (liveness: checks tagged <c>live</c>).</summary>
    public static WebApplication MapDefaultEndpoints(this WebApplication app)
    {
        // Mapped in every environment: orchestrators probe them in production, and the response is a single word.
        app.MapHealthChecks("/health");
        app.MapHealthChecks("/alive", new HealthCheckOptions { Predicate = check => check.Tags.Contains(LiveTag) });
        return app;
    }

    /// <summary>Whether a path is a health check or the metrics endpoint. Compares whole paths, because the API is under <c>/metrics/</c>.</summary>
    public static bool IsProbe(PathString path) => Probes.Contains(path.Value ?? "");

    // ASP.NET internals, updated several times per request at a tenth of the cost of a read; http.server.request.duration and the
    // memory of the process show the same (docs/performance.md).
    private static bool IsInternal(Instrument instrument) => instrument.Meter.Name is "Microsoft.AspNetCore.MemoryPool" or "Microsoft.AspNetCore.Routing";
}
