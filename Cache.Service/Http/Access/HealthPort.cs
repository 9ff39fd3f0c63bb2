using Cache.Service.Options;

namespace Cache.Service.Http.Access;

/// <summary>
/// A dedicated port for health and metrics (<c>health_port</c>), which an orchestrator can always reach, no matter how many
/// connections readers open.
/// </summary>
internal static class HealthPort
{
    /// <summary>Listens on the health port in addition to the configured addresses.</summary>
    public static void ListenForProbes(this WebApplicationBuilder builder, CacheOptions options)
    {
        if (options.HealthPort == 0)
        {
            return;
        }

        var configuration = builder.Configuration;
        if (configuration.GetSection("Kestrel:Endpoints").Exists())
        {
            builder.WebHost.ConfigureKestrel(kestrel => kestrel.ListenAnyIP(options.HealthPort));
            return;
        }

        // Kestrel ignores ports once addresses are set, so turn them into addresses.
        var addresses = configuration["urls"] is { Length: > 0 } urls ? urls : string.Join(';', [.. Ports("http"), .. Ports("https")]);
        builder.WebHost.UseUrls($"{addresses};http://*:{options.HealthPort}");

        IEnumerable<string> Ports(string scheme) =>
            (configuration[$"{scheme}_ports"] ?? "").Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            .Select(port => $"{scheme}://*:{port}");
    }

    /// <summary>Answers 404 to everything but probes on the health port.</summary>
    public static void UseHealthPort(this WebApplication app, CacheOptions options)
    {
        if (options.HealthPort == 0)
        {
            return;
        }

        app.Use((context, next) =>
        {
            if (context.Connection.LocalPort != options.HealthPort || Extensions.IsProbe(context.Request.Path))
            {
                return next(context);
            }

            context.Response.StatusCode = StatusCodes.Status404NotFound;
            return Task.CompletedTask;
        });
    }
}
