using System.Diagnostics.Metrics;
using Cache.Service.Model;
using Cache.Tests.Flush;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Time.Testing;
using StackExchange.Redis;

namespace Cache.Tests.Persist;

/// <summary>Sessions in Redis: active for 1900 s after their end, with a clock that the test controls.</summary>
public sealed class SessionStoreTests(RedisServers servers)
{
    private const long Now = 1_735_689_600_000;
    private const long Ttl = 1_900_000;

    private readonly FakeTimeProvider _time = new(DateTimeOffset.FromUnixTimeMilliseconds(Now));

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Sessions_AreHashesOnAnIndexByTheirEnd(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);

        var result = await redis.WriteAsync(
            TestRows.Session("s-1", Now - 5, "u ü", Now - 65, 60, 3, "Mobile"), TestRows.Session("7", Now - 9), TestRows.Event(1, "a", count: 1));

        Assert.Equal(["s-1", "7"], result.Sessions.Written.Select(session => session.Id));
        Assert.Equal(new()
        {
            ["metrics:event:1"] = "a.count=1",
            ["metrics:event:windows"] = "1:1",
            ["session:7"] = $"end_time={Now - 9} session_id=7",
            ["session:s-1"] = $"device_category=Mobile duration=60 end_time={Now - 5} page_count=3 session_id=s-1 start_time={Now - 65} user_id=u ü",
            ["sessions:active"] = $"7:{Now - 9} s-1:{Now - 5}",
        }, await redis.ContentAsync());
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task LaterRow_LeavesWhatItDoesNotCarry(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);
        await redis.WriteAsync(TestRows.Session("s", Now - 9, "u", pages: 1, device: "TV"));

        await redis.WriteAsync(TestRows.Session("s", Now - 5, pages: 2));

        Assert.Equal(
            new() { ["session:s"] = $"device_category=TV end_time={Now - 5} page_count=2 session_id=s user_id=u", ["sessions:active"] = $"s:{Now - 5}" },
            await redis.ContentAsync());
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Session_ExpiresAtItsEndPlusTtl_AndTheIndexWithTheLastOfThem(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);

        await redis.WriteAsync(TestRows.Session("past", Now - 900_000), TestRows.Session("now", Now), TestRows.Session("future", Now + 500_000));

        await ExpiresInAsync(redis.Keys.Session("past"), 1000);
        await ExpiresInAsync(redis.Keys.Session("now"), 1900);
        await ExpiresInAsync(redis.Keys.Session("future"), 2400);
        await ExpiresInAsync(redis.Keys.Sessions, 2400);

        async Task ExpiresInAsync(RedisKey key, int seconds) =>
            Assert.InRange((await redis.Database.KeyTimeToLiveAsync(key))!.Value, TimeSpan.FromSeconds(seconds - 20), TimeSpan.FromSeconds(seconds));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Index_StaysForTheLongestSession_AlsoWhenALaterBatchHasOnlyShorterOnes(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);
        await redis.WriteAsync(TestRows.Session("future", Now + 500_000));

        await redis.WriteAsync(TestRows.Session("now", Now));

        Assert.InRange((await redis.Database.KeyTimeToLiveAsync(redis.Keys.Sessions))!.Value, TimeSpan.FromSeconds(2380), TimeSpan.FromSeconds(2400));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task KeyOfAnotherType_KeepsItsTtl(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);
        RedisKey[] foreign = [redis.Keys.Session("b"), redis.Keys.Sessions];
        foreach (var key in foreign)
        {
            await redis.Database.StringSetAsync(key, "somebody else's", TimeSpan.FromSeconds(600));
        }

        await redis.WriteAsync(TestRows.Session("a", Now), TestRows.Session("b", Now));

        foreach (var key in foreign)
        {
            Assert.InRange((await redis.Database.KeyTimeToLiveAsync(key))!.Value, TimeSpan.FromSeconds(580), TimeSpan.FromSeconds(600));
        }
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task IndexEntries_OfSessionsThatAreNoLongerActive_AreTrimmedByTheNextWrite(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);
        using var counters = new Counters(redis.Services.GetRequiredService<IMeterFactory>());
        await redis.WriteAsync(TestRows.Session("first", Now - 1), TestRows.Session("second", Now), TestRows.Session("third", Now + 1));

        _time.Advance(TimeSpan.FromMilliseconds(Ttl));
        await redis.WriteAsync(TestRows.Session("new", Now + Ttl));

        Assert.Equal(["third", "new"], await IndexAsync(redis));
        Assert.Equal(2, counters["cache.windows.trimmed[session]"]);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task SessionThatEndedTooLongAgo_IsNotWritten_AndChangesNothing(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);
        await redis.WriteAsync(TestRows.Session("late", Now - 5, "u"));
        var content = await redis.ContentAsync();
        using var counters = new Counters(redis.Services.GetRequiredService<IMeterFactory>());

        var result = await redis.WriteAsync(TestRows.Session("old", Now - Ttl), TestRows.Session("late", Now - Ttl, "v"));
        Assert.Equal(2, counters["cache.sessions.inactive"]);

        Assert.Empty(result.Sessions.Written);
        Assert.Empty(result.Sessions.WrongType);
        Assert.Equal(content, await redis.ContentAsync());
        Assert.Single((await redis.WriteAsync(TestRows.Session("old", Now - Ttl + 1))).Sessions.Written);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task HashWithoutATtl_GetsOne_EvenIfItsSessionIsOld(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);
        await redis.Database.HashSetAsync(redis.Keys.Session("s"), "session_id", "s");

        await redis.WriteAsync(TestRows.Session("s", Now - Ttl));

        Assert.NotNull(await redis.Database.KeyTimeToLiveAsync(redis.Keys.Session("s")));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task OldSession_KeepsAnExistingTtl(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);
        await redis.WriteAsync(TestRows.Session("s", Now - Ttl + 300_000));
        await redis.Database.StringSetAsync(redis.Keys.Session("foreign"), "somebody else's");

        var result = await redis.WriteAsync(TestRows.Session("s", Now - Ttl), TestRows.Session("foreign", Now - Ttl), TestRows.Session("none", Now - Ttl));

        Assert.Empty(result.Sessions.WrongType);
        Assert.InRange((await redis.Database.KeyTimeToLiveAsync(redis.Keys.Session("s")))!.Value, TimeSpan.FromSeconds(280), TimeSpan.FromSeconds(300));
        Assert.Null(await redis.Database.KeyTimeToLiveAsync(redis.Keys.Session("foreign")));
        Assert.Equal("somebody else's", await redis.Database.StringGetAsync(redis.Keys.Session("foreign")));
        Assert.False(await redis.Database.KeyExistsAsync(redis.Keys.Session("none")));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task EndThatGoesBack_MovesTheSessionBack(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);

        await redis.WriteAsync(TestRows.Session("a", Now - 1), TestRows.Session("b", Now - 5), TestRows.Session("a", Now - 9));

        Assert.Equal(["a", "b"], await IndexAsync(redis));
        Assert.Equal(Now - 9, (long)await redis.Database.HashGetAsync(redis.Keys.Session("a"), "end_time"));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task SessionWhoseKeyHoldsAnotherType_IsReportedAndNotIndexed_AndTheOthersAreWritten(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);
        await redis.Database.StringSetAsync(redis.Keys.Session("b"), "somebody else's");

        var result = await redis.WriteAsync(TestRows.Session("a", Now - 1), TestRows.Session("b", Now - 2), TestRows.Session("c", Now - 3));

        Assert.Equal(["b"], result.Sessions.WrongType);
        Assert.Null(await redis.Database.KeyTimeToLiveAsync(redis.Keys.Session("b")));
        Assert.Equal(["a", "c"], result.Sessions.Written.Select(session => session.Id));
        Assert.Equal(["c", "a"], await IndexAsync(redis));
        Assert.Equal("somebody else's", await redis.Database.StringGetAsync(redis.Keys.Session("b")));
        Assert.Equal(RejectReason.WrongKeyType, result.Refused(TestRows.Session("b", 5)));
        Assert.Equal(RejectReason.None, result.Refused(TestRows.Session("a", 5)));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task IndexOfAnotherType_IsReportedForAllSessions_AndWindowsAreWritten(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);
        await redis.Database.StringSetAsync(redis.Keys.Sessions, "somebody else's");

        var result = await redis.WriteAsync(TestRows.Session("a", Now - 1), TestRows.Session("b", Now - 2), TestRows.Event(1, "a", count: 1));

        Assert.Equal(["a", "b"], result.Sessions.WrongType);
        Assert.Null(await redis.Database.KeyTimeToLiveAsync(redis.Keys.Sessions));
        Assert.Empty(result.Sessions.Written);
        Assert.Empty(result.WrongType);
        Assert.Equal(new()
        {
            ["metrics:event:1"] = "a.count=1",
            ["metrics:event:windows"] = "1:1",
            ["sessions:active"] = "somebody else's",
        }, await redis.ContentAsync());
    }

    [Theory]
    [InlineData("hset hmset")]
    [InlineData("pexpire expire")]
    [InlineData("zadd")]
    [InlineData("zremrangebyscore")]
    [InlineData("zrange")]
    [InlineData("hexists")]
    [InlineData("pttl")]
    public async Task AnyCommandThatRedisRefuses_FailsTheWrite_SoThatItIsRetried(string commands)
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString);
        var redis = new RedisStages(client, time: _time);
        await AllowAsync('-');

        var error = await Assert.ThrowsAsync<RedisServerException>(() => redis.WriteAsync(TestRows.Session("a", Now - 1), TestRows.Session("old", Now - Ttl)));

        Assert.StartsWith("NOPERM", error.Message, StringComparison.Ordinal);
        await AllowAsync('+');
        Assert.Single((await redis.WriteAsync(TestRows.Session("a", Now - 1), TestRows.Session("old", Now - Ttl))).Sessions.Written);

        Task AllowAsync(char sign) => redis.Database.ExecuteAsync("ACL", ["SETUSER", "default", .. commands.Split(' ').Select(command => sign + command)]);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Publish_SendsEachWrittenSessionAsJson(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, time: _time);
        var updates = await redis.Subscriber.SubscribeAsync(redis.Keys.Updates);
        var batch = TestRows.Batch(
            TestRows.Session("1", Now - 5, "2", Now - 65, 60, 3, "Mobile"), TestRows.Session("old", Now - Ttl), TestRows.Session("b", Now));

        await redis.Store.PublishAsync(batch, await redis.Store.WriteAsync(batch));

        Assert.Equal(
            $$$"""{"type":"session","session_id":"1","fields":{"user_id":"2","start_time":{{{Now - 65}}},"end_time":{{{Now - 5}}},"duration":60,"page_count":3,"device_category":"Mobile"}}""",
            await NextAsync());
        Assert.Equal($$$"""{"type":"session","session_id":"b","fields":{"end_time":{{{Now}}}}}""", await NextAsync());

        async Task<string> NextAsync() =>
            (await updates.ReadAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TestTimeout.Full)).Message.ToString();
    }

    private static async Task<string[]> IndexAsync(RedisStages redis) =>
        Array.ConvertAll(await redis.Database.SortedSetRangeByRankAsync(redis.Keys.Sessions), id => id.ToString());
}
