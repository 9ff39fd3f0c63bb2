using System.Diagnostics;
using System.Net;
using System.Text.Json;
using Cache.Embedded;
using Cache.Service.Partitions;
using Confluent.Kafka;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.EndToEnd;

/// <summary>What the service reports while Redis or Kafka is down; on a real redis-server, which can be killed and frozen.</summary>
public sealed class HealthTests : IAsyncDisposable
{
    private static readonly string[] DataRoutes =
    [
        "/metrics/event/latest", "/metrics/performance/latest", "/metrics/event/windows?limit=5", "/metrics/performance/windows?from=0&to=5",
        "/metrics/overview", "/sessions/active",
    ];

    private RedisServer? _redis;

    public async ValueTask DisposeAsync()
    {
        if (_redis is not null)
        {
            await _redis.DisposeAsync();
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task EveryRoute_WhenRedisIsDown_SaysSoWithinASecond_AndRecovers(bool frozen)
    {
        _redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(_redis.ConnectionString);
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.EverythingIsCommittedAsync();
        await stack.ReadyAsync();

        if (frozen)
        {
            _redis.Freeze();
        }
        else
        {
            _redis.Kill();
        }

        // At once, and again when the client has noticed.
        for (var round = 0; round < 3; round++)
        {
            foreach (var (status, body, mediaType) in await Task.WhenAll(DataRoutes.Select(route => QuicklyAsync(stack, route))))
            {
                Assert.Equal(HttpStatusCode.ServiceUnavailable, status);
                Assert.Equal("application/problem+json", mediaType);
                Assert.Equal("Redis does not answer", JsonElement.Parse(body).GetProperty("title").GetString());
            }

            var health = await QuicklyAsync(stack, "/healthz");
            Assert.Equal((HttpStatusCode.ServiceUnavailable, """{"status":"unavailable","redis":false}""", "application/json"), health);
            var ready = await QuicklyAsync(stack, "/readyz");
            Assert.Equal((HttpStatusCode.ServiceUnavailable, """{"status":"not ready","reasons":["Redis does not answer"]}"""), (ready.Status, ready.Body));
            Assert.Equal(HttpStatusCode.ServiceUnavailable, (await QuicklyAsync(stack, "/health")).Status);

            // The process itself is fine: a restart would not help.
            Assert.Equal(HttpStatusCode.OK, (await QuicklyAsync(stack, "/alive")).Status);
        }

        if (frozen)
        {
            _redis.Thaw();
        }
        else
        {
            await _redis.RestartAsync();
        }

        await stack.EventuallyAnswersAsync("/healthz", """{"status":"ok","redis":true}""");
        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(1)}},"a.count":1}""");
        await stack.EventuallyAnswersAsync("/readyz", """{"status":"ready"}""");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task CachedAnswer_HidesThatRedisIsDown_ForASecondAtMost(bool frozen)
    {
        const string Route = "/metrics/event/latest";
        _redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(_redis.ConnectionString);

        // Three attempts, as the machine may be busy: one within the second proves that it is possible.
        for (var attempt = 1; ; attempt++)
        {
            await Eventually.HoldsAsync(async () => Assert.Equal(HttpStatusCode.OK, (await stack.AskAsync(Route)).Status));
            if (frozen)
            {
                _redis.Freeze();
            }
            else
            {
                _redis.Kill();
            }

            var started = Stopwatch.GetTimestamp();
            while ((await stack.AskAsync(Route)).Status == HttpStatusCode.OK)
            {
                Assert.True(Stopwatch.GetElapsedTime(started) < TestTimeout.Full, "It still answers.");
            }

            if (Stopwatch.GetElapsedTime(started) is var took && took <= TimeSpan.FromSeconds(1))
            {
                return;
            }

            Assert.True(attempt < 3, $"It took {took.TotalSeconds:F2} s.");
            if (frozen)
            {
                _redis.Thaw();
            }
            else
            {
                await _redis.RestartAsync();
            }
        }
    }

    [Theory]
    [InlineData(KafkaRequest.JoinGroup)]
    [InlineData(KafkaRequest.Fetch)]
    [InlineData(null)]
    public async Task Readyz_WhenTheBrokersAreDown_IsNotReady_AndRecovers(KafkaRequest? unanswered)
    {
        await using var stack = await InProcessStack.PrepareAsync();
        if (unanswered is { } request)
        {
            stack.Broker.PushRequestErrors(request, [.. Enumerable.Repeat(request == KafkaRequest.Fetch ? ErrorCode.RequestTimedOut : ErrorCode.RebalanceInProgress, 10_000)]);
        }

        await stack.StartServiceAsync();
        await (unanswered switch
        {
            KafkaRequest.JoinGroup => Eventually.HoldsAsync(() => AssertNotReadyAsync(stack, "no partitions assigned: partitions are being assigned")),
            KafkaRequest.Fetch => Eventually.HoldsAsync(() => Assert.All(stack.Service.Get<Assignment>().Current.Select(partition => partition.LogEnd).DefaultIfEmpty(-1), end => Assert.Equal(0, end))),
            _ => stack.ReadyAsync(),
        });

        stack.Broker.BreakAllBrokers();
        if (unanswered != KafkaRequest.JoinGroup)
        {
            await Eventually.HoldsAsync(() => AssertNotReadyAsync(stack, "Kafka does not report the ends of the partitions"));
        }

        // The session is over by then.
        await Eventually.HoldsAsync(() => AssertNotReadyAsync(stack, "no partitions assigned: Kafka does not answer: "));

        // Redis still serves what it has.
        Assert.Equal(HttpStatusCode.OK, (await stack.AskAsync("/healthz")).Status);
        Assert.Equal(HttpStatusCode.OK, (await stack.AskAsync("/metrics/event/latest")).Status);

        stack.Broker.ClearRequestErrors(KafkaRequest.JoinGroup);
        stack.Broker.ClearRequestErrors(KafkaRequest.Fetch);
        stack.Broker.MendAllBrokers();
        await stack.ReadyAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(1)}},"a.count":1}""");
    }

    [Fact]
    public async Task Readyz_WhenTheLagIsAboveItsThreshold_TurnsBack_AndRecovers()
    {
        _redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(_redis.ConnectionString, ("ready_lag_threshold", "10"));
        await stack.ReadyAsync();

        _redis.Freeze();
        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 11).Select(minute => Event(Window(minute), "a", minute)));
        await Eventually.HoldsAsync(() => AssertNotReadyAsync(stack, "lag is 11 rows, above ready_lag_threshold (10)"));

        _redis.Thaw();
        await stack.ReadyAsync();
    }

    [Fact]
    public async Task Readyz_BeforePartitionsAreAssigned_SaysWhatItWaitsFor()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        stack.Broker.BreakAllBrokers();
        await stack.StartServiceAsync();

        await Eventually.HoldsAsync(() => AssertNotReadyAsync(stack, $"no partitions assigned: Kafka at {stack.KafkaAddress} does not answer yet"));
        Assert.Equal(HttpStatusCode.OK, (await stack.AskAsync("/alive")).Status);

        stack.Broker.MendAllBrokers();
        await stack.ReadyAsync();
    }

    /// <summary>Three attempts, as the machine may be busy: one response within the second proves that it is possible.</summary>
    private static async Task<(HttpStatusCode Status, string Body, string? Type)> QuicklyAsync(RunningStack stack, string route)
    {
        for (var attempt = 1; ; attempt++)
        {
            var started = Stopwatch.GetTimestamp();
            var answer = await stack.AskAsync(route);
            var took = Stopwatch.GetElapsedTime(started);
            if (took <= TimeSpan.FromSeconds(1))
            {
                return answer;
            }

            Assert.True(attempt < 3 && took < TimeSpan.FromSeconds(3), $"{route} took {took.TotalSeconds:F2} s");
        }
    }

    private static async Task AssertNotReadyAsync(RunningStack stack, string reason)
    {
        var (status, body, _) = await stack.AskAsync("/readyz");
        Assert.Equal(HttpStatusCode.ServiceUnavailable, status);
        Assert.Contains(
            JsonElement.Parse(body).GetProperty("reasons").EnumerateArray(), text => text.GetString()!.Contains(reason, StringComparison.Ordinal));
    }
}
