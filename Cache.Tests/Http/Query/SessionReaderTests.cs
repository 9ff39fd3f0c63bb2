using Cache.Service.Http.Query;
using Cache.Tests.Persist;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Http.Query;

public sealed class SessionReaderTests(RedisServers servers)
{
    private const long Now = 1_735_689_600_000;

    private readonly FakeTimeProvider _time = new(DateTimeOffset.FromUnixTimeMilliseconds(Now));

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Sessions_AreReturnedLatestFirst_UpToTheLimit(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 3, 1, 2);

        Assert.Equal(["s1", "s2", "s3"], await IdsAsync(redis, 10));
        Assert.Equal(["s1", "s2"], await IdsAsync(redis, 2));
        Assert.Empty(await IdsAsync(await servers.StagesAsync(kind), 10));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Session_ThatIsNoLongerActive_IsNotServed_EvenIfStillInTheIndex(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 1, 2, 3);

        _time.Advance(TimeSpan.FromSeconds(1900) - TimeSpan.FromMilliseconds(2));

        Assert.Equal(["s1"], await IdsAsync(redis, 10));
        Assert.Equal(3, await redis.Database.SortedSetLengthAsync(redis.Keys.Sessions));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task IndexEntryWhoseHashIsGone_IsNotServed_LeavesTheIndex_AndCostsNoneOfTheLimit(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 1, 2, 3, 4, 5, 6);
        await redis.Database.KeyDeleteAsync([redis.Keys.Session("s1"), redis.Keys.Session("s2"), redis.Keys.Session("s4")]);

        Assert.Equal(["s3", "s5"], await IdsAsync(redis, 2));
        Assert.Equal(["s3", "s5", "s6"], await IdsAsync(redis, 10));
        Assert.Equal(3, await redis.Database.SortedSetLengthAsync(redis.Keys.Sessions));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task KeyOfAnotherType_IsSkipped_AndLeftAlone(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 1, 2);
        await redis.Database.KeyDeleteAsync(redis.Keys.Session("s1"));
        await redis.Database.StringSetAsync(redis.Keys.Session("s1"), "somebody else's");

        Assert.Equal(["s2"], await IdsAsync(redis, 10));
        Assert.Equal("somebody else's", await redis.Database.StringGetAsync(redis.Keys.Session("s1")));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task SessionsOfOneMillisecond_AreEachServedOnce(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 5, 5, 5, 5);
        await redis.WriteAsync(Enumerable.Range(0, 10).Select(n => TestRows.Session($"x{n}", Now - 5)));
        await redis.Database.KeyDeleteAsync([redis.Keys.Session("x3"), redis.Keys.Session("x7")]);

        var ids = await IdsAsync(redis, 100);

        Assert.Equal(9, ids.Distinct().Count());
        Assert.Equal(9, ids.Count);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Read_TakesTwoRoundTrips_HoweverManySessionsThereAre(RedisKind kind)
    {
        var redis = await FilledAsync(kind, [.. Enumerable.Range(1, 50)]);
        var watched = new WatchedRedis(await servers.ConnectAsync(kind));
        var reader = new RedisStages(watched.Client, prefix: redis.Options.RedisKeyPrefix, time: _time).Sessions;

        Assert.Equal(50, (await reader.ReadAsync(100, TestContext.Current.CancellationToken)).Count);

        Assert.Equal(["SortedSetRangeByScoreAsync", "CreateBatch"], watched.Calls[..2]);
        Assert.Equal(2, watched.Calls.Count);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task SessionWrittenDuringItsRemovalFromTheIndex_StaysInIt(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 1, 2);
        await redis.Database.KeyDeleteAsync(redis.Keys.Session("s1"));
        var watched = new WatchedRedis(await servers.ConnectAsync(kind));
        var reader = new RedisStages(watched.Client, prefix: redis.Options.RedisKeyPrefix, time: _time).Sessions;

        // The reader has found no hash, and is about to remove the entry. Just then, the row arrives.
        watched.Before("SortedSetRemoveAsync", () => redis.WriteAsync(TestRows.Session("s1", Now - 1, "back")));
        await reader.ReadAsync(10, TestContext.Current.CancellationToken);

        Assert.Contains("SortedSetRemoveAsync", watched.Calls);
        Assert.Equal(Now - 1, await redis.Database.SortedSetScoreAsync(redis.Keys.Sessions, "s1"));
        Assert.Equal(["s1", "s2"], await IdsAsync(redis, 10));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task SessionThatMovesUpDuringTheRead_DisplacesNoOther_AndNoneIsServedTwice(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 1, 2, 3, 4);
        await redis.Database.KeyDeleteAsync(redis.Keys.Session("s1"));
        var watched = new WatchedRedis(await servers.ConnectAsync(kind));
        var reader = new RedisStages(watched.Client, prefix: redis.Options.RedisKeyPrefix, time: _time).Sessions;

        // The reader has found one session gone, and reads again. Just then, another one moves to the top.
        watched.Before("SortedSetRemoveAsync", () => redis.WriteAsync(TestRows.Session("s4", Now)));
        var sessions = await reader.ReadAsync(3, TestContext.Current.CancellationToken);

        Assert.Equal(["s4", "s2", "s3"], sessions.Select(fields => Array.Find(fields, field => field.Name == "session_id").Value.ToString()));
    }

    [Fact]
    public async Task Limit_IsCappedAtAThousand()
    {
        var redis = await servers.StagesAsync(RedisKind.Embedded, time: _time);
        await redis.WriteAsync(Enumerable.Range(0, SessionReader.MaxSessions + 1).Select(n => TestRows.Session($"s{n}", Now - n)));

        var ids = await IdsAsync(redis, int.MaxValue);

        Assert.Equal(SessionReader.MaxSessions, ids.Count);
        Assert.DoesNotContain($"s{SessionReader.MaxSessions}", ids);
    }

    /// <summary>Writes sessions that ended the given numbers of milliseconds ago, and are named after them.</summary>
    private async Task<RedisStages> FilledAsync(RedisKind kind, params int[] ago)
    {
        var redis = await servers.StagesAsync(kind, time: _time);
        await redis.WriteAsync(ago.Select(ms => TestRows.Session($"s{ms}", Now - ms)));
        return redis;
    }

    private static async Task<List<string>> IdsAsync(RedisStages redis, int limit) =>
        [.. (await redis.Sessions.ReadAsync(limit, TestContext.Current.CancellationToken))
            .Select(fields => Array.Find(fields, field => field.Name == "session_id").Value.ToString())];
}
