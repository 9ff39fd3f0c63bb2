using Cache.Client;
using Cache.Tests.ServiceDefaults;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Http.Resilience;

namespace Cache.Tests.Client;

/// <summary>A program that reads a service by its client, as a team of its own would: the stack's defaults, and the client named <c>cache</c>.</summary>
internal sealed class ClientHost : IAsyncDisposable
{
    private readonly IHost _host;

    private ClientHost(IHost host, Requests requests) => (_host, Requests) = (host, requests);

    public CacheClient Client => _host.Services.GetRequiredService<CacheClient>();

    /// <summary>The requests that went out.</summary>
    public Requests Requests { get; }

    /// <summary>Starts a program.</summary>
    /// <param name="service">The service, as service discovery knows it.</param>
    /// <param name="configure">Changes the settings.</param>
    /// <param name="resilience">Changes all retries and time limits.</param>
    /// <param name="configuration">Further keys.</param>
    public static ClientHost Start(
        Uri service, Action<CacheClientSettings>? configure = null, Action<HttpStandardResilienceOptions>? resilience = null, params (string Key, string? Value)[] configuration)
    {
        var requests = new Requests();
        var builder = Hosts.Builder([("services:cache:http:0", service.ToString()), .. configuration]);
        builder.AddServiceDefaults();
        builder.AddCacheClient("cache", configure, http => http.AddHttpMessageHandler(() => requests.Handler()));
        builder.Services.ConfigureAll<HttpStandardResilienceOptions>(options =>
        {
            // Quick, as no test waits to see that it waits.
            options.Retry.Delay = TimeSpan.FromMilliseconds(50);
            resilience?.Invoke(options);
        });
        return new(builder.Build(), requests);
    }

    public Task<HealthReportEntry> CheckAsync() => _host.Services.CheckAsync("Cache.Client");

    public async ValueTask DisposeAsync()
    {
        if (_host is IAsyncDisposable host)
        {
            await host.DisposeAsync();
        }
    }
}

/// <summary>Counts what goes out to the service, retries included.</summary>
internal sealed class Requests
{
    private readonly System.Collections.Concurrent.ConcurrentQueue<(string Route, string? LastEventId)> _sent = [];

    public int Count(string route) => _sent.Count(sent => sent.Route == route);

    /// <summary>The ids after which streams were to resume; null for one that starts.</summary>
    public IEnumerable<string?> LastEventIds => _sent.Where(sent => sent.Route == "/stream").Select(sent => sent.LastEventId);

    public DelegatingHandler Handler() => new Counting(this);

    private sealed class Counting(Requests owner) : DelegatingHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            owner._sent.Enqueue((request.RequestUri!.AbsolutePath, request.Headers.TryGetValues("Last-Event-ID", out var ids) ? ids.Single() : null));
            return base.SendAsync(request, cancellationToken);
        }
    }
}
