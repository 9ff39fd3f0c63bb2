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

/// <summary>What every process of the stack has in common: telemetry, health, service discovery, resilient HTTP.</summary>
public static class Extensions
{
    /// <summary>The tag of the checks that tell whether the process lives (<c>/alive</c>).</summary>
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
    /// Traces, metrics and logs; sent by OTLP when <c>OTEL_EXPORTER_OTLP_ENDPOINT</c> is set, as Aspire sets it.
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

        // Telemetry sent over HTTP goes through the resilient clients, and a line for every attempt would itself be sent.
        builder.Logging.AddFilter("Polly", LogLevel.Warning);

        if (builder.ExportsTelemetry())
        {
            builder.Services.AddOpenTelemetry()
                .WithTracing(tracing => tracing.AddProcessor<LoneRedisCommands>())
                .UseOtlpExporter();
        }
        else
        {
            // Spans that go nowhere would still cost one a row.
            builder.Services.AddOpenTelemetry().WithTracing(tracing => tracing.SetSampler(new AlwaysOffSampler()));
        }

        return builder;
    }

    /// <summary>Whether telemetry goes somewhere: <c>OTEL_EXPORTER_OTLP_ENDPOINT</c> is set.</summary>
    public static bool ExportsTelemetry(this IHostApplicationBuilder builder) =>
        !string.IsNullOrWhiteSpace(builder.Configuration["OTEL_EXPORTER_OTLP_ENDPOINT"]);

    /// <summary>Adds the check <c>self</c>: a process that answers at all is alive.</summary>
    public static TBuilder AddDefaultHealthChecks<TBuilder>(this TBuilder builder) where TBuilder : IHostApplicationBuilder
    {
        builder.Services.AddHealthChecks().AddCheck("self", () => HealthCheckResult.Healthy(), [LiveTag]);
        return builder;
    }

    /// <summary>Maps <c>/health</c> (every check: ready) and <c>/alive</c> (the checks tagged live).</summary>
    public static WebApplication MapDefaultEndpoints(this WebApplication app)
    {
        // In every environment: orchestrators probe them in production, and they answer with one word only.
        app.MapHealthChecks("/health");
        app.MapHealthChecks("/alive", new HealthCheckOptions { Predicate = check => check.Tags.Contains(LiveTag) });
        return app;
    }

    /// <summary>Whether a path is that of a health check or of the metrics: whole paths, for the API itself lives under <c>/metrics/</c>.</summary>
    public static bool IsProbe(PathString path) => Probes.Contains(path.Value ?? "");

    // Of ASP.NET's insides: counted several times a request, which costs a read a tenth, for what http.server.request.duration
    // and the memory of the process tell as well (docs/performance.md).
    private static bool IsInternal(Instrument instrument) => instrument.Meter.Name is "Microsoft.AspNetCore.MemoryPool" or "Microsoft.AspNetCore.Routing";
}
