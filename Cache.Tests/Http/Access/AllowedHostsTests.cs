using System.Net;
using Cache.Tests.EndToEnd;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Cache.Tests.Http.Access;

/// <summary>The host names that the service answers to, and what it logs at startup about open data.</summary>
public sealed class AllowedHostsTests
{
    private const string Open = "Data routes are open to anyone who can reach the service";

    [Theory]
    [InlineData("127.0.0.1", true)]
    [InlineData("127.0.0.1:8080", true)]
    [InlineData("localhost:1", true)]
    [InlineData("LOCALHOST", true)]
    [InlineData("[::1]:80", true)]
    [InlineData("cache.dev.localhost", true)]
    [InlineData("rebound.example", false)]
    [InlineData("rebound.example:8080", false)]
    [InlineData("localhost.example", false)]
    [InlineData("10.0.0.1", false)]
    public async Task Host_OnLoopback_HasToBeOneOfThisMachine(string host, bool answers)
    {
        await using var app = await StartAsync("--urls", "http://127.0.0.1:0");

        foreach (var route in new[] { "/", "/metrics", "/openapi/v1.json" })
        {
            Assert.Equal(answers ? HttpStatusCode.OK : HttpStatusCode.BadRequest, await StatusAsync(app, host, route));
        }
    }

    [Theory]
    [InlineData("http://0.0.0.0:0")]
    [InlineData("http://127.0.0.1:0;http://0.0.0.0:0")]
    public async Task Host_BeyondLoopback_CanBeAny(string urls)
    {
        await using var app = await StartAsync("--urls", urls);

        Assert.Equal(HttpStatusCode.OK, await StatusAsync(app, "cache.example"));
    }

    [Fact]
    public async Task Host_ThatIsConfigured_IsTheOnlyOneAnswered()
    {
        await using var app = await StartAsync("--urls", "http://127.0.0.1:0", "--AllowedHosts", "cache.example;*.internal");

        Assert.Equal(HttpStatusCode.OK, await StatusAsync(app, "cache.example"));
        Assert.Equal(HttpStatusCode.OK, await StatusAsync(app, "a.internal:8080"));
        Assert.Equal(HttpStatusCode.BadRequest, await StatusAsync(app, "localhost"));
    }

    [Fact]
    public async Task Host_CanBeAny_IfSoConfigured()
    {
        await using var app = await StartAsync("--urls", "http://127.0.0.1:0", "--AllowedHosts", "*");

        Assert.Equal(HttpStatusCode.OK, await StatusAsync(app, "rebound.example"));
    }

    [Theory]
    [InlineData("Information", "http://127.0.0.1:0")]
    [InlineData("Warning", "http://0.0.0.0:0")]
    public async Task OpenData_IsLoggedAtStart_Once(string level, string urls)
    {
        var log = new LogCapture();
        await using var app = await StartAsync(log, "--urls", urls);

        var line = Assert.Single(log.Lines, line => line.Contains(Open, StringComparison.Ordinal));
        Assert.Contains(level, line, StringComparison.Ordinal);
    }

    [Fact]
    public async Task ProtectedData_IsNotLoggedAsOpen()
    {
        var log = new LogCapture();
        await using var app = await StartAsync(log, "--urls", "http://0.0.0.0:0", "--api_keys", "0123456789abcdef");

        Assert.DoesNotContain(log.Lines, line => line.Contains(Open, StringComparison.Ordinal));
    }

    private static Task<WebApplication> StartAsync(params string[] settings) => StartAsync(new LogCapture(), settings);

    private static async Task<WebApplication> StartAsync(LogCapture log, params string[] settings)
    {
        var app = Service.Program.Build(
        [
            "--Logging:Console:LogLevel:Default", "None", "--ConnectionStrings:kafka", "127.0.0.1:9", "--ConnectionStrings:redis", "127.0.0.1:9", .. settings,
        ]);
        app.Services.GetRequiredService<ILoggerFactory>().AddProvider(log);
        await app.StartAsync(TestContext.Current.CancellationToken);
        return app;
    }

    private static async Task<HttpStatusCode> StatusAsync(WebApplication app, string host, string route = "/")
    {
        using var http = new HttpClient { BaseAddress = new($"http://127.0.0.1:{new Uri(app.Urls.Last()).Port}") };
        using var request = new HttpRequestMessage(HttpMethod.Get, route) { Headers = { Host = host } };
        using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, TestContext.Current.CancellationToken);
        return answer.StatusCode;
    }
}
