using System.Net;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Protect;

/// <summary>No secret of the configuration, and no stack trace, in any answer; no secret in any log, whatever its level.</summary>
public sealed class SecretsTests
{
    private const string RedisPassword = "redis-S3cret-0123456789";
    private const string SaslPassword = "sasl-S3cret-0123456789";
    private const string ApiKey = "key-S3cret-0123456789";
    private const string WrongKey = "wrong-S3cret-0123456789";

    private static readonly string[] Routes =
    [
        "/", "/metrics/overview", "/metrics/event/latest", "/metrics/performance/latest", "/metrics/event/windows", "/metrics/performance/windows?limit=x", "/sessions/active", "/pipeline",
        "/healthz", "/readyz", "/health", "/alive", "/metrics", "/openapi/v1.json", "/scalar/", "/nothing",
    ];

    [Fact]
    public async Task Secrets_AreInNoAnswerAndNoLog_AlsoOnFailures()
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
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("did not take a batch", StringComparison.Ordinal)));
        await AskEverythingAsync(stack);

        // So that the test would see them.
        Assert.Contains(stack.Service.Log, line => line.Contains("Request starting", StringComparison.Ordinal) && line.Contains("/stream", StringComparison.Ordinal));
        Assert.Contains(stack.Service.Log, line => line.Contains("StackExchange.Redis", StringComparison.Ordinal));
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

    private static (string, string)[] Traced =>
    [
        ("Logging:LogLevel:Default", "Trace"), ("Logging:LogLevel:Microsoft.AspNetCore", "Trace"), ("Logging:LogLevel:Microsoft.Extensions", "Trace"),
        ("Logging:LogLevel:StackExchange.Redis", "Trace"), ("Logging:LogLevel:Aspire.Confluent.Kafka", "Trace"),
        ("Logging:LogLevel:System.Net.Http", "Trace"), ("Logging:LogLevel:Microsoft.Extensions.Diagnostics.HealthChecks", "Trace"),
    ];

    private static async Task AskEverythingAsync(InProcessStack stack)
    {
        foreach (var key in new[] { null, ApiKey, WrongKey })
        {
            foreach (var route in Routes.Concat([$"/stream?api_key={key}", $"/stream/?API_KEY={key}", $"/metrics/overview?api_key={key}", "/stream"]))
            {
                using var request = new HttpRequestMessage(HttpMethod.Get, route);
                if (key is not null && !route.Contains('='))
                {
                    request.Headers.Add("X-Api-Key", key);
                }

                using var answer = await stack.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
                var body = answer.Content.Headers.ContentType?.MediaType == "text/event-stream" ? "" : await answer.Content.ReadAsStringAsync();
                AssertClean(answer.Headers + body);
                Assert.DoesNotContain("   at ", body);
            }
        }
    }

    private static void AssertClean(string text)
    {
        foreach (var secret in new[] { RedisPassword, SaslPassword, ApiKey, WrongKey })
        {
            var at = text.IndexOf(secret, StringComparison.OrdinalIgnoreCase);
            Assert.True(at < 0, at < 0 ? "" : $"A secret: …{text[Math.Max(0, at - 200)..Math.Min(text.Length, at + 60)]}…");
        }
    }
}
