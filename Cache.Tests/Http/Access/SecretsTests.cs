using System.Net;
using System.Net.Sockets;
using System.Text;
using Cache.Tests.EndToEnd;
using Cache.Tests.Telemetry;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Http.Access;

/// <summary>
/// No secret from the configuration or from a request, and no stack trace, is in any answer. No secret is in a log of any level,
/// or in anything sent over OTLP.
/// </summary>
public sealed class SecretsTests
{
    private const string RedisPassword = "redis-S3cret-0123456789";
    private const string SaslPassword = "sasl-S3cret-0123456789";
    private const string ApiKey = "key-S3cret-0123456789";
    private const string WrongKey = "wrong-S3cret-0123456789";
    private const string Token = "eyJhbGciOiJIUzI1NiJ9.token-S3cret-0123456789.x";
    private const string CollectorKey = "otlp-S3cret-0123456789";
    private const string SigningKey = "c2lnbmluZy1TM2NyZXQtMDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODk=";

    private static readonly string[] Marks = [RedisPassword, SaslPassword, ApiKey, WrongKey, Token, CollectorKey, SigningKey, "S3cret"];

    private static readonly string[] Routes =
    [
        "/", "/metrics/overview", "/metrics/event/latest", "/metrics/performance/latest", "/metrics/event/windows", "/metrics/performance/windows?limit=x", "/sessions/active", "/pipeline", "/dead-letters",
        "/healthz", "/readyz", "/health", "/alive", "/metrics", "/openapi/v1.json", "/scalar/", "/nothing",
    ];

    /// <summary>Where people and programs put a key in a URL.</summary>
    private static readonly string[] KeyedRoutes =
    [
        "/stream?api_key={0}", "/stream/?API_KEY={0}", "/stream?%61pi_key={0}", "/stream?types=event&api%5Fkey={0}", "/stream?%2561pi_key={0}", "/metrics/overview?api_key={0}",
        "/metrics/overview?%61%70%69_key={0}&limit=1", "/metrics/event/windows?apikey={0}", "/pipeline?X-Api-Key={0}", "/pipeline?access_token={0}", "/stream%3Fapi_key={0}", "/stream&api_key={0}",
        "/nothing?a=1&api_key={0}", "/openapi/v1.json?api_key={0}", "/?api_key={0}",
    ];

    /// <summary>Requests that Kestrel cannot read, with a key in them.</summary>
    private static readonly string[] Malformed =
    [
        "GET /stream?api_key={0}\r\n\r\n", "GET /stream?api_key={0} HTTP/9.9\r\nHost: localhost\r\n\r\n", "GET /stream?api_key={0}\u0001 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /%zz?api_key={0} HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET stream?api_key={0} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nX-Api-Key {0}\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nX-Api-Key: {0}\u0000\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nX Api Key: {0}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: u:{0}@localhost\r\n\r\n", "GET http://u:{0}@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {0}\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {0}\r\n\r\n", "CONNECT u:{0}@x:443 HTTP/1.1\r\nHost: localhost\r\n\r\n", "OPTIONS *?api_key={0} HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /stream?api_key={0}" + "xxxxxxxxxx HTTP/1.1\nHost: localhost\n\n", "GET /../%2e%2e/{0}%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", "GET /stream?api_key={0} HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{0}", "\u0016\u0003\u0001{0}",
    ];

    [Fact]
    public async Task Secrets_AreInNoAnswerAndNoLog_EvenOnFailures()
    {
        await using var redis = await RedisServer.StartAsync(RedisPassword);
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString, [.. Traced,
            ("api_keys", ApiKey), ("Kafka:sasl.username", "cache"), ("Kafka:sasl.password", SaslPassword), ("Kafka:sasl.mechanism", "PLAIN")]);
        await stack.StartServiceAsync();
        await stack.ReadyAsync();

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1), "poison");
        await AskEverythingAsync(stack);
        redis.Kill();
        await Eventually.HoldsAsync(async () => Assert.Equal(HttpStatusCode.ServiceUnavailable, (await stack.AskAsync("/healthz")).Status));
        await stack.Kafka.SendAsync(Events, 0, Event(Window(2), "a", 1));
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("did not accept a batch", StringComparison.Ordinal)));
        await AskEverythingAsync(stack);

        // These logs are on, so the test would see secrets in them.
        Assert.Contains(stack.Service.Log, line => line.Contains("Request starting", StringComparison.Ordinal) && line.Contains("/stream", StringComparison.Ordinal));
        Assert.Contains(stack.Service.Log, line => line.Contains("StackExchange.Redis", StringComparison.Ordinal));
        Assert.Contains(stack.Service.Log, line => line.Contains("Kestrel.Connections", StringComparison.Ordinal));
        AssertClean(string.Join('\n', stack.Service.Log));
    }

    [Fact]
    public async Task Secrets_ThatAreWrong_AreInNoAnswerAndNoLogEither()
    {
        await using var redis = await RedisServer.StartAsync("another");
        await using var stack = await InProcessStack.PrepareAsync(
            $"127.0.0.1:{redis.Port},password={RedisPassword}", [.. Traced,
            ("api_keys", ApiKey), ("Kafka:security.protocol", "sasl_plaintext"), ("Kafka:sasl.mechanism", "PLAIN"),
            ("Kafka:sasl.username", "cache"), ("Kafka:sasl.password", SaslPassword)]);
        await stack.StartServiceAsync();

        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Waiting for Redis", StringComparison.Ordinal)));
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Waiting for Kafka", StringComparison.Ordinal)));
        await AskEverythingAsync(stack);
        AssertClean(string.Join('\n', stack.Service.Log));
    }

    /// <summary>Runs the process like an operator looking for a fault: with telemetry, and a secret in every place that accepts one.</summary>
    [Fact]
    [Trait("Category", "Long")]
    public async Task Secrets_OfAProcess_AreInNoOutputAnswerOrTelemetry_WhateverBreaks()
    {
        await using var redis = await RedisServer.StartAsync(RedisPassword);
        await using var telemetry = await OtlpReceiver.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString, [.. Traced,
            ("ConnectionStrings:redis", $"redis://:{RedisPassword}@127.0.0.1:{redis.Port}/0"), ("api_keys", $"[\"{ApiKey}\"]"),
            ("Authentication:Schemes:Bearer:ValidAudiences:0", "cache"), ("Authentication:Schemes:Bearer:ValidIssuer", "tests"),
            ("Authentication:Schemes:Bearer:SigningKeys:0:Issuer", "tests"), ("Authentication:Schemes:Bearer:SigningKeys:0:Value", SigningKey),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", telemetry.HttpEndpoint), ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf"), ("OTEL_EXPORTER_OTLP_HEADERS", $"x-otlp-api-key={CollectorKey}"),
            ("OTEL_BSP_SCHEDULE_DELAY", "200"), ("OTEL_BLRP_SCHEDULE_DELAY", "200"), ("OTEL_METRIC_EXPORT_INTERVAL", "500")]);
        stack.Set("ConnectionStrings:kafka", $"BootstrapServers={stack.KafkaAddress.Split(',')[0]};SaslMechanism=Plain;SaslUsername=cache;SaslPassword={SaslPassword};SslKeyPassword={SaslPassword}");
        stack.Set("Kafka:sasl.password", SaslPassword);
        await stack.StartProcessAsync();
        await stack.ReadyAsync();

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1), "poison");
        await AskEverythingAsync(stack);
        redis.Kill();
        stack.Broker.BreakAllBrokers();
        await Eventually.HoldsAsync(async () => Assert.Equal(HttpStatusCode.ServiceUnavailable, (await stack.AskAsync("/readyz")).Status));
        await AskEverythingAsync(stack);
        await Eventually.HoldsAsync(() =>
        {
            Assert.NotEmpty(telemetry.Spans);
            Assert.NotEmpty(telemetry.Metrics);
            Assert.Contains(telemetry.Logs, log => log.Body.Contains("Request starting", StringComparison.Ordinal));
        });
        stack.Process.Terminate();
        await stack.Process.ExitAsync(Eventually.TestTimeout);

        // These logs are on, so the test would see secrets in them.
        Assert.Contains("StackExchange.Redis", stack.Process.Output, StringComparison.Ordinal);
        Assert.Contains("sasl.password", stack.Process.Output, StringComparison.Ordinal);
        Assert.Contains(telemetry.Requests, request => request.Contains(CollectorKey, StringComparison.Ordinal));
        AssertClean(stack.Process.Output);
        AssertClean(stack.Process.Errors);
        Assert.All(telemetry.Bodies, body => AssertClean(Encoding.Latin1.GetString(body.Span)));
    }

    [Theory]
    [InlineData("cors_origins", "https://u:S3cret@boards.example")]
    [InlineData("schema_registry_url", "http://u:S3cret@registry:8081")]
    [InlineData("ConnectionStrings:redis", "redis://:S3cret,1@127.0.0.1:9/0")]
    [InlineData("ConnectionStrings:kafka", "Endpoint=sb://demo-ns.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=S3cret=")]
    public async Task Secret_InARejectedConfiguration_IsNotPrinted(string key, string value)
    {
        await using var service = ServiceProcess.Launch([new(key, value), .. Traced.Select(setting => KeyValuePair.Create(setting.Item1, setting.Item2))]);

        Assert.Equal(1, await service.ExitAsync(Eventually.TestTimeout));
        Assert.Contains(key, service.Errors, StringComparison.Ordinal);
        AssertClean(service.Errors + service.Output);
    }

    private static (string, string)[] Traced =>
    [
        ("Logging:LogLevel:Default", "Trace"), ("Logging:LogLevel:Microsoft.AspNetCore", "Trace"), ("Logging:LogLevel:Microsoft.Extensions", "Trace"),
        ("Logging:LogLevel:StackExchange.Redis", "Trace"), ("Logging:LogLevel:Aspire.Confluent.Kafka", "Trace"),
        ("Logging:LogLevel:System.Net.Http", "Trace"), ("Logging:LogLevel:Microsoft.Extensions.Diagnostics.HealthChecks", "Trace"),
        ("Logging:LogLevel:Microsoft.AspNetCore.Server.Kestrel", "Trace"), ("Logging:LogLevel:Microsoft.AspNetCore.Server.Kestrel*", "Trace"),
        ("Kafka:debug", "all"),
    ];

    private static async Task AskEverythingAsync(InProcessStack stack)
    {
        foreach (var key in new[] { null, ApiKey, WrongKey })
        {
            foreach (var route in Routes.Append("/stream").Concat(key is null ? [] : KeyedRoutes.Select(route => route.Replace("{0}", key, StringComparison.Ordinal))))
            {
                // HttpClient must not normalize the URL.
                using var request = new HttpRequestMessage(HttpMethod.Get, new Uri(stack.Http.BaseAddress + route[1..], new UriCreationOptions { DangerousDisablePathAndQueryCanonicalization = true }));
                if (key is not null && !route.Contains('='))
                {
                    request.Headers.Add("X-Api-Key", key);
                }
                else if (key is null)
                {
                    request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {Token}");
                }

                using var answer = await stack.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
                var body = answer.Content.Headers.ContentType?.MediaType == "text/event-stream" ? "" : await answer.Content.ReadAsStringAsync();
                AssertClean(answer.Headers + body);
                Assert.DoesNotContain("   at ", body);
            }
        }

        foreach (var request in Malformed)
        {
            AssertClean(await SendAsync(stack.Http.BaseAddress!.Port, request.Replace("{0}", ApiKey, StringComparison.Ordinal)));
        }
    }

    /// <summary>Sends raw bytes, and returns the answer.</summary>
    private static async Task<string> SendAsync(int port, string request)
    {
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, port);
        var stream = client.GetStream();
        using var answer = new MemoryStream();
        try
        {
            await stream.WriteAsync(Encoding.Latin1.GetBytes(request));
            client.Client.Shutdown(SocketShutdown.Send);
            await stream.CopyToAsync(answer).WaitAsync(Eventually.TestTimeout);
        }
        catch (Exception exception) when (exception is IOException or SocketException)
        {
            // The service closed the connection with some of our bytes unread.
        }

        return Encoding.Latin1.GetString(answer.ToArray());
    }

    private static void AssertClean(string text)
    {
        foreach (var secret in Marks)
        {
            var at = text.IndexOf(secret, StringComparison.OrdinalIgnoreCase);
            Assert.True(at < 0, at < 0 ? "" : $"Found a secret: …{text[Math.Max(0, at - 400)..Math.Min(text.Length, at + 60)]}…");
        }
    }
}
