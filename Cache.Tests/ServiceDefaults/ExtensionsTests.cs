using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using OpenTelemetry;
using OpenTelemetry.Trace;

namespace Cache.Tests.ServiceDefaults;

public sealed class ExtensionsTests
{
    [Fact]
    public async Task Health_CoversEveryCheck_AliveOnlyTheLiveOnes_InProduction()
    {
        await using var app = await StartAsync(services =>
            services.AddHealthChecks().AddCheck("dependency", () => HealthCheckResult.Unhealthy()));
        using var client = Client(app);

        Assert.True(app.Environment.IsProduction());
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await client.GetAsync("/health")).StatusCode);
        Assert.Equal(HttpStatusCode.OK, (await client.GetAsync("/alive")).StatusCode);
    }

    [Fact]
    public async Task Traces_LeaveProbesOut()
    {
        using var spans = new Paths();
        await using var app = await StartAsync(services =>
            services.AddOpenTelemetry().WithTracing(tracing => tracing.SetSampler(new AlwaysOnSampler()).AddProcessor(spans)));
        app.MapGet("/metrics", () => "");
        app.MapGet("/metrics/event/latest", () => "");
        using var client = Client(app);

        foreach (var path in new[] { "/health", "/alive", "/healthz", "/readyz", "/metrics", "/metrics/event/latest" })
        {
            (await client.GetAsync(path)).Dispose();
        }

        await app.StopAsync();

        // Request spans have one source per process: the port tells them apart from other tests' requests.
        var ours = spans.Seen.Where(seen => seen.Port == client.BaseAddress!.Port).Select(seen => seen.Path);
        Assert.Equal(["/metrics/event/latest"], ours);
    }

    [Fact]
    public async Task Traces_WithoutAnExporter_AreNotCreated()
    {
        using var spans = new Paths();
        await using var app = await StartAsync(services =>
            services.AddOpenTelemetry().WithTracing(tracing => tracing.AddProcessor(spans)));
        app.MapGet("/metrics/event/latest", () => "");
        using var client = Client(app);

        (await client.GetAsync("/metrics/event/latest")).Dispose();
        await app.StopAsync();

        Assert.DoesNotContain(spans.Seen, seen => seen.Port == client.BaseAddress!.Port);
    }

    private static async Task<WebApplication> StartAsync(Action<IServiceCollection> configure)
    {
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions { EnvironmentName = "Production" });
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders();
        builder.AddServiceDefaults();
        configure(builder.Services);

        var app = builder.Build();
        app.MapDefaultEndpoints();
        await app.StartAsync();
        return app;
    }

    private static HttpClient Client(WebApplication app) => new() { BaseAddress = new Uri(app.Urls.Single()) };

    private sealed class Paths : BaseProcessor<Activity>
    {
        public ConcurrentBag<(int? Port, string? Path)> Seen { get; } = [];

        public override void OnEnd(Activity data)
        {
            if (data.Kind == ActivityKind.Server)
            {
                Seen.Add((data.GetTagItem("server.port") as int?, data.GetTagItem("url.path") as string));
            }
        }
    }
}
