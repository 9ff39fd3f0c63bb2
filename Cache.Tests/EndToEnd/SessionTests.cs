using System.Diagnostics.Metrics;
using System.Net;
using System.Net.ServerSentEvents;
using System.Text.Json;
using Cache.Service.Persist;
using Cache.Tests.Flush;
using Cache.Tests.Persist;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.EndToEnd;

/// <summary>Sessions from Kafka to Redis, HTTP and the stream, with session_metrics among the topics.</summary>
public sealed class SessionTests : IAsyncDisposable
{
    private static readonly (string, string) WithSessions = ("cache_kafka_topics", "event_metrics,performance_metrics,session_metrics");

    // Whether a session is active depends on the service's clock.
    private readonly long _now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
    private RedisServer? _redis;

    public async ValueTask DisposeAsync()
    {
        if (_redis is not null)
        {
            await _redis.DisposeAsync();
        }
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Sessions_AreServedLatestFirst_WithTheValuesThatWereSent(RedisKind kind)
    {
        await using var stack = await StartAsync(kind, ("redis_key_prefix", "p:"));

        await stack.Kafka.SendAsync(Sessions, 0,
            $$"""{"session_id":"17","user_id":"42","start_time":{{_now - 5000}},"end_time":{{_now - 4000}},"duration":1000,"page_count":1,"device_category":"Mobile"}""",
            $$"""{"session_id":"b \"é\"","end_time":{{_now - 3000}}}""",
            $$"""{"session_id":"old","end_time":{{_now - 2_000_000}},"user_id":"u"}""",
            $$"""{"session_id":"17","end_time":{{_now - 1000}},"duration":4000,"page_count":2}""");
        await stack.EverythingIsCommittedAsync(Sessions);

        var first = $$"""{"session_id":"17","user_id":"42","start_time":{{_now - 5000}},"end_time":{{_now - 1000}},"duration":4000,"page_count":2,"device_category":"Mobile"}""";
        await stack.AnswersAsync("/sessions/active", $$"""{"sessions":[{{first}},{"session_id":"b \"é\"","end_time":{{_now - 3000}}}]}""");
        await stack.AnswersAsync("/sessions/active?limit=1", $$"""{"sessions":[{{first}}]}""");
        Assert.Equal(["p:cache:epoch", "p:session:17", "p:session:b \"é\"", "p:sessions:active"], await KeysAsync(stack));
        using var counters = new Counters(stack.Service.Get<IMeterFactory>());
        await Eventually.HoldsAsync(() => Assert.InRange(counters["cache.sessions.inactive"], 1, long.MaxValue));

        // All rows of inactive and other sessions have been processed, and none of them is a dead letter.
        Assert.Empty(stack.Kafka.ReadAll(stack.DeadLetterTopic));
    }

    [Fact]
    public async Task Sessions_SurviveARestartOfTheService_AndContinue()
    {
        await using var stack = await StartAsync(RedisKind.Embedded);
        await stack.Kafka.SendAsync(Sessions, 0, Session("a", _now, "u"));
        await stack.EverythingIsCommittedAsync(Sessions);

        await stack.RestartServiceAsync();
        await stack.Kafka.SendAsync(Sessions, 0, Session("a", _now + 1));

        await stack.EventuallyAnswersAsync("/sessions/active", $$"""{"sessions":[{"session_id":"a","end_time":{{_now + 1}},"user_id":"u"}]}""");
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task SessionWhoseHashHasExpired_IsNotServed_AndLeavesTheIndex(RedisKind kind)
    {
        await using var stack = await StartAsync(kind);
        await stack.Kafka.SendAsync(Sessions, 0, Session("a", _now), Session("b", _now - 1));
        await stack.EverythingIsCommittedAsync(Sessions);

        await stack.Database.KeyDeleteAsync("session:a");

        await stack.AnswersAsync("/sessions/active", $$"""{"sessions":[{"session_id":"b","end_time":{{_now - 1}}}]}""");
        Assert.Null(await stack.Database.SortedSetScoreAsync("sessions:active", "a"));
    }

    [Fact]
    public async Task Sessions_WhenTheirTimeIsOver_AreGone()
    {
        await using var stack = await StartAsync(RedisKind.Real, ("active_session_ttl_seconds", "2"));
        await stack.Kafka.SendAsync(Sessions, 0, Session("a", TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() + 2000));
        await Eventually.HoldsAsync(async () => Assert.Equal(1, (await stack.GetAsync("/sessions/active")).GetProperty("sessions").GetArrayLength()));

        await stack.EventuallyAnswersAsync("/sessions/active", """{"sessions":[]}""");
        await Eventually.HoldsAsync(async () => Assert.Equal(["cache:epoch"], await KeysAsync(stack)));
    }

    [Fact]
    public async Task BadInput_Is400_NamingTheParameter()
    {
        await using var stack = await StartAsync(RedisKind.Embedded);
        await stack.EventuallyAnswersAsync("/sessions/active?limit=99999999999999999999", """{"sessions":[]}""");

        foreach (var limit in new[] { "0", "-1", "1.5", "ten", "", "%2B5" })
        {
            var (status, body, type) = await stack.AskAsync($"/sessions/active?limit={limit}");

            Assert.Equal((HttpStatusCode.BadRequest, "application/problem+json"), (status, type));
            Assert.True(JsonElement.Parse(body).GetProperty("errors").TryGetProperty("limit", out _), body);
        }
    }

    [Fact]
    public async Task SessionTopic_ThatIsNotNamed_IsNotConsumed()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        stack.Broker.CreateTopic(Sessions, partitions: 1);
        await stack.Kafka.SendAsync(Sessions, 0, Session("a", _now));
        await stack.StartServiceAsync();
        await stack.ReadyAsync();

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.EverythingIsCommittedAsync();

        await stack.AnswersAsync("/sessions/active", """{"sessions":[]}""");
        Assert.Equal([-1001], stack.Kafka.Committed(Sessions));
    }

    [Fact]
    public async Task BadSessions_AndThoseOfAKeyOfAnotherType_GoToTheDeadLetters_AndHoldUpNoOther()
    {
        await using var stack = await StartAsync(RedisKind.Real, stack => stack.Database.StringSetAsync("session:b", "somebody else's"));
        string[] rows =
        [
            Session("a", _now), """{"session_id":"x"}""", Session("b", _now, "u"), Session("a", _now + 1), Session("b", _now + 1),
            $$"""{"end_time":{{_now}}}""",
        ];
        await stack.Kafka.SendAsync(Sessions, 0, rows);
        await stack.EverythingIsCommittedAsync(Sessions);

        Assert.Equal(
            [("1", "no_end_time"), ("2", "wrong_key_type"), ("4", "wrong_key_type"), ("5", "no_session_id")],
            stack.Kafka.ReadAll(stack.DeadLetterTopic)
                .Select(letter => (KafkaSide.Header(letter, DeadLetters.OffsetHeader), KafkaSide.Header(letter, DeadLetters.ReasonHeader))).Order());
        await stack.AnswersAsync("/sessions/active", $$"""{"sessions":[{"session_id":"a","end_time":{{_now + 1}}}]}""");
        Assert.Equal("somebody else's", await stack.Database.StringGetAsync("session:b"));
    }

    [Fact]
    public async Task Stream_SendsSessions_ByTypeAndDevice()
    {
        await using var stack = await StartAsync(RedisKind.Embedded);
        await stack.ReadyAsync();
        using var response = await stack.Http.GetAsync("/stream?types=session&dimensions=TV", HttpCompletionOption.ResponseHeadersRead);
        await using var items = SseParser.Create(await response.Content.ReadAsStreamAsync()).EnumerateAsync().GetAsyncEnumerator();
        await NextAsync("heartbeat");
        await NextAsync("resync");

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "TV", 1));
        await stack.Kafka.SendAsync(Sessions, 0, Session("a", _now, device: "Mobile"), Session("b", _now, device: "TV"));

        Assert.Equal(
            $$$"""{"type":"session","session_id":"b","fields":{"end_time":{{{_now}}},"device_category":"TV"}}""", await NextAsync("message"));

        async Task<string> NextAsync(string type)
        {
            Assert.True(await items.MoveNextAsync().AsTask().WaitAsync(Eventually.TestTimeout));
            Assert.Equal(type, items.Current.EventType);
            return items.Current.Data;
        }
    }

    private async Task<InProcessStack> StartAsync(RedisKind kind, params (string, string)[] settings) => await StartAsync(kind, null, settings);

    private async Task<InProcessStack> StartAsync(RedisKind kind, Func<InProcessStack, Task>? prepared, params (string, string)[] settings)
    {
        _redis = kind == RedisKind.Real ? await RedisServer.StartAsync() : null;
        var stack = await InProcessStack.PrepareAsync(_redis?.ConnectionString, [WithSessions, .. settings]);
        stack.Broker.CreateTopic(Sessions, partitions: 2);
        await (prepared?.Invoke(stack) ?? Task.CompletedTask);
        await stack.StartServiceAsync();
        return stack;
    }

    private static async Task<List<string>> KeysAsync(InProcessStack stack)
    {
        var keys = new List<string>();
        await foreach (var key in stack.Redis.GetServers()[0].KeysAsync())
        {
            // Those of the replicas come and go.
            if (!key.ToString().Contains("cache:replica", StringComparison.Ordinal))
            {
                keys.Add(key.ToString());
            }
        }

        return [.. keys.Order(StringComparer.Ordinal)];
    }
}
