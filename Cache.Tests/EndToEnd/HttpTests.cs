using System.Net;
using System.Text.Json;
using Cache.Embedded;
using Cache.Service.Persist;
using StackExchange.Redis;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.EndToEnd;

/// <summary>Readers of the HTTP API see the rows sent to Kafka; the same on every kind of stack.</summary>
public abstract class HttpTests
{
    /// <summary>Starts an empty stack with the given configuration.</summary>
    protected abstract Task<RunningStack> StartAsync(params (string Key, string Value)[] settings);

    [Fact]
    public async Task Windows_HaveTheValuesThatWereSent()
    {
        await using var stack = await StartAsync();

        await stack.Kafka.SendAsync(Events, 0, Event(1710000000000, "page_view", 1, 1), Event(1710000000000, "page_view", 2, 2));
        await stack.Kafka.SendAsync(Performance, 0, Load(1710000000000, "mobile", 0.1, 1e-7), Load(1710000000000, "desktop", 5e300, 12));

        await stack.EventuallyAnswersAsync(
            "/metrics/event/latest", """{"window_start":1710000000000,"page_view.count":2,"page_view.users":2}""");
        await stack.EventuallyAnswersAsync(
            "/metrics/performance/latest",
            """{"window_start":1710000000000,"mobile.avg_load_time":0.1,"mobile.p95_load_time":1e-7,"desktop.avg_load_time":5e300,"desktop.p95_load_time":12}""");
        await stack.AnswersAsync(
            "/metrics/event/windows", """{"windows":[{"window_start":1710000000000,"page_view.count":2,"page_view.users":2}]}""");
        await stack.AnswersAsync(
            "/metrics/overview",
            """
            {"event_latest":{"window_start":1710000000000,"page_view.count":2,"page_view.users":2},
             "performance_latest":{"window_start":1710000000000,"mobile.avg_load_time":0.1,"mobile.p95_load_time":1e-7,"desktop.avg_load_time":5e300,"desktop.p95_load_time":12}}
            """);
        await stack.EverythingIsCommittedAsync();
    }

    [Fact]
    public async Task FourFormatsOfTime_AreOneWindow()
    {
        await using var stack = await StartAsync();

        await stack.Kafka.SendAsync(Events, 0,
            """{"window_start":1735689600123,"event_type":"a","event_count":1}""",
            """{"window_start":"2025-01-01T01:00:00.123+01:00","event_type":"b","event_count":2}""",
            """{"window_start":"2025-01-01 00:00:00.123Z","event_type":"c","event_count":3}""",
            """{"window_start":"2025-01-01 00:00:00.123456789","event_type":"d","event_count":4}""",
            """{"window_start":"2025-01-01T00:00:00.123Z","event_type":"e","event_count":5}""");

        await stack.EventuallyAnswersAsync(
            "/metrics/event/windows",
            """{"windows":[{"window_start":1735689600123,"a.count":1,"b.count":2,"c.count":3,"d.count":4,"e.count":5}]}""");
    }

    [Fact]
    public async Task AnyName_CanBeSelected_AsItIs()
    {
        await using var stack = await StartAsync();

        string[] names = ["Cart, viewed", " padded ", "100%", @"back\slash", "a+b&c=d"];
        await stack.Kafka.SendAsync(Events, 0, names.Select((name, number) => Event(Window(0), JsonEncodedText.Encode(name).Value, number)));
        await stack.EverythingIsCommittedAsync(Events);

        foreach (var name in names)
        {
            var latest = await stack.GetAsync($"/metrics/event/latest?fields={Uri.EscapeDataString(name.Replace(",", @"\,", StringComparison.Ordinal))}");
            Assert.Equal(["window_start", $"{name}.count"], latest.EnumerateObject().Select(field => field.Name));
        }

        Assert.Equal(3, (await stack.GetAsync($"/metrics/event/latest?fields={Uri.EscapeDataString(@"Cart\, viewed, padded ")}")).EnumerateObject().Count());
    }

    [Fact]
    public async Task SecondsForMilliseconds_AreADeadLetterThatSaysSo()
    {
        await using var stack = await StartAsync();

        await stack.Kafka.SendAsync(Events, 0,
            """{"window_start":1735689600,"event_type":"x","event_count":1}""",
            """{"window_start":1735689600.000000000,"event_type":"x","event_count":1}""",
            """{"window_start":1.7356896E9,"event_type":"x","event_count":1}""");
        await stack.EverythingIsCommittedAsync(Events);

        Assert.Equal(
            ["time_in_seconds", "time_in_seconds", "time_in_seconds"],
            stack.Kafka.ReadAll(stack.DeadLetterTopic).Select(letter => KafkaSide.Header(letter, DeadLetters.ReasonHeader)));
        await stack.AnswersAsync("/metrics/event/windows", """{"windows":[]}""");
    }

    [Fact]
    public async Task JsonBehindASchemaRegistrysFrame_OrAByteOrderMark_IsTaken()
    {
        await using var stack = await StartAsync();

        byte[][] frames = [[0, 0, 0, 0, 7], [0xEF, 0xBB, 0xBF]];
        await stack.Kafka.SendAsync(Events, 0, frames.Select((frame, number) =>
            new Confluent.Kafka.Message<byte[]?, byte[]?> { Value = [.. frame, .. System.Text.Encoding.UTF8.GetBytes(Event(Window(0), $"e{number}", 1))] }));

        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(0)}},"e0.count":1,"e1.count":1}""");
    }

    [Fact]
    public async Task Latest_WhenOlderWindowsArriveLater_StaysTheNewest()
    {
        await using var stack = await StartAsync();

        await stack.Kafka.SendAsync(Events, 0, Event(Window(5), "a", 5), Event(Window(4), "a", 4), Event(Window(9), "a", 9));
        await stack.EverythingIsCommittedAsync(Events);
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1), Event(Window(8), "a", 8));
        await stack.EverythingIsCommittedAsync(Events);

        await stack.AnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(9)}},"a.count":9}""");
        var starts = await StartsAsync(stack, "");
        Assert.Equal([Window(9), Window(8), Window(5), Window(4), Window(1)], starts);
    }

    [Fact]
    public async Task PartialRow_LeavesTheOtherMeasureAsItWas()
    {
        await using var stack = await StartAsync();

        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 7, 3), Event(Window(0), "b", users: 4));
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(0), "tv", 1.5, 2.5));
        await stack.EverythingIsCommittedAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", count: 8));
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(0), "tv", p95: 3.5));
        await stack.EverythingIsCommittedAsync();

        await stack.AnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(0)}},"a.count":8,"a.users":3,"b.users":4}""");
        await stack.AnswersAsync(
            "/metrics/performance/latest", $$"""{"window_start":{{Window(0)}},"tv.avg_load_time":1.5,"tv.p95_load_time":3.5}""");
    }

    [Fact]
    public async Task Routes_WhenThereAreNoWindows_AreEmpty()
    {
        await using var stack = await StartAsync();

        await stack.EventuallyAnswersAsync("/metrics/event/latest", "{}");
        await stack.AnswersAsync("/metrics/performance/latest", "{}");
        await stack.AnswersAsync("/metrics/event/windows", """{"windows":[]}""");
        await stack.AnswersAsync("/metrics/performance/windows?limit=5&from=0", """{"windows":[]}""");
        await stack.AnswersAsync("/metrics/overview", """{"event_latest":{},"performance_latest":{}}""");
    }

    [Fact]
    public async Task Windows_AreLimitedAndBounded_NewestFirst()
    {
        await using var stack = await StartAsync(("window_retention_count", "30"));

        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 40).Select(minute => Event(Window(minute), "a", minute)));
        await stack.EverythingIsCommittedAsync(Events);

        Assert.Equal(Minutes(20, 39), await StartsAsync(stack, ""));
        Assert.Equal(Minutes(39, 39), await StartsAsync(stack, "?limit=1"));
        Assert.Equal(Minutes(33, 39), await StartsAsync(stack, "?limit=007"));
        Assert.Equal(Minutes(10, 39), await StartsAsync(stack, "?limit=30"));
        Assert.Equal(Minutes(10, 39), await StartsAsync(stack, "?limit=31"));
        Assert.Equal(Minutes(10, 39), await StartsAsync(stack, "?limit=99999999999999999999"));
        Assert.Equal(Minutes(12, 14), await StartsAsync(stack, $"?from={Window(12)}&to={Window(14)}"));
        Assert.Equal(Minutes(13, 14), await StartsAsync(stack, $"?from={Window(12)}&to={Window(14)}&limit=2"));
        Assert.Equal(Minutes(37, 39), await StartsAsync(stack, $"?from={Window(37) - 1}"));
        Assert.Equal(Minutes(10, 11), await StartsAsync(stack, $"?to={Window(12) - 1}"));
        Assert.Equal(Minutes(12, 12), await StartsAsync(stack, "?from=2024-03-09T16:12:00Z&to=2024-03-09T17:12:00%2B01:00"));
        Assert.Equal(Minutes(12, 12), await StartsAsync(stack, "?from=2024-03-09T16:12:00Z&to=2024-03-09T17:12:00+01:00"));
        Assert.Empty(await StartsAsync(stack, $"?from={Window(50)}"));
        Assert.Empty(await StartsAsync(stack, "?to=-1"));

        // Newest first.
        static long[] Minutes(int first, int last) => [.. Enumerable.Range(first, last - first + 1).Reverse().Select(Window)];
    }

    [Fact]
    public async Task BadInput_Is400_NamingTheParameter()
    {
        await using var stack = await StartAsync();
        string[] limits = ["0", "-1", "1.5", "1e3", "ten", "", "%20", "5%20", "%2B5", "0x10", "５"];
        string[] times =
        [
            "", "soon", "2025-13-01T00:00:00Z", "2025-01-32T00:00:00Z", "2025-01-01", "2025-01-01T25:00:00Z", "1.5", "1e3",
            "99999999999999999999", "2025-01-01T00:00:00Zjunk",
        ];
        string[] bad =
        [
            .. limits.Select(limit => $"limit={limit}"), .. times.Select(time => $"from={time}"), .. times.Select(time => $"to={time}"),
            "from=2&to=1",
        ];

        foreach (var query in bad)
        {
            foreach (var type in new[] { "event", "performance" })
            {
                var (status, body, mediaType) = await stack.AskAsync($"/metrics/{type}/windows?{query}");

                Assert.True(status == HttpStatusCode.BadRequest, $"{query}: {status} {body}");
                Assert.Equal("application/problem+json", mediaType);
                var problem = JsonElement.Parse(body);
                Assert.Equal(400, problem.GetProperty("status").GetInt32());
                var name = query[..query.IndexOf('=')];
                Assert.True(problem.GetProperty("errors").TryGetProperty(name, out _), $"{query}: {body}");
                Assert.Contains(name, problem.GetProperty("detail").GetString());
            }
        }

        var both = await stack.AskAsync("/metrics/event/windows?limit=x&from=y&to=z");
        Assert.Equal(
            ["from", "limit", "to"],
            JsonElement.Parse(both.Body).GetProperty("errors").EnumerateObject().Select(error => error.Name).Order());
    }

    [Fact]
    public async Task UnknownRoute_Is404Problem()
    {
        await using var stack = await StartAsync();

        var (status, _, mediaType) = await stack.AskAsync("/metrics/nothing/latest");

        Assert.Equal(HttpStatusCode.NotFound, status);
        Assert.Equal("application/problem+json", mediaType);
    }

    [Fact]
    public async Task Redis_HoldsHashesAndIndexBehindThePrefix_WithTheirTtl()
    {
        await using var stack = await StartAsync(("window_hash_ttl_seconds", "1000"), ("window_retention_count", "2"));

        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 4).Select(minute => Event(Window(minute), "a", minute, long.MaxValue)));
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(0), "tv", 0.25));
        await stack.EverythingIsCommittedAsync();

        Assert.Equal(new() { ["a.count"] = "3", ["a.users"] = "9223372036854775807" }, await stack.HashAsync("event", Window(3)));
        Assert.Equal(new() { ["tv.avg_load_time"] = "0.25" }, await stack.HashAsync("perf", Window(0)));
        var index = await stack.Database.SortedSetRangeByRankWithScoresAsync(stack.Key("metrics:event:windows"));
        Assert.Equal([new(Window(2), Window(2)), new(Window(3), Window(3))], index);
        var timeToLive = await stack.Database.KeyTimeToLiveAsync(stack.Key($"metrics:event:{Window(3)}"));
        Assert.InRange(timeToLive!.Value, TimeSpan.FromSeconds(900), TimeSpan.FromSeconds(1000));

        // The hash is deleted when its window is trimmed.
        Assert.False(await stack.Database.KeyExistsAsync(stack.Key($"metrics:event:{Window(1)}")));
        Assert.False(await stack.Database.KeyExistsAsync(stack.Key($"metrics:event:{Window(0)}")));
        if (stack.KeyPrefix.Length > 0)
        {
            Assert.False(await stack.Database.KeyExistsAsync("cache:epoch"));
            Assert.False(await stack.Database.KeyExistsAsync("metrics:event:windows"));
        }
    }

    [Fact]
    public async Task IndexEntryWhoseHashIsGone_IsNotServed_AndIsRemoved()
    {
        await using var stack = await StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1), Event(Window(2), "a", 2), Event(Window(3), "a", 3));
        await stack.EverythingIsCommittedAsync(Events);

        await stack.Database.KeyDeleteAsync(stack.Key($"metrics:event:{Window(3)}"));

        await stack.AnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(2)}},"a.count":2}""");
        Assert.Equal(
            [Window(1), Window(2)],
            (await stack.Database.SortedSetRangeByRankAsync(stack.Key("metrics:event:windows"))).Select(start => (long)start));
    }

    [Fact]
    public async Task Updates_ArePublishedAfterEachFlush()
    {
        await using var stack = await StartAsync();
        var messages = await stack.SubscribeAsync();

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1, 2));
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(1), "tv", 0.5));
        await Eventually.HoldsAsync(() => Assert.Equal(2, messages.Count));
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 3));
        await Eventually.HoldsAsync(() => Assert.Equal(3, messages.Count));

        var texts = messages.Select(message => message.GetRawText()).ToList();
        Assert.Contains($$$"""{"type":"event","window_start":{{{Window(1)}}},"fields":{"a.count":1,"a.users":2}}""", texts);
        Assert.Contains($$$"""{"type":"performance","window_start":{{{Window(1)}}},"fields":{"tv.avg_load_time":0.5}}""", texts);
        Assert.Equal($$$"""{"type":"event","window_start":{{{Window(1)}}},"fields":{"a.count":3}}""", texts[2]);
    }

    [Fact]
    public async Task Health_OfARunningStack_IsOk_AlsoWhenItsTopicsAreIdle()
    {
        await using var stack = await StartAsync();

        await stack.EventuallyAnswersAsync("/readyz", """{"status":"ready"}""");
        await stack.AnswersAsync("/healthz", """{"status":"ok","redis":true}""");
        Assert.Equal((HttpStatusCode.OK, "Healthy", "text/plain"), await stack.AskAsync("/health"));
        Assert.Equal((HttpStatusCode.OK, "Healthy", "text/plain"), await stack.AskAsync("/alive"));
    }

    private static async Task<long[]> StartsAsync(RunningStack stack, string query) =>
        [.. (await stack.GetAsync("/metrics/event/windows" + query)).GetProperty("windows").EnumerateArray()
            .Select(window => window.GetProperty("window_start").GetInt64())];

    [Fact]
    public async Task BadRows_GoToTheDeadLetters_WithReasonAndOrigin_AndHoldUpNoOther()
    {
        await using var stack = await StartAsync();

        await stack.Kafka.SendAsync(Events, 1, "not json", Event(Window(1), "a", 1), Event(Window(1), "a", -1));

        await stack.EverythingIsCommittedAsync();
        await stack.AnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(1)}},"a.count":1}""");
        var letters = stack.Kafka.ReadAll(stack.DeadLetterTopic);
        Assert.Equal(
            [("not_json", Events, "1", "0"), ("bad_measure", Events, "1", "2")],
            letters.Select(letter => (
                KafkaSide.Header(letter, DeadLetters.ReasonHeader), KafkaSide.Header(letter, DeadLetters.TopicHeader),
                KafkaSide.Header(letter, DeadLetters.PartitionHeader), KafkaSide.Header(letter, DeadLetters.OffsetHeader)))
                .OrderBy(letter => letter.Item4));
    }

    [Fact]
    public async Task Readyz_IsReadyBeforeAndAfterALoad()
    {
        await using var stack = await StartAsync();
        await stack.ReadyAsync();

        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 5000).Select(n => Event(Window(n % 50), "a", n)));

        await stack.EverythingIsCommittedAsync();
        await stack.ReadyAsync();
        await stack.AnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(49)}},"a.count":4999}""");
    }

    [Fact]
    public async Task Restart_KeepsTheWindows_AndContinues()
    {
        await using var stack = await StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.EverythingIsCommittedAsync();

        await stack.RestartServiceAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(2), "a", 2));

        await stack.EventuallyAnswersAsync(
            "/metrics/event/windows",
            $$"""{"windows":[{"window_start":{{Window(2)}},"a.count":2},{"window_start":{{Window(1)}},"a.count":1}]}""");
        await stack.EverythingIsCommittedAsync();
    }
}

/// <summary>One embedded Redis for a whole class, whose tests each use their own prefix.</summary>
public sealed class SharedEmbeddedRedis : IAsyncLifetime
{
    private EmbeddedRedis? _redis;

    public string Address => _redis!.ConnectionString;

    public async ValueTask InitializeAsync() => _redis = await EmbeddedRedis.StartAsync();

    public ValueTask DisposeAsync() => _redis!.DisposeAsync();
}

/// <summary>The HTTP tests on an embedded Redis, with a key prefix.</summary>
public sealed class HttpOnEmbeddedRedisTests(SharedEmbeddedRedis redis) : HttpTests, IClassFixture<SharedEmbeddedRedis>
{
    protected override async Task<RunningStack> StartAsync(params (string Key, string Value)[] settings) =>
        await InProcessStack.StartAsync(redis.Address, [("redis_key_prefix", $"{Guid.NewGuid():N}:"), .. settings]);
}

/// <summary>The HTTP tests on a real redis-server, with a password and no key prefix.</summary>
public sealed class HttpOnRealRedisTests : HttpTests, IAsyncDisposable
{
    private RedisServer? _redis;

    public async ValueTask DisposeAsync()
    {
        if (_redis is not null)
        {
            await _redis.DisposeAsync();
        }
    }

    protected override async Task<RunningStack> StartAsync(params (string Key, string Value)[] settings)
    {
        _redis = await RedisServer.StartAsync("s3cret-Pass");
        return await InProcessStack.StartAsync(_redis.ConnectionString, settings);
    }
}
