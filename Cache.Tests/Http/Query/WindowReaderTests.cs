using Cache.Metrics;
using Cache.Service.Http.Query;
using Cache.Tests.Persist;
using StackExchange.Redis;

namespace Cache.Tests.Http.Query;

public sealed class WindowReaderTests(RedisServers servers)
{
    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Windows_AreReturnedNewestFirst_WithTheirFields(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 30, 10, 20);
        await redis.WriteAsync(TestRows.Performance(40, "tv", average: 0.5));

        var windows = await ReadAsync(redis, limit: 10);

        Assert.Equal([30, 20, 10], Starts(windows));
        Assert.Equal(new HashEntry("a.count", 30), Assert.Single(windows[0].Fields));
        Assert.Equal(new HashEntry("tv.avg_load_time", 0.5), Assert.Single(Assert.Single(await ReadAsync(redis, limit: 10, rows: MetricType.Performance)).Fields));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task EmptyIndex_HasNoWindows(RedisKind kind) => Assert.Empty(await ReadAsync(await servers.StagesAsync(kind), limit: 10));

    [Theory]
    [InlineData(1, null, null, new long[] { 50 })]
    [InlineData(2, null, null, new long[] { 50, 40 })]
    [InlineData(100, null, null, new long[] { 50, 40, 30, 20, 10 })]
    [InlineData(int.MaxValue, null, null, new long[] { 50, 40, 30, 20, 10 })]
    [InlineData(100, 20L, 40L, new long[] { 40, 30, 20 })]
    [InlineData(100, 21L, 39L, new long[] { 30 })]
    [InlineData(100, 20L, 20L, new long[] { 20 })]
    [InlineData(100, 40L, null, new long[] { 50, 40 })]
    [InlineData(100, null, 20L, new long[] { 20, 10 })]
    [InlineData(2, 10L, 40L, new long[] { 40, 30 })]
    [InlineData(100, 51L, null, new long[0])]
    [InlineData(100, null, 9L, new long[0])]
    public async Task LimitAndInclusiveBounds_SelectTheWindows(int limit, long? from, long? to, long[] expected)
    {
        foreach (var kind in new[] { RedisKind.Embedded, RedisKind.Real })
        {
            var redis = await FilledAsync(kind, 10, 20, 30, 40, 50);
            Assert.Equal(expected, Starts(await ReadAsync(redis, limit, from, to)));
        }
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Limit_IsCappedAtRetention(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind, retention: 2);
        await redis.WriteAsync(TestRows.Event(1, "a", count: 1), TestRows.Event(2, "a", count: 2));

        // Left over from a larger retention.
        await redis.Database.SortedSetAddAsync(redis.Keys.Index(MetricType.Event), 0, 0);
        await redis.Database.HashSetAsync(redis.Keys.Window(MetricType.Event, 0), "a.count", 0);

        Assert.Equal([2, 1], Starts(await ReadAsync(redis, limit: 100)));
    }

    [Theory]
    [InlineData(RedisKind.Embedded, null)]
    [InlineData(RedisKind.Embedded, 10L)]
    [InlineData(RedisKind.Real, null)]
    [InlineData(RedisKind.Real, 10L)]
    public async Task Read_TakesThreeRoundTrips_HoweverManyWindowsThereAre(RedisKind kind, long? from)
    {
        var redis = await FilledAsync(kind, [.. Enumerable.Range(1, 50).Select(window => window * 10L)]);
        var watched = new WatchedRedis(await servers.ConnectAsync(kind));
        var reader = new RedisStages(watched.Client, prefix: redis.Options.RedisKeyPrefix).Reader;

        Assert.Equal(50, (await ReadAsync(reader, MetricType.Event, 100, from, null)).Count);

        // The index, the lengths of the hashes, then all hashes at once.
        Assert.Equal([from is null ? "SortedSetRangeByRankAsync" : "SortedSetRangeByScoreAsync", "CreateBatch", "CreateBatch"], watched.Calls);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Readers_UseTheirOwnConnection_AndWritersNever(RedisKind kind)
    {
        var readers = new WatchedRedis(await servers.ConnectAsync(kind));
        var redis = new RedisStages(await servers.ConnectAsync(kind), readers: readers.Client);

        await redis.WriteAsync(TestRows.Event(10, "a", count: 1));
        Assert.Empty(readers.Calls);

        Assert.Single(await ReadAsync(redis, limit: 10));
        Assert.Equal(["SortedSetRangeByRankAsync", "CreateBatch", "CreateBatch"], readers.Calls);
        await redis.Sessions.ReadAsync(10, TestContext.Current.CancellationToken);
        Assert.Equal("SortedSetRangeByScoreAsync", readers.Calls[3]);
    }

    [Fact]
    public void Parts_HaveALimitedNumberOfFieldsOrOneWindow_AndEachWindowOnceInOrder()
    {
        long[][] cases = [[], [1], [20_000], [20_001], [10_000, 10_000, 1], [1, 20_000, 1], [50_000, 50_000], [.. Enumerable.Repeat(7L, 10_000)]];
        foreach (var fields in cases)
        {
            var windows = fields.Select((count, start) => new FoundWindow(start, count)).ToList();
            var parts = WindowReader.Parts(windows).ToList();

            Assert.Equal(windows, parts.SelectMany(part => part));
            Assert.All(parts, part => Assert.True(part.Count == 1 || part.Sum(window => window.Fields) <= WindowReader.MaxFields));
            Assert.All(parts.Zip(parts.Skip(1)), pair => Assert.True(
                pair.First.Sum(window => window.Fields) + pair.Second[0].Fields > WindowReader.MaxFields, "A part is as large as possible."));
        }
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task WindowDeletedBetweenFindAndRead_IsLeftOut(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 10, 20, 30);
        var found = await redis.Reader.FindAsync(MetricType.Event, 10, null, null, TestContext.Current.CancellationToken);
        await ExpireAsync(redis, 20);
        await redis.Database.KeyDeleteAsync(redis.Keys.Window(MetricType.Event, 30));
        await redis.Database.StringSetAsync(redis.Keys.Window(MetricType.Event, 30), "somebody else's");

        Assert.Equal([10], Starts(await redis.Reader.ReadAsync(MetricType.Event, found, TestContext.Current.CancellationToken)));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task ExpiredWindows_AreNotServed_LeaveTheIndex_AndCostNoneOfTheLimit(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 10, 20, 30, 40, 50, 60);
        await ExpireAsync(redis, 60, 50, 30);

        Assert.Equal([40, 20], Starts(await ReadAsync(redis, limit: 2)));
        Assert.Equal<long[]>([10, 20, 40], await redis.IndexAsync());
        Assert.Equal([40, 20, 10], Starts(await ReadAsync(redis, limit: 3)));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task ExpiredWindows_BetweenBounds_CostNoneOfTheLimit_AndBoundsStillHold(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 10, 20, 30, 40, 50, 60);
        await ExpireAsync(redis, 50, 30);

        Assert.Equal([40, 20], Starts(await ReadAsync(redis, limit: 3, from: 20, to: 50)));
        Assert.Equal<long[]>([10, 20, 40, 60], await redis.IndexAsync());
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Index_OfOnlyExpiredWindows_IsEmptied(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 10, 20, 30);
        await ExpireAsync(redis, 10, 20, 30);

        Assert.Empty(await ReadAsync(redis, limit: 2));
        Assert.Empty(await redis.ContentAsync());
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task KeyOfAnotherType_IsSkipped_AndLeftAlone(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 10, 20, 30);
        await ExpireAsync(redis, 20);
        await redis.Database.StringSetAsync(redis.Keys.Window(MetricType.Event, 20), "somebody else's");

        Assert.Equal([30, 10], Starts(await ReadAsync(redis, limit: 3)));
        Assert.Equal<long[]>([10, 30], await redis.IndexAsync());
        Assert.Equal("somebody else's", await redis.Database.StringGetAsync(redis.Keys.Window(MetricType.Event, 20)));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task MemberThatIsNotATime_IsSkipped_AndRemovedFromTheIndex(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 1);
        await redis.Database.SortedSetAddAsync(redis.Keys.Index(MetricType.Event), "windows", 5);

        Assert.Equal([1], Starts(await ReadAsync(redis, limit: 10)));
        Assert.Equal(1, await redis.Database.SortedSetLengthAsync(redis.Keys.Index(MetricType.Event)));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task WindowWrittenDuringItsRemovalFromTheIndex_StaysInIt(RedisKind kind)
    {
        var redis = await FilledAsync(kind, 10, 20);
        await ExpireAsync(redis, 20);
        var watched = new WatchedRedis(await servers.ConnectAsync(kind));
        var reader = new RedisStages(watched.Client, prefix: redis.Options.RedisKeyPrefix).Reader;

        // The reader has found no hash, and is about to remove the entry. Just then, the row arrives.
        watched.Before("SortedSetRemoveAsync", () => redis.WriteAsync(TestRows.Event(20, "late", count: 1)));
        await ReadAsync(reader, MetricType.Event, 10, null, null);

        Assert.Contains("SortedSetRemoveAsync", watched.Calls);
        Assert.Equal<long[]>([10, 20], await redis.IndexAsync());
        Assert.Equal([20, 10], Starts(await ReadAsync(redis, limit: 10)));
    }

    /// <summary>Writes event windows with one field each.</summary>
    private async Task<RedisStages> FilledAsync(RedisKind kind, params long[] windows)
    {
        var redis = await servers.StagesAsync(kind);
        await redis.WriteAsync(windows.Select(window => TestRows.Event(window, "a", count: window)));
        return redis;
    }

    private static Task<long> ExpireAsync(RedisStages redis, params long[] windows) =>
        redis.Database.KeyDeleteAsync([.. windows.Select(window => redis.Keys.Window(MetricType.Event, window))]);

    private static Task<List<Window>> ReadAsync(RedisStages redis, int limit, long? from = null, long? to = null, MetricType? rows = null) =>
        ReadAsync(redis.Reader, rows ?? MetricType.Event, limit, from, to);

    private static async Task<List<Window>> ReadAsync(WindowReader reader, MetricType rows, int limit, long? from, long? to) =>
        await reader.ReadAsync(rows, await reader.FindAsync(rows, limit, from, to, TestContext.Current.CancellationToken), TestContext.Current.CancellationToken);

    private static IEnumerable<long> Starts(IEnumerable<Window> windows) => windows.Select(window => window.Start);
}
