using Cache.Service.Http.Access;
using Cache.Service.Options;
using Scalar.AspNetCore;

namespace Cache.Service.Http.Query;

/// <summary>Registers the read routes and health checks.</summary>
internal static class QuerySetup
{
    public static void AddQuery(this WebApplicationBuilder builder, CacheOptions options)
    {
        builder.Services.AddOpenApi(api => ApiDescription.Configure(api, options));
        builder.Services.AddSingleton<WindowReader>();
        builder.Services.AddSingleton<ResponseCache>();
        builder.Services.AddSingleton<WindowAnswers>();
        builder.Services.AddSingleton<SessionReader>();
        builder.Services.AddSingleton<PipelineCounts>();
        builder.Services.AddSingleton<PipelineReader>();
        builder.Services.AddSingleton<Readiness>();
        builder.Services.AddSingleton<ReadinessMonitor>();
        builder.Services.AddHostedService(services => services.GetRequiredService<ReadinessMonitor>());
        builder.Services.AddSingleton<FreshnessMonitor>();
        builder.Services.AddHostedService(services => services.GetRequiredService<FreshnessMonitor>());
        builder.Services.AddHealthChecks()
            .AddCheck<Liveness>("consume loop", tags: [Extensions.LiveTag])
            .AddCheck<Readiness>("ready");
    }

    /// <summary>Maps the data routes, which require a key if keys are configured.</summary>
    public static void MapQuery(this IEndpointRouteBuilder data)
    {
        data.MapMetrics();
        data.MapTypes();
        data.MapSessions();
        data.MapPipeline();
        data.MapDeadLetters();
    }

    /// <summary>Maps the routes that are open to all: health, metrics and the API description.</summary>
    public static void MapOpen(this WebApplication app, CacheOptions options)
    {
        app.MapDefaultEndpoints();
        app.MapPrometheusScrapingEndpoint("/metrics");
        var open = app.MapGroup("");
        open.AnswerHead();
        open.MapHealth();
        open.MapOpenApi().LimitRate(options);
        open.MapScalarApiReference("/scalar", page =>
        {
            // Self-contained: the page fetches nothing from other hosts, and reports nothing to them.
            page.Title = "Cache";
            page.Telemetry = false;
            page.DefaultFonts = false;
            page.ShowDeveloperTools = DeveloperToolsVisibility.Never;
            page.DisableAgent().DisableMcp();
            page.WithNonce();
        });
    }
}
