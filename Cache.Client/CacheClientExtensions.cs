using Cache.Client;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging;

namespace Microsoft.Extensions.Hosting;

/// <summary>Registers a <see cref="CacheClient"/>, as Aspire's client integrations are registered.</summary>
public static class CacheClientExtensions
{
    private const string Section = "Aspire:Cache:Client";

    // A service whose Redis is down says so within a second.
    private static readonly TimeSpan HealthTimeout = TimeSpan.FromSeconds(5);

    /// <summary>
    /// Registers a singleton <see cref="CacheClient"/>, with service discovery, retries, a health check and traces. Settings come from
    /// <c>Aspire:Cache:Client</c>, then <c>Aspire:Cache:Client:{connectionName}</c>, then <c>ConnectionStrings:{connectionName}</c>, then the
    /// delegate; the later wins. Without an address, it is <c>https+http://{connectionName}</c>.
    /// </summary>
    /// <param name="builder">The host to add to.</param>
    /// <param name="connectionName">The name of the service for service discovery, and under <c>ConnectionStrings</c>.</param>
    /// <param name="configureSettings">Has the last word on the settings.</param>
    /// <param name="configureHttp">Adds to the HTTP clients, such as a handler that fetches tokens: first that of reads, then that of streams.</param>
    /// <exception cref="InvalidOperationException">A setting cannot be used; the message names its key.</exception>
    public static void AddCacheClient(
        this IHostApplicationBuilder builder, string connectionName, Action<CacheClientSettings>? configureSettings = null, Action<IHttpClientBuilder>? configureHttp = null)
    {
        Add(builder, connectionName, configureSettings, configureHttp, keyed: false);
        builder.Services.AddSingleton(services => services.GetRequiredKeyedService<CacheClient>(ClientName(connectionName, keyed: false)));
    }

    /// <summary>Like <see cref="AddCacheClient"/>, but registers the client as a keyed service, for programs that read several services.</summary>
    /// <param name="builder">The host to add to.</param>
    /// <param name="name">The key of the client; also its connection name.</param>
    /// <param name="configureSettings">Has the last word on the settings.</param>
    /// <param name="configureHttp">Adds to the HTTP clients: first that of reads, then that of streams.</param>
    /// <exception cref="InvalidOperationException">A setting cannot be used; the message names its key.</exception>
    public static void AddKeyedCacheClient(
        this IHostApplicationBuilder builder, string name, Action<CacheClientSettings>? configureSettings = null, Action<IHttpClientBuilder>? configureHttp = null)
    {
        Add(builder, name, configureSettings, configureHttp, keyed: true);
        builder.Services.AddKeyedSingleton(name, (services, _) => services.GetRequiredKeyedService<CacheClient>(ClientName(name, keyed: true)));
    }

    private static void Add(
        IHostApplicationBuilder builder, string connectionName, Action<CacheClientSettings>? configureSettings, Action<IHttpClientBuilder>? configureHttp, bool keyed)
    {
        ArgumentNullException.ThrowIfNull(builder);
        ArgumentException.ThrowIfNullOrEmpty(connectionName);
        var settings = Read(builder.Configuration, connectionName, configureSettings);
        var name = ClientName(connectionName, keyed);
        var streams = $"{name}:stream";
        builder.Services.AddServiceDiscovery();

        // What the program's defaults add to every client would come on top of these handlers, and end streams (docs/decisions/0026).
#pragma warning disable EXTEXP0001 // For evaluation purposes only
        var read = AddHttp(name).RemoveAllResilienceHandlers();
        read.AddStandardResilienceHandler();
        configureHttp?.Invoke(read);
        var stream = AddHttp(streams).RemoveAllResilienceHandlers().ConfigureHttpClient(http => http.Timeout = Timeout.InfiniteTimeSpan);
        configureHttp?.Invoke(stream);
#pragma warning restore EXTEXP0001
        builder.Services.AddKeyedSingleton(name, (services, _) =>
        {
            var http = services.GetRequiredService<IHttpClientFactory>();
            return new CacheClient(
                http.CreateClient(name), http.CreateClient(streams), settings, services.GetService<TimeProvider>() ?? TimeProvider.System,
                services.GetRequiredService<ILogger<CacheClient>>());
        });

        if (!settings.DisableHealthChecks)
        {
            builder.Services.AddHealthChecks().Add(new HealthCheckRegistration(
                keyed ? $"Cache.Client_{connectionName}" : "Cache.Client",
                services => new CacheHealthCheck(services.GetRequiredService<IHttpClientFactory>().CreateClient(streams)),
                failureStatus: null, tags: null, timeout: HealthTimeout));
        }

        if (!settings.DisableTracing)
        {
            // The spans of .NET's own HTTP client, which also pass the trace on to the service.
            builder.Services.AddOpenTelemetry().WithTracing(tracing => tracing.AddSource("System.Net.Http"));
        }

        IHttpClientBuilder AddHttp(string client) => builder.Services
            .AddHttpClient(client, http =>
            {
                // With a slash at its end, so that a service behind a path prefix is found.
                http.BaseAddress = new UriBuilder(settings.Endpoint!) { Path = $"{settings.Endpoint!.AbsolutePath.TrimEnd('/')}/", Query = "" }.Uri;
                if (!string.IsNullOrEmpty(settings.ApiKey))
                {
                    http.DefaultRequestHeaders.Add("X-Api-Key", settings.ApiKey);
                }
            })
            .UseSocketsHttpHandler((handler, _) =>
            {
                // The clients live as long as the program, so connections must not. Keys do not follow redirects, which the service never sends.
                handler.PooledConnectionLifetime = TimeSpan.FromMinutes(2);
                handler.AllowAutoRedirect = false;
            })
            .SetHandlerLifetime(Timeout.InfiniteTimeSpan)
            .AddServiceDiscovery();
    }

    private static string ClientName(string connectionName, bool keyed) => $"Cache.Client{(keyed ? "_" : ":")}{connectionName}";

    private static CacheClientSettings Read(IConfiguration configuration, string connectionName, Action<CacheClientSettings>? configure)
    {
        var settings = new CacheClientSettings();
        var section = configuration.GetSection(Section);
        section.Bind(settings);
        section.GetSection(connectionName).Bind(settings);
        if (configuration.GetConnectionString(connectionName) is { Length: > 0 } connectionString)
        {
            Checked($"ConnectionStrings:{connectionName}", () => settings.Take(connectionString));
        }

        configure?.Invoke(settings);
        settings.Endpoint ??= new($"https+http://{connectionName}");
        Checked(Section, settings.Check);
        return settings;
    }

    private static void Checked(string key, Action check)
    {
        try
        {
            check();
        }
        catch (FormatException exception)
        {
            throw new InvalidOperationException($"{key} {exception.Message}", exception);
        }
    }
}
