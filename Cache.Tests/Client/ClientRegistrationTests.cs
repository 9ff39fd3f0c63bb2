using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Text;
using Cache.Client;
using Cache.Tests.EndToEnd;
using Cache.Tests.ServiceDefaults;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Http.Resilience;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using OpenTelemetry;
using OpenTelemetry.Trace;

namespace Cache.Tests.Client;

/// <summary>How a client is registered and configured.</summary>
public sealed class ClientRegistrationTests
{
    [Theory]
    [InlineData("http://cache.internal/types", "")]
    [InlineData("http://a:1/types", "", "ConnectionStrings:cache", "http://a:1")]
    [InlineData("http://a/b/types", "", "ConnectionStrings:cache", "http://a/b")]
    [InlineData("http://a/b/types", "k=;1", "ConnectionStrings:cache", "Endpoint=http://a/b/;ApiKey=\"k=;1\"")]
    [InlineData("http://cache.internal/types", "k", "ConnectionStrings:cache", "ApiKey=k")]
    [InlineData("http://a/types", "k", "Aspire:Cache:Client:Endpoint", "http://a", "Aspire:Cache:Client:ApiKey", "k")]
    [InlineData("http://a/types", "b", "Aspire:Cache:Client:Endpoint", "http://a", "Aspire:Cache:Client:ApiKey", "a", "Aspire:Cache:Client:cache:ApiKey", "b")]
    [InlineData("http://b/types", "c", "Aspire:Cache:Client:cache:Endpoint", "http://a", "Aspire:Cache:Client:cache:ApiKey", "b", "ConnectionStrings:cache", "Endpoint=http://b;ApiKey=c")]
    public async Task AddressAndKey_ComeFromTheConfiguration(string address, string key, params string[] configuration)
    {
        var builder = Hosts.Builder([("services:cache:http:0", "http://cache.internal"), .. configuration.Chunk(2).Select(pair => (pair[0], (string?)pair[1]))]);
        var (reads, streams) = (new Answering(HttpStatusCode.OK), new Answering(HttpStatusCode.NotFound));
        var primary = new Queue<Answering>([reads, streams]);
        builder.AddCacheClient("cache", configureHttp: http => http.ConfigurePrimaryHttpMessageHandler(primary.Dequeue));
        using var host = builder.Build();
        var client = host.Services.GetRequiredService<CacheClient>();

        Assert.Empty(await client.GetTypesAsync());
        await Assert.ThrowsAsync<CacheException>(async () => await client.StreamAsync().FirstAsync());

        Assert.Equal([(address, key)], reads.Requests);
        Assert.Equal([(address.Replace("/types", "/stream"), key)], streams.Requests);
    }

    [Fact]
    public async Task Delegate_HasTheLastWord()
    {
        var builder = Hosts.Builder(("ConnectionStrings:cache", "Endpoint=http://a;ApiKey=a"));
        var answering = new Answering(HttpStatusCode.OK);
        builder.AddCacheClient("cache", settings => settings.ApiKey += "b", http => http.ConfigurePrimaryHttpMessageHandler(() => answering));
        using var host = builder.Build();

        await host.Services.GetRequiredService<CacheClient>().GetTypesAsync();

        Assert.Equal([("http://a/types", "ab")], answering.Requests);
    }

    [Theory]
    [InlineData("ConnectionStrings:cache", "secret", "ConnectionStrings:cache cannot be read")]
    [InlineData("ConnectionStrings:cache", "cache:8080;ApiKey=secret", "ConnectionStrings:cache has a part that is neither Endpoint nor ApiKey")]
    [InlineData("ConnectionStrings:cache", "Endpoint=secret", "ConnectionStrings:cache has an Endpoint that is no address")]
    [InlineData("ConnectionStrings:cache", "Endpoint=http://a;Password=secret", "ConnectionStrings:cache has a part that is neither Endpoint nor ApiKey")]
    [InlineData("Aspire:Cache:Client:StreamTimeout", "00:00:00", "Aspire:Cache:Client StreamTimeout is 00:00:00; it must be more than 0")]
    [InlineData("Aspire:Cache:Client:cache:MinReconnectDelay", "00:01:00", "Aspire:Cache:Client MinReconnectDelay is 00:01:00, which is more than MaxReconnectDelay")]
    public void Setting_ThatCannotBeUsed_IsAnErrorAtOnce_WithItsKey_AndWithoutItsSecret(string key, string value, string error)
    {
        var refused = Assert.Throws<InvalidOperationException>(() => Hosts.Builder((key, value)).AddCacheClient("cache"));

        Assert.StartsWith(error, refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", $"{refused}", StringComparison.Ordinal);
    }

    [Fact]
    public async Task KeyedClients_AreSeparate_AndEachHasItsHealthCheck()
    {
        var builder = Hosts.Builder(("ConnectionStrings:eu", "Endpoint=http://eu;ApiKey=e"), ("ConnectionStrings:us", "http://us"));
        var requests = new Answering(HttpStatusCode.OK);
        builder.AddKeyedCacheClient("eu", configureHttp: http => http.ConfigurePrimaryHttpMessageHandler(() => requests));
        builder.AddKeyedCacheClient("us", settings => settings.DisableHealthChecks = true, http => http.ConfigurePrimaryHttpMessageHandler(() => requests));
        using var host = builder.Build();

        Assert.Null(host.Services.GetService<CacheClient>());
        var eu = host.Services.GetRequiredKeyedService<CacheClient>("eu");
        Assert.Same(eu, host.Services.GetRequiredKeyedService<CacheClient>("eu"));
        await eu.GetTypesAsync();
        await host.Services.GetRequiredKeyedService<CacheClient>("us").GetTypesAsync();
        Assert.Equal([("http://eu/types", "e"), ("http://us/types", "")], requests.Requests);
        Assert.Equal(["Cache.Client_eu"], host.Services.GetRequiredService<IOptions<HealthCheckServiceOptions>>().Value.Registrations.Select(check => check.Name));
    }

    [Fact]
    public async Task Retries_AreConfiguredUnderTheNameInTheReadme()
    {
        const string Name = "Cache.Client:cache-standard";
        Assert.Contains($"Configure<HttpStandardResilienceOptions>(\"{Name}\"", await File.ReadAllTextAsync(Repository.File("Cache.Client", "README.md")), StringComparison.Ordinal);
        var builder = Hosts.Builder(("ConnectionStrings:cache", "http://a"));
        builder.Services.Configure<HttpStandardResilienceOptions>(Name, options => (options.Retry.MaxRetryAttempts, options.Retry.Delay) = (1, TimeSpan.Zero));
        var answering = new Answering(HttpStatusCode.BadGateway);
        builder.AddCacheClient("cache", configureHttp: http => http.ConfigurePrimaryHttpMessageHandler(() => answering));
        using var host = builder.Build();

        var failure = await Assert.ThrowsAsync<CacheException>(() => host.Services.GetRequiredService<CacheClient>().GetTypesAsync());

        Assert.Equal((HttpStatusCode.BadGateway, "Bad Gateway", null), (failure.Status, failure.Title, failure.Detail));
        Assert.Equal(2, answering.Requests.Count);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Traces_AreOn_UnlessDisabled(bool disabled)
    {
        await using var stack = await InProcessStack.StartAsync();
        var spans = new Spans();
        var builder = Hosts.Builder(("ConnectionStrings:cache", stack.Http.BaseAddress!.ToString()));
        builder.AddCacheClient("cache", settings => settings.DisableTracing = disabled);
        builder.Services.AddOpenTelemetry().WithTracing(tracing => tracing.AddProcessor(spans));
        using var host = builder.Build();
        await host.StartAsync();

        await host.Services.GetRequiredService<CacheClient>().GetTypesAsync();

        Assert.Equal(disabled ? [] : ["GET"], spans.Ended.Where(span => $"{span.GetTagItem("url.full")}".StartsWith($"{stack.Http.BaseAddress}types", StringComparison.Ordinal)).Select(span => span.DisplayName));
        await host.StopAsync();
    }

    /// <summary>The service sends none, so one comes from somebody else, who is not to get the key.</summary>
    [Fact]
    public async Task Redirect_IsNotFollowed()
    {
        Requirement.Started();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        await using var service = builder.Build();
        service.Urls.Add("http://127.0.0.1:0");
        var followed = 0;
        service.MapGet("/types", () => Results.Redirect("/elsewhere"));
        service.MapGet("/elsewhere", () => Interlocked.Increment(ref followed));
        await service.StartAsync();
        await using var host = ClientHost.Start(new(service.Urls.First()));

        Assert.Equal(HttpStatusCode.Redirect, (await Assert.ThrowsAsync<CacheException>(() => host.Client.GetTypesAsync())).Status);
        Assert.Equal(0, followed);
    }

    [Fact]
    public async Task Client_CanBeCreatedWithoutAHost()
    {
        var answering = new Answering(HttpStatusCode.OK);
        using var http = new HttpClient(answering) { BaseAddress = new("http://a") };

        Assert.Empty(await new CacheClient(http).GetTypesAsync());

        Assert.Equal([("http://a/types", "")], answering.Requests);
        using var without = new HttpClient();
        Assert.Throws<ArgumentException>(() => new CacheClient(without));
    }

    [Fact]
    public async Task Answer_ThatIsNotTheServices_IsTheSameException()
    {
        using var http = new HttpClient(new Answering(HttpStatusCode.OK, "<html>")) { BaseAddress = new("http://a") };
        var client = new CacheClient(http);

        Assert.Contains("http://a/types", (await Assert.ThrowsAsync<CacheException>(() => client.GetTypesAsync())).Title, StringComparison.Ordinal);
        Assert.Null((await Assert.ThrowsAsync<CacheException>(() => client.GetLatestAsync("event"))).Status);
        Assert.Equal("Not a stream of updates", (await Assert.ThrowsAsync<CacheException>(async () => await client.StreamAsync().FirstAsync())).Title);
    }

    /// <summary>In place of the network: remembers addresses and keys, and answers.</summary>
    private sealed class Answering(HttpStatusCode status, string body = """{"types":[]}""") : HttpMessageHandler
    {
        public ConcurrentQueue<(string Address, string Key)> Requests { get; } = [];

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            Requests.Enqueue(($"{request.RequestUri}", request.Headers.TryGetValues("X-Api-Key", out var keys) ? keys.Single() : ""));
            return Task.FromResult(new HttpResponseMessage(status) { Content = new StringContent(body, Encoding.UTF8, "application/json") });
        }
    }

    private sealed class Spans : BaseProcessor<Activity>
    {
        public ConcurrentQueue<Activity> Ended { get; } = [];

        public override void OnEnd(Activity data) => Ended.Enqueue(data);
    }
}
