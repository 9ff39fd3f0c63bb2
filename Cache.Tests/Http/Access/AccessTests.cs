using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Cache.Tests.EndToEnd;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Cache.Tests.Http.Access;

public sealed class AccessTests
{
    private const string Old = "old-0123456789abcdef";
    private const string New = "new-0123456789abcdef";

    private static readonly string[] Data =
    [
        "/metrics/overview", "/metrics/event/latest", "/metrics/performance/latest", "/metrics/event/windows", "/metrics/performance/windows", "/sessions/active", "/pipeline", "/fleet", "/dead-letters", "/stream", "/stream?state=true",
    ];

    private static readonly string[] Open = ["/healthz", "/readyz", "/health", "/alive", "/metrics", "/openapi/v1.json", "/scalar/", "/"];

    [Fact]
    public async Task DataRoutes_WithoutKeysConfigured_AreOpen()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();

        foreach (var route in Data.Concat(Open))
        {
            Assert.Equal(HttpStatusCode.OK, await StatusAsync(stack, route));
        }
    }

    [Fact]
    public async Task DataRoutes_WithKeysConfigured_RequireOne_AndHealthStaysOpen()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("api_keys", $"{Old},{New}"));
        await stack.ReadyAsync();

        foreach (var route in Data)
        {
            Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, route));
            Assert.Equal(HttpStatusCode.OK, await StatusAsync(stack, route, ("X-Api-Key", Old)));
            Assert.Equal(HttpStatusCode.OK, await StatusAsync(stack, route, ("X-Api-Key", New)));
            foreach (var wrong in new[] { "", "x", Old[..^1], Old + "x", Old.ToUpperInvariant(), $"{Old},{New}" })
            {
                Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, route, ("X-Api-Key", wrong)));
            }

            Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, route, ("Authorization", $"Bearer {Old}")));
        }

        foreach (var route in Open)
        {
            Assert.Equal(HttpStatusCode.OK, await StatusAsync(stack, route));
        }

        // HttpClient would merge two headers into one line.
        using var client = new System.Net.Sockets.TcpClient();
        await client.ConnectAsync("127.0.0.1", stack.Http.BaseAddress!.Port, TestContext.Current.CancellationToken);
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(
            $"GET /metrics/overview HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX-Api-Key: {Old}\r\nX-Api-Key: {New}\r\n\r\n"));
        Assert.StartsWith("HTTP/1.1 401", await ReadToEndAsync(client.GetStream()), StringComparison.Ordinal);

        using var refused = await stack.Http.GetAsync("/metrics/overview");
        Assert.Equal("application/problem+json", refused.Content.Headers.ContentType?.MediaType);
        Assert.Equal("ApiKey", refused.Headers.WwwAuthenticate.ToString());
        using var head = await stack.Http.SendAsync(new(HttpMethod.Head, "/metrics/overview"));
        Assert.Equal(HttpStatusCode.Unauthorized, head.StatusCode);
    }

    [Fact]
    public async Task Key_InTheQuery_OpensOnlyTheStream()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("api_keys", Old));
        await stack.ReadyAsync();

        Assert.Equal(HttpStatusCode.OK, await StatusAsync(stack, $"/stream?api_key={Old}"));
        Assert.Equal(HttpStatusCode.OK, await StatusAsync(stack, $"/stream?types=event&api_key={Old}&dimensions=a%2Cb"));
        Assert.Equal(HttpStatusCode.BadRequest, await StatusAsync(stack, $"/stream?types=nothing&api_key={Old}"));
        Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, $"/stream?api_key={New}"));
        Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, $"/stream?api_key={Old}", ("X-Api-Key", New)));
        Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, $"/metrics/overview?api_key={Old}"));
    }

    [Fact]
    public async Task Key_InTheQuery_IsRemovedBeforeAspNetSeesIt()
    {
        await using var app = await StartWithAsync(
            "/seen", context => context.Features.GetRequiredFeature<IHttpRequestFeature>() is var seen ? $"{seen.RawTarget} {seen.QueryString}" : "", "--api_keys", Old);
        using var http = new HttpClient { BaseAddress = new(app.Urls.First()) };

        Assert.Equal("/seen?a=1&b=2 ?a=1&b=2", await http.GetStringAsync($"/seen?a=1&API_KEY={Old}&b=2"));
    }

    [Fact]
    public async Task DataRoutes_WithTokensConfigured_AcceptThoseFromTheIssuerForThisAudience()
    {
        var secret = RandomNumberGenerator.GetBytes(32);
        await using var stack = await InProcessStack.StartAsync(
            null,
            ("api_keys", Old),
            ("Authentication:Schemes:Bearer:ValidAudiences:0", "cache"),
            ("Authentication:Schemes:Bearer:ValidIssuer", "tests"),
            ("Authentication:Schemes:Bearer:SigningKeys:0:Issuer", "tests"),
            ("Authentication:Schemes:Bearer:SigningKeys:0:Value", Convert.ToBase64String(secret)));
        await stack.ReadyAsync();

        foreach (var route in Data)
        {
            Assert.Equal(HttpStatusCode.OK, await StatusAsync(stack, route, Bearer(Token(secret))));
            Assert.Equal(HttpStatusCode.OK, await StatusAsync(stack, route, ("X-Api-Key", Old)));
            Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, route));
            Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, route, Bearer(Token(RandomNumberGenerator.GetBytes(32)))));
            Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, route, Bearer(Token(secret, audience: "others"))));
            Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, route, Bearer(Token(secret, issuer: "others"))));
            Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, route, Bearer(Token(secret, lifetime: TimeSpan.FromHours(-1)))));
            Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, route, Bearer("nonsense")));
            Assert.Equal(HttpStatusCode.Unauthorized, await StatusAsync(stack, route, Bearer(Unsigned(Token(secret)))));
        }

        // Why a token is invalid is not disclosed.
        using var expired = await SendAsync(stack, "/metrics/overview", Bearer(Token(secret, lifetime: TimeSpan.FromHours(-1))));
        Assert.Equal("Bearer", expired.Headers.WwwAuthenticate.ToString());
    }

    [Fact]
    public async Task Rate_AboveItsLimit_IsRefused_PerClient_AndNeverForHealth()
    {
        await using var stack = await InProcessStack.StartAsync(
            null, ("api_keys", $"{Old},{New}"), ("rate_limit_per_second", "1"), ("rate_limit_burst", "5"));
        await stack.ReadyAsync();

        var statuses = new List<HttpStatusCode>();
        var started = Stopwatch.GetTimestamp();
        while (statuses.Count < 20 || Stopwatch.GetElapsedTime(started) < TimeSpan.FromSeconds(3))
        {
            statuses.Add(await StatusAsync(stack, "/metrics/event/latest", ("X-Api-Key", Old)));
        }

        Assert.All(statuses.Take(5), status => Assert.Equal(HttpStatusCode.OK, status));
        Assert.Contains(HttpStatusCode.TooManyRequests, statuses);
        Assert.InRange(statuses.Count(status => status == HttpStatusCode.OK), 6, 5 + (int)Stopwatch.GetElapsedTime(started).TotalSeconds + 1);
        using var refused = await Eventually429Async(stack);
        Assert.Equal("application/problem+json", refused.Content.Headers.ContentType?.MediaType);
        Assert.InRange(refused.Headers.RetryAfter!.Delta!.Value.TotalSeconds, 1, 5);

        // Another client, guesses without a key, and the probes.
        Assert.Equal(HttpStatusCode.OK, await StatusAsync(stack, "/metrics/event/latest", ("X-Api-Key", New)));
        var guesses = new List<HttpStatusCode>();
        for (var request = 0; request < 20; request++)
        {
            guesses.Add(await StatusAsync(stack, "/metrics/event/latest", ("X-Api-Key", $"guess-{request:D20}")));
            Assert.Equal(HttpStatusCode.OK, await StatusAsync(stack, "/readyz"));
        }

        Assert.Contains(HttpStatusCode.Unauthorized, guesses);
        Assert.Contains(HttpStatusCode.TooManyRequests, guesses);

        static async Task<HttpResponseMessage> Eventually429Async(InProcessStack stack)
        {
            while (true)
            {
                var answer = await SendAsync(stack, "/metrics/event/latest", ("X-Api-Key", Old));
                if (answer.StatusCode == HttpStatusCode.TooManyRequests)
                {
                    return answer;
                }

                answer.Dispose();
            }
        }
    }

    [Fact]
    public async Task Cors_LetsTheConfiguredOriginsRead_AndNobodyElse()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("cors_origins", "https://boards.example"), ("api_keys", Old));

        using var preflight = new HttpRequestMessage(HttpMethod.Options, "/metrics/overview");
        preflight.Headers.Add("Origin", "https://boards.example");
        preflight.Headers.Add("Access-Control-Request-Method", "GET");
        preflight.Headers.Add("Access-Control-Request-Headers", "x-api-key,if-none-match");
        using var allowed = await stack.Http.SendAsync(preflight);
        Assert.Equal(HttpStatusCode.NoContent, allowed.StatusCode);
        Assert.Equal("https://boards.example", Assert.Single(allowed.Headers.GetValues("Access-Control-Allow-Origin")));
        Assert.Equal("GET,HEAD", Assert.Single(allowed.Headers.GetValues("Access-Control-Allow-Methods")));
        Assert.Equal(
            ["Accept", "Authorization", "If-None-Match", "Last-Event-ID", "X-Api-Key"],
            Assert.Single(allowed.Headers.GetValues("Access-Control-Allow-Headers")).Split(',').Order());

        using var read = await SendAsync(stack, "/metrics/overview", ("Origin", "https://boards.example"), ("X-Api-Key", Old));
        Assert.Equal("https://boards.example", Assert.Single(read.Headers.GetValues("Access-Control-Allow-Origin")));
        Assert.Equal(["ETag", "Retry-After"], read.Headers.GetValues("Access-Control-Expose-Headers").Single().Split(',').Order());
        Assert.False(read.Headers.Contains("Access-Control-Allow-Credentials"));

        using var stranger = await SendAsync(stack, "/metrics/overview", ("Origin", "https://evil.example"), ("X-Api-Key", Old));
        Assert.False(stranger.Headers.Contains("Access-Control-Allow-Origin"));
    }

    [Fact]
    public async Task Cors_WithAStar_LetsEveryOriginRead()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("cors_origins", "*"));

        using var read = await SendAsync(stack, "/metrics/overview", ("Origin", "https://anybody.example"));

        Assert.Equal("*", Assert.Single(read.Headers.GetValues("Access-Control-Allow-Origin")));
        Assert.False(read.Headers.Contains("Access-Control-Allow-Credentials"));
    }

    [Fact]
    public async Task Cors_ByDefault_IsOff()
    {
        await using var stack = await InProcessStack.StartAsync();

        using var answer = await SendAsync(stack, "/metrics/overview", ("Origin", "https://boards.example"));

        Assert.DoesNotContain(answer.Headers, header => header.Key.StartsWith("Access-Control", StringComparison.OrdinalIgnoreCase));
    }

    [Fact]
    public async Task EveryAnswer_CarriesTheSecurityHeaders_AndDoesNotNameTheServer()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("api_keys", Old));

        foreach (var route in Data.Concat(Open).Append("/nothing/there").Append("/metrics/event/windows?limit=x"))
        {
            using var answer = await SendAsync(stack, route, ("X-Api-Key", route == "/metrics/overview" ? "none" : Old));
            Assert.Equal("nosniff", Header("X-Content-Type-Options"));
            Assert.Equal("DENY", Header("X-Frame-Options"));
            Assert.Equal("no-referrer", Header("Referrer-Policy"));
            Assert.Equal("same-origin", Header("Cross-Origin-Resource-Policy"));
            Assert.False(answer.Headers.Contains("Server"));

            // Apart from the service itself and inline images, only Scalar's page may load anything.
            var directives = Header("Content-Security-Policy").Split("; ").Select(directive => directive.Split(' ', 2)).ToDictionary(pair => pair[0], pair => pair[1]);
            Assert.All(["default-src", "base-uri", "form-action", "frame-ancestors"], name => Assert.Equal("'none'", directives[name]));
            Assert.All(
                directives.Where(directive => route != "/scalar/"),
                directive => Assert.True(directive.Value is "'none'" or "'self'" || directive is { Key: "img-src", Value: "'self' data:" }, directive.ToString()));

            string Header(string name) => Assert.Single(answer.Headers.GetValues(name));
        }

        // Only Scalar's page has an inline script, which the policy allows by its nonce.
        using var scalar = await stack.Http.GetAsync("/scalar/");
        var policy = Assert.Single(scalar.Headers.GetValues("Content-Security-Policy"));
        var nonce = policy.Split("'nonce-")[1].Split('\'')[0];
        Assert.Contains($"script-src 'self' 'nonce-{nonce}';", policy);
        Assert.Contains("connect-src 'self';", policy);
        Assert.Contains($"nonce=\"{nonce}\"", await scalar.Content.ReadAsStringAsync());
        using var again = await stack.Http.GetAsync("/scalar/");
        Assert.DoesNotContain(nonce, Assert.Single(again.Headers.GetValues("Content-Security-Policy")));
    }

    [Theory]
    [InlineData("Production")]
    [InlineData("Development")]
    public async Task UnexpectedException_IsAProblem_WithoutItsDetails(string environment)
    {
        const string Secret = "password=S3cret";
        await using var app = await StartWithAsync("/fails", _ => throw new InvalidOperationException(Secret), "--environment", environment);
        using var http = new HttpClient { BaseAddress = new(app.Urls.First()) };

        using var answer = await http.GetAsync("/fails");

        Assert.Equal((HttpStatusCode.InternalServerError, "application/problem+json"), (answer.StatusCode, answer.Content.Headers.ContentType?.MediaType));
        var body = await answer.Content.ReadAsStringAsync();
        Assert.Equal(500, JsonElement.Parse(body).GetProperty("status").GetInt32());
        Assert.All([Secret, nameof(InvalidOperationException), "   at ", nameof(AccessTests)], word => Assert.DoesNotContain(word, answer.Headers + body));
        Assert.Equal("nosniff", Assert.Single(answer.Headers.GetValues("X-Content-Type-Options")));
        Assert.Contains("default-src 'none'", Assert.Single(answer.Headers.GetValues("Content-Security-Policy")));
    }

    [Fact]
    public async Task RateLimit_AppliesToTheDescription_AndNotToProbesAndFiles()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("rate_limit_per_second", "1"), ("rate_limit_burst", "3"));
        await stack.ReadyAsync();

        var statuses = new List<HttpStatusCode>();
        for (var request = 0; request < 12; request++)
        {
            statuses.Add(await StatusAsync(stack, "/openapi/v1.json"));
            foreach (var route in Open.Except(["/openapi/v1.json"]))
            {
                Assert.Equal(HttpStatusCode.OK, await StatusAsync(stack, route));
            }
        }

        Assert.Equal(HttpStatusCode.OK, statuses[0]);
        Assert.Contains(HttpStatusCode.TooManyRequests, statuses);
    }

    [Fact]
    public async Task Requests_ThatAreTooLarge_AreRefused()
    {
        await using var stack = await InProcessStack.StartAsync();

        using var path = await stack.Http.GetAsync("/metrics/event/latest?fields=" + new string('x', 10_000));
        Assert.Equal(HttpStatusCode.RequestUriTooLong, path.StatusCode);
        using var header = await SendAsync(stack, "/metrics/event/latest", ("X-Large", new string('x', 40_000)));
        Assert.Equal(HttpStatusCode.RequestHeaderFieldsTooLarge, header.StatusCode);
        using var headers = await SendAsync(stack, "/metrics/event/latest", [.. Enumerable.Range(0, 70).Select(number => ($"X-{number}", "x"))]);
        Assert.Equal(HttpStatusCode.RequestHeaderFieldsTooLarge, headers.StatusCode);
        using var few = await SendAsync(stack, "/metrics/event/latest", [.. Enumerable.Range(0, 50).Select(number => ($"X-{number}", "x"))]);
        Assert.Equal(HttpStatusCode.OK, few.StatusCode);
    }

    [Theory]
    [InlineData(16 * 1024, true)]
    [InlineData((16 * 1024) + 1, false)]
    public async Task Body_ThatIsTooLarge_ClosesTheConnection(int length, bool staysOpen)
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        using var client = new System.Net.Sockets.TcpClient();
        await client.ConnectAsync("127.0.0.1", stack.Http.BaseAddress!.Port, TestContext.Current.CancellationToken);
        var stream = client.GetStream();

        await stream.WriteAsync(Encoding.ASCII.GetBytes($"GET /alive HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{new string('x', length)}"));
        await stream.WriteAsync("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"u8.ToArray());

        var answers = await ReadToEndAsync(stream);
        Assert.Equal(staysOpen, answers.Contains("\"redis\":true", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Headers_ThatNeverEnd_CloseTheConnection()
    {
        await using var stack = await InProcessStack.StartAsync();
        using var client = new System.Net.Sockets.TcpClient();
        await client.ConnectAsync("127.0.0.1", stack.Http.BaseAddress!.Port, TestContext.Current.CancellationToken);
        var stream = client.GetStream();
        var started = Stopwatch.GetTimestamp();

        await stream.WriteAsync("GET /alive HTTP/1.1\r\nHost: localhost\r\nX-"u8.ToArray());

        Assert.StartsWith("HTTP/1.1 408", await ReadToEndAsync(stream), StringComparison.Ordinal);
        Assert.InRange(Stopwatch.GetElapsedTime(started), TimeSpan.FromSeconds(5), TestTimeout.Full);
    }

    [Fact]
    public async Task Connections_AboveTheMaximum_AreClosed()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("http_max_connections", "2"));
        var address = new DnsEndPoint("127.0.0.1", stack.Http.BaseAddress!.Port);
        using var first = new System.Net.Sockets.TcpClient();
        using var second = new System.Net.Sockets.TcpClient();
        await first.ConnectAsync(address.Host, address.Port);
        await second.ConnectAsync(address.Host, address.Port);
        await Task.WhenAll(AskAsync(first), AskAsync(second));

        using var third = new System.Net.Sockets.TcpClient();
        await third.ConnectAsync(address.Host, address.Port);
        Assert.Equal(0, await AskAsync(third));

        static async Task<int> AskAsync(System.Net.Sockets.TcpClient client)
        {
            try
            {
                var stream = client.GetStream();
                await stream.WriteAsync("GET /alive HTTP/1.1\r\nHost: localhost\r\n\r\n"u8.ToArray());
                return await stream.ReadAsync(new byte[100]);
            }
            catch (IOException)
            {
                return 0;
            }
        }
    }

    /// <summary>Starts the service with an extra route, and without Kafka and Redis.</summary>
    private static async Task<WebApplication> StartWithAsync(string route, Func<HttpContext, string> answer, params string[] settings)
    {
        var app = Service.Program.Build(
        [
            "--urls", "http://127.0.0.1:0", "--Logging:Console:LogLevel:Default", "None",
            "--ConnectionStrings:kafka", "127.0.0.1:9", "--ConnectionStrings:redis", "127.0.0.1:9", .. settings,
        ]);
        app.MapGet(route, answer);
        await app.StartAsync(TestContext.Current.CancellationToken);
        return app;
    }

    /// <summary>Reads what the service sends until it closes the connection.</summary>
    private static async Task<string> ReadToEndAsync(Stream stream)
    {
        using var answers = new MemoryStream();
        try
        {
            await stream.CopyToAsync(answers).WaitAsync(Eventually.TestTimeout);
        }
        catch (IOException)
        {
            // The service closed the connection with some of our bytes unread.
        }

        return Encoding.ASCII.GetString(answers.ToArray());
    }

    /// <summary>The same token without its signature, which anyone could create.</summary>
    private static string Unsigned(string token) =>
        $"{Base64UrlEncoder.Encode("""{"alg":"none","typ":"JWT"}""")}.{token.Split('.')[1]}.";

    private static (string, string) Bearer(string token) => ("Authorization", $"Bearer {token}");

    private static string Token(byte[] secret, string issuer = "tests", string audience = "cache", TimeSpan? lifetime = null)
    {
        var now = DateTimeOffset.UtcNow.UtcDateTime;
        return new JsonWebTokenHandler().CreateToken(new SecurityTokenDescriptor
        {
            Issuer = issuer,
            Audience = audience,
            NotBefore = now.AddHours(-2),
            IssuedAt = now.AddHours(-2),
            Expires = now + (lifetime ?? TimeSpan.FromHours(1)),
            SigningCredentials = new(new SymmetricSecurityKey(secret), SecurityAlgorithms.HmacSha256),
        });
    }

    private static async Task<HttpStatusCode> StatusAsync(RunningStack stack, string route, params (string Name, string Value)[] headers)
    {
        using var answer = await SendAsync(stack, route, headers);
        return answer.StatusCode;
    }

    private static Task<HttpResponseMessage> SendAsync(RunningStack stack, string route, params (string Name, string Value)[] headers)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, route);
        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return stack.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
    }
}
