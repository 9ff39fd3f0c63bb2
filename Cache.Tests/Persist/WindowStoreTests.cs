using System.Diagnostics.Metrics;
using System.Text.Json;
using Cache.Metrics;
using Cache.Service.Persist;
using Cache.Tests.Flush;
using Cache.Tests.Simulation;
using Microsoft.Extensions.DependencyInjection;
using StackExchange.Redis;

namespace Cache.Tests.Persist;

public sealed class WindowStoreTests(RedisServers servers)
{
    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Batch_IsWrittenAsFieldsOfItsWindows(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);

        var result = await redis.WriteAsync(
            TestRows.Event(60_000, "page_view", count: 2, users: 1),
            TestRows.Event(60_000, "größe 🙂", count: long.MaxValue),
            TestRows.Event(0, "page_view", users: 0),
            TestRows.Performance(60_000, "mobile", average: 0.1, p95: 1e300),
            TestRows.Performance(60_000, "tv", p95: 12));

        Assert.Empty(result.WrongType);
        Assert.Equal(new()
        {
            ["metrics:event:0"] = "page_view.users=0",
            ["metrics:event:60000"] = "größe 🙂.count=9223372036854775807 page_view.count=2 page_view.users=1",
            ["metrics:event:windows"] = "0:0 60000:60000",
            ["metrics:perf:60000"] = "mobile.avg_load_time=0.1 mobile.p95_load_time=1E+300 tv.p95_load_time=12",
            ["metrics:perf:windows"] = "60000:60000",
        }, await redis.ContentAsync());
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task LaterBatch_LeavesWhatItDoesNotCarry(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        await redis.WriteAsync(TestRows.Event(1, "a", count: 1, users: 2), TestRows.Event(1, "b", count: 3));

        await redis.WriteAsync(TestRows.Event(1, "a", users: 9));

        Assert.Equal(new() { ["a.count"] = "1", ["a.users"] = "9", ["b.count"] = "3" }, await redis.HashAsync(1));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task IndexMemberThatIsNotATime_IsTrimmed_AndDeletesNothing(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, retention: 1);
        await redis.Database.SortedSetAddAsync(redis.Keys.Index(MetricType.Event), "windows", -1);

        Assert.Empty((await redis.WriteAsync(TestRows.Event(1, "a", count: 1))).WrongType);

        Assert.Equal(new() { ["metrics:event:1"] = "a.count=1", ["metrics:event:windows"] = "1:1" }, await redis.ContentAsync());
    }

    [Fact]
    public async Task TrimmedWindows_AreCounted()
    {
        var redis = await servers.StagesAsync(RedisKind.Embedded, retention: 2);
        using var counters = new Counters(redis.Services.GetRequiredService<IMeterFactory>());

        await redis.WriteAsync(Enumerable.Range(1, 5).Select(window => TestRows.Event(window, "a", count: 1)));

        Assert.Equal(3, counters["cache.windows.trimmed[event]"]);
        Assert.Equal<long[]>([4, 5], await redis.IndexAsync());
    }

    [Fact]
    public async Task RowThatAnotherReplicaWritesDuringTrimming_LeavesNoHash()
    {
        var promises = new Promises(retention: 1);
        var server = promises.Redis = new SimulatedRedis(promises);
        var connection = new ImmediateConnection(server);
        var redis = new RedisStages(connection.Multiplexer, retention: 1);
        var trimmed = $"{redis.Keys.Window(MetricType.Event, 1)}";
        var meddled = false;
        connection.Before = ("ZREM", () => meddled = server.HashSet(trimmed, [new("b.count", "1")]));

        await redis.WriteAsync(TestRows.Event(1, "a", count: 1), TestRows.Event(2, "a", count: 1));

        Assert.True(meddled);
        Assert.Equal([$"{redis.Keys.Window(MetricType.Event, 2)}"], server.Data.Hashes.Keys);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task SameBatchAgain_ChangesNothing(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, retention: 2);
        var batch = TestRows.Batch(TestRows.Event(1, "a", count: 1), TestRows.Event(2, "a", count: 2), TestRows.Event(3, "a", count: 3));
        await redis.Store.WriteAsync(batch);
        var content = await redis.ContentAsync();

        await redis.Store.WriteAsync(batch);

        Assert.Equal(content, await redis.ContentAsync());
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task HashesAndIndex_ExpireAfterTheTtl_CountedFromTheLastWrite(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, ttlSeconds: 1000);
        RedisKey[] keys = [redis.Keys.Window(MetricType.Event, 1), redis.Keys.Index(MetricType.Event), redis.Keys.Window(MetricType.Performance, 1), redis.Keys.Index(MetricType.Performance)];
        for (var write = 0; write < 2; write++)
        {
            await redis.WriteAsync(TestRows.Event(1, "a", count: 1), TestRows.Performance(1, "a", average: 1));
            foreach (var key in keys)
            {
                Assert.InRange((await redis.Database.KeyTimeToLiveAsync(key))!.Value, TimeSpan.FromSeconds(990), TimeSpan.FromSeconds(1000));
                await redis.Database.KeyExpireAsync(key, TimeSpan.FromSeconds(500));
            }
        }
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task WindowWhoseKeyHoldsAnotherType_IsReportedAndNotIndexed_AndTheOthersAreWritten(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        await redis.Database.StringSetAsync(redis.Keys.Window(MetricType.Event, 2), "somebody else's");

        var result = await redis.WriteAsync(
            TestRows.Event(1, "a", count: 1), TestRows.Event(2, "a", count: 2), TestRows.Event(3, "a", count: 3), TestRows.Performance(2, "a", p95: 4));

        Assert.Equal([new(MetricType.Event, 2)], result.WrongType);
        Assert.Null(await redis.Database.KeyTimeToLiveAsync(redis.Keys.Window(MetricType.Event, 2)));
        Assert.Equal(new()
        {
            ["metrics:event:1"] = "a.count=1",
            ["metrics:event:2"] = "somebody else's",
            ["metrics:event:3"] = "a.count=3",
            ["metrics:event:windows"] = "1:1 3:3",
            ["metrics:perf:2"] = "a.p95_load_time=4",
            ["metrics:perf:windows"] = "2:2",
        }, await redis.ContentAsync());
    }

    [Theory]
    [InlineData(RedisKind.Embedded, 5)]
    [InlineData(RedisKind.Embedded, 1)]
    [InlineData(RedisKind.Real, 5)]
    [InlineData(RedisKind.Real, 1)]
    public async Task WindowWhoseKeyHoldsAnotherType_PushesNoneOutOfRetention_AndIsNotDeleted(RedisKind kind, long wrong)
    {
        var redis = await servers.StagesAsync(kind, retention: 3);
        await redis.WriteAsync(TestRows.Event(2, "a", count: 2), TestRows.Event(3, "a", count: 3), TestRows.Event(4, "a", count: 4));
        await redis.Database.StringSetAsync(redis.Keys.Window(MetricType.Event, wrong), "somebody else's");

        await redis.WriteAsync(TestRows.Event(wrong, "a", count: 5));

        Assert.Equal<long[]>([2, 3, 4], await redis.IndexAsync());
        Assert.NotEmpty(await redis.HashAsync(2));
        Assert.Equal("somebody else's", await redis.Database.StringGetAsync(redis.Keys.Window(MetricType.Event, wrong)));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task IndexOfAnotherType_IsReportedForAllItsWindows_AndTheOtherTypeIsWritten(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        await redis.Database.StringSetAsync(redis.Keys.Index(MetricType.Event), "somebody else's");

        var result = await redis.WriteAsync(TestRows.Event(1, "a", count: 1), TestRows.Event(2, "a", count: 2), TestRows.Performance(1, "a", p95: 4));

        Assert.Equal([new(MetricType.Event, 1), new(MetricType.Event, 2)], result.WrongType.OrderBy(window => window.Start));
        Assert.Null(await redis.Database.KeyTimeToLiveAsync(redis.Keys.Index(MetricType.Event)));
        Assert.Equal(new()
        {
            ["metrics:event:windows"] = "somebody else's",
            ["metrics:perf:1"] = "a.p95_load_time=4",
            ["metrics:perf:windows"] = "1:1",
        }, await redis.ContentAsync());
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task KeyOfAnotherType_KeepsItsTtl(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        RedisKey[] foreign = [redis.Keys.Window(MetricType.Event, 2), redis.Keys.Index(MetricType.Performance)];
        foreach (var key in foreign)
        {
            await redis.Database.StringSetAsync(key, "somebody else's", TimeSpan.FromSeconds(600));
        }

        for (var times = 0; times < 2; times++)
        {
            await redis.WriteAsync(TestRows.Event(2, "a", count: 2), TestRows.Performance(2, "a", p95: 4));
            foreach (var key in foreign)
            {
                Assert.InRange((await redis.Database.KeyTimeToLiveAsync(key))!.Value, TimeSpan.FromSeconds(580), TimeSpan.FromSeconds(600));
            }
        }
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Write_ReturnsTheEpochOfRedis(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        Assert.True((await redis.WriteAsync(TestRows.Event(1, "a", count: 1))).Epoch.IsNull);

        await redis.Database.StringSetAsync(redis.Keys.Epoch, "id event_metrics/0");
        Assert.Equal("id event_metrics/0", (await redis.WriteAsync(TestRows.Event(1, "a", count: 1))).Epoch);
    }

    // Not on the embedded server: it answers some of 10,000 GETs of a list as if the key did not exist.
    [Fact]
    public async Task Write_WithAnEpochKeyOfAnotherType_ReturnsAnEmptyEpoch()
    {
        var redis = await servers.StagesAsync(RedisKind.Real);
        await redis.Database.ListLeftPushAsync(redis.Keys.Epoch, "x");
        Assert.Equal("", (await redis.WriteAsync(TestRows.Event(1, "a", count: 1))).Epoch);
    }

    [Theory]
    [InlineData("get")]
    [InlineData("hset hmset")]
    [InlineData("expire")]
    [InlineData("zadd")]
    [InlineData("zrange")]
    [InlineData("zrem")]
    [InlineData("del unlink")]
    public async Task AnyCommandThatRedisRefuses_FailsTheWrite_SoThatItIsRetried(string commands)
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString);
        var redis = new RedisStages(client, retention: 1);
        await redis.WriteAsync(TestRows.Event(1, "a", count: 1));
        await AllowAsync('-');

        var error = await Assert.ThrowsAsync<RedisServerException>(() => redis.WriteAsync(TestRows.Event(2, "a", count: 2)));

        Assert.StartsWith("NOPERM", error.Message, StringComparison.Ordinal);
        await AllowAsync('+');
        await redis.WriteAsync(TestRows.Event(2, "a", count: 2));
        Assert.Equal(new() { ["metrics:event:2"] = "a.count=2", ["metrics:event:windows"] = "2:2" }, await redis.ContentAsync());

        Task AllowAsync(char sign) => redis.Database.ExecuteAsync("ACL", ["SETUSER", "default", .. commands.Split(' ').Select(command => sign + command)]);
    }

    [Fact]
    public async Task Write_WhenRedisIsDown_Fails()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString + ",abortConnect=false,syncTimeout=1000,asyncTimeout=1000");
        var redis = new RedisStages(client);
        server.Kill();

        var error = await Assert.ThrowsAnyAsync<Exception>(() => redis.WriteAsync(TestRows.Event(1, "a", count: 1)));

        Assert.True(RedisErrors.IsUnavailable(error), error.ToString());
        Assert.False(RedisErrors.IsWrongType(error));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Publish_SendsEachWrittenWindowAsJson(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        var updates = await redis.Subscriber.SubscribeAsync(redis.Keys.Updates);

        await redis.Store.PublishAsync(
            TestRows.Batch(
                TestRows.Event(1710000000000, "page \"view\" é", count: 1), TestRows.Event(1710000000000, "page \"view\" é", count: 2, users: 1),
                TestRows.Event(5, "not written", count: 1), TestRows.Performance(0, "mobile", average: 0.25)),
            new("", [new(MetricType.Event, 5)], TestRows.Batch().Refused, SessionResult.None));

        Assert.Equal(
            """{"type":"event","window_start":1710000000000,"fields":{"page \"view\" é.count":2,"page \"view\" é.users":1}}""", await NextAsync());
        Assert.Equal("""{"type":"performance","window_start":0,"fields":{"mobile.avg_load_time":0.25}}""", await NextAsync());

        async Task<string> NextAsync()
        {
            var message = await updates.ReadAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TestTimeout.Full);
            using var json = JsonDocument.Parse(message.Message.ToString());
            return JsonSerializer.Serialize(json.RootElement, Readable);
        }
    }

    [Fact]
    public async Task OnACluster_TheIndexListsAWindowOrASession_OnlyOnceItsHashExists()
    {
        var cluster = new OneNodeCluster(await servers.ConnectAsync(RedisKind.Embedded));
        var redis = new RedisStages(cluster.Client);
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();

        await redis.WriteAsync(TestRows.Event(1, "a", count: 1), TestRows.Session("s", now));

        Assert.Equal(
            [
                ("StringGet KeyTimeToLive HashSet KeyExpire HashLength KeyTimeToLive HashSet KeyExpire", true),
                ("SortedSetAdd SortedSetRemoveRangeByScore KeyTimeToLive KeyExpire SortedSetRangeByRankWithScores KeyTimeToLive SortedSetAdd KeyExpire SortedSetRangeByRank", true),
            ],
            cluster.Pipelines);
        Assert.Equal(
            new()
            {
                ["metrics:event:1"] = "a.count=1",
                ["metrics:event:windows"] = "1:1",
                ["session:s"] = $"end_time={now} session_id=s",
                ["sessions:active"] = $"s:{now}",
            },
            await redis.ContentAsync());
    }

    private static readonly JsonSerializerOptions Readable = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };
}
