using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;
using Cache.Embedded;
using Cache.Metrics;
using Cache.Service.Model;
using Cache.Service.Persist;
using Cache.Tests.EndToEnd;
using Cache.Tests.Flush;
using StackExchange.Redis;
using StackExchange.Redis.Profiling;

namespace Cache.Tests.Persist;

public sealed class DimensionLimitTests(RedisServers servers)
{
    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task WindowAtItsLimit_AcceptsNoNewDimension_ButUpdatesThoseItHas(RedisKind kind)
    {
        var redis = new RedisStages(await servers.ConnectAsync(kind), dimensions: 3);
        Assert.True((await redis.WriteAsync(TestRows.Event(1, "a", 1), TestRows.Event(1, "b", 1, 1), TestRows.Event(2, "x", 1))).IsComplete);

        var result = await redis.WriteAsync(
            TestRows.Event(1, "a", 2, 2), TestRows.Event(1, "c", 2), TestRows.Event(1, "d", 2), TestRows.Event(2, "d", 2));

        Assert.Equal(new() { ["a.count"] = "2", ["a.users"] = "2", ["b.count"] = "1", ["b.users"] = "1", ["c.count"] = "2" }, await redis.HashAsync(1));
        Assert.Equal(new() { ["x.count"] = "1", ["d.count"] = "2" }, await redis.HashAsync(2));
        Assert.Equal(RejectReason.TooManyDimensions, result.Refused(TestRows.Event(1, "d", 2)));
        Assert.Equal(RejectReason.None, result.Refused(TestRows.Event(1, "c", 2)));
        Assert.Equal(RejectReason.None, result.Refused(TestRows.Event(2, "d", 2)));
        Assert.Equal(RejectReason.None, result.Refused(TestRows.Performance(1, "d", 2)));

        // A batch that contains only dimensions beyond the limit.
        Assert.False((await redis.WriteAsync(TestRows.Event(1, "e", 3))).IsComplete);
        Assert.True((await redis.WriteAsync(TestRows.Event(1, "c", 3), TestRows.Event(1, "b", 3))).IsComplete);
        Assert.Equal("3", (await redis.HashAsync(1))["c.count"]);
    }

    [Fact]
    public async Task BatchThatAloneExceedsTheLimit_FillsTheWindow_AndNoMore()
    {
        var redis = new RedisStages(await servers.ConnectAsync(RedisKind.Embedded), dimensions: 100);

        var result = await redis.WriteAsync(Enumerable.Range(0, 250).Select(number => TestRows.Performance(1, $"device {number}", 1.5, 2.5)));

        Assert.Equal(150, result.NoRoom.Count);
        Assert.Equal(200, (await redis.HashAsync(1, MetricType.Performance)).Count);
        Assert.False((await redis.WriteAsync(TestRows.Performance(1, "one more", 1.5))).IsComplete);
    }

    [Fact]
    public async Task WindowFilledByAnotherProcess_IsFoundFull_AfterTheFirstWrite()
    {
        var client = await servers.ConnectAsync(RedisKind.Embedded);
        var first = new RedisStages(client, dimensions: 3);
        await first.WriteAsync("abc".Select(type => TestRows.Event(1, $"{type}", 1, 1)));
        var second = new RedisStages(client, dimensions: 3, prefix: first.Options.RedisKeyPrefix);

        // For a window it does not know yet, it may exceed the limit once, by one batch.
        await second.WriteAsync(TestRows.Event(1, "d", 1, 1));
        Assert.False((await second.WriteAsync(TestRows.Event(1, "e", 1))).IsComplete);
        Assert.True((await second.WriteAsync("abcd".Select(type => TestRows.Event(1, $"{type}", 2)))).IsComplete);
    }

    [Fact]
    public async Task WindowDeletedFromRedis_HasRoomAgain()
    {
        var redis = new RedisStages(await servers.ConnectAsync(RedisKind.Embedded), dimensions: 2);
        await redis.WriteAsync(TestRows.Event(1, "a", 1, 1), TestRows.Event(1, "b", 1, 1), TestRows.Event(1, "c", 1, 1));

        await redis.Database.KeyDeleteAsync(redis.Keys.Window(MetricType.Event, 1));

        Assert.True((await redis.WriteAsync(TestRows.Event(1, "x", 1), TestRows.Event(1, "y", 1))).IsComplete);
        Assert.Equal(new() { ["x.count"] = "1", ["y.count"] = "1" }, await redis.HashAsync(1));
    }

    [Fact]
    public async Task FailedWrite_CanBeRetried_WithWhatIsLeft()
    {
        var redis = new RedisStages(await servers.ConnectAsync(RedisKind.Embedded), dimensions: 2);
        var batch = TestRows.Batch(TestRows.Event(1, "a", 1), TestRows.Event(1, "b", 1), TestRows.Event(1, "c", 1));

        await redis.WriteAsync(batch);
        var again = await redis.WriteAsync(batch);

        Assert.Equal(2, (await redis.HashAsync(1)).Count);
        Assert.Single(again.NoRoom);
    }

    [Fact]
    public async Task WindowsOfOneBatch_AreLimitedEachByItself()
    {
        var redis = new RedisStages(await servers.ConnectAsync(RedisKind.Embedded), dimensions: 2);

        var result = await redis.WriteAsync(Enumerable.Range(0, 9).Select(number => TestRows.Event(1 + (number / 3), $"{number}", 1)));

        Assert.Equal([1, 2, 3], result.NoRoom.Select(refused => refused.Window.Start).Order());
        Assert.Equal(2, (await redis.HashAsync(3)).Count);
    }

    [Fact]
    public async Task RefusedDimension_StaysRefused()
    {
        var redis = new RedisStages(await servers.ConnectAsync(RedisKind.Embedded), dimensions: 2);
        await redis.WriteAsync("abc".Select(type => TestRows.Event(1, $"{type}", 1, 1)));

        for (var times = 0; times < 3; times++)
        {
            Assert.Single((await redis.WriteAsync(TestRows.Event(1, "c", 1), TestRows.Event(1, "a", 2))).NoRoom);
        }

        Assert.Equal(new() { ["a.count"] = "2", ["a.users"] = "1", ["b.count"] = "1", ["b.users"] = "1" }, await redis.HashAsync(1));
    }

    [Fact]
    public async Task WindowOfAnotherType_IsReportedByTheWrite_HoweverManyDimensionsItWouldGet()
    {
        var redis = new RedisStages(await servers.ConnectAsync(RedisKind.Embedded), dimensions: 2);
        await redis.Database.StringSetAsync(redis.Keys.Window(MetricType.Event, 1), "somebody else's");

        var result = await redis.WriteAsync(TestRows.Event(1, "a", 1), TestRows.Event(1, "b", 1), TestRows.Event(1, "c", 1));

        Assert.Empty(result.NoRoom);
        Assert.Equal(1, Assert.Single(result.WrongType).Start);
    }

    [Fact]
    public async Task OrdinaryWindows_CostOneMoreCommand_TheFirstTime_AndNeverARoundTrip()
    {
        await using var server = await EmbeddedRedis.StartAsync();
        await using var client = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString);
        var redis = new RedisStages(client);
        await redis.WriteAsync(TestRows.Event(1, "warm", 1));

        var first = await CommandsAsync(client, redis, "a");
        Assert.Equal(["HLEN"], first);
        Assert.Empty(await CommandsAsync(client, redis, "b"));
    }

    [Fact]
    public async Task FullWindow_IsReadOnce_AndThenOnlyForNewDimensions()
    {
        await using var server = await EmbeddedRedis.StartAsync();
        await using var client = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString);
        var redis = new RedisStages(client, dimensions: 4);
        Assert.Equal(["HLEN"], await CommandsAsync(client, redis, "a", "b"));

        // As far as is known, these fill the window exactly.
        Assert.Empty(await CommandsAsync(client, redis, "a", "b"));
        Assert.Equal(["HLEN", "HMGET"], await CommandsAsync(client, redis, "a", "b", "c"));
        Assert.Empty(await CommandsAsync(client, redis, "a", "b", "c"));

        // It fits, so Redis is not asked.
        Assert.Empty(await CommandsAsync(client, redis, "a", "b", "c", "d"));
        Assert.Equal(["HLEN", "HMGET"], await CommandsAsync(client, redis, "e"));
        Assert.Empty(await CommandsAsync(client, redis, "a", "b", "c", "d"));
        Assert.Equal(8, await redis.Database.HashLengthAsync(redis.Keys.Window(MetricType.Event, 60_000)));
    }

    [Fact]
    public async Task Windows_AreForgotten_WhenThereAreTooMany()
    {
        await using var server = await EmbeddedRedis.StartAsync();
        await using var client = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString);
        var redis = new RedisStages(client, retention: 5000);
        await redis.WriteAsync(Enumerable.Range(1, 4096).Select(window => TestRows.Event(window, "a", 1)));
        Assert.Equal(["HLEN"], await CommandsAsync(client, redis, "a"));
        Assert.Empty(await CommandsAsync(client, redis, "a"));
        Assert.Equal(["HLEN"], await CommandsAsync(client, redis, "a"));
    }

    /// <summary>The commands sent to Redis when rows of one window are written.</summary>
    private static async Task<List<string>> CommandsAsync(ConnectionMultiplexer client, RedisStages redis, params string[] types)
    {
        var session = new ProfilingSession();
        client.RegisterProfiler(() => session);
        await redis.WriteAsync(types.Select(type => TestRows.Event(60_000, type, 1, 1)));
        return [.. session.FinishProfiling().Select(command => command.Command).Where(command => command is "HLEN" or "HMGET")];
    }

    [Fact]
    public async Task RowsBeyondTheLimit_AreInTheDeadLetters_AndHoldUpNoOther()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("window_max_dimensions", "2"));
        string[] first = [Rows.Event(Rows.Window(1), "a", 1, 1), Rows.Event(Rows.Window(1), "b", 1, 1)];
        await stack.Kafka.SendAsync(Rows.Events, 0, first.Select((row, number) => Rows.Message(row, $"key {number}")));
        await stack.EverythingIsCommittedAsync(Rows.Events);

        string[] second = [Rows.Event(Rows.Window(1), "c", 1, 1), Rows.Event(Rows.Window(1), "a", 2, 2), Rows.Event(Rows.Window(1), "c", 2, 2), Rows.Event(Rows.Window(2), "c", 3, 3)];
        await stack.Kafka.SendAsync(Rows.Events, 0, second.Select((row, number) => Rows.Message(row, $"key {number + 2}")));
        await stack.EverythingIsCommittedAsync(Rows.Events);

        await stack.AnswersAsync(
            "/metrics/event/windows",
            $$"""{"windows":[{"window_start":{{Rows.Window(2)}},"c.count":3,"c.users":3},{"window_start":{{Rows.Window(1)}},"a.count":2,"a.users":2,"b.count":1,"b.users":1}]}""");
        var letters = stack.Kafka.ReadAll(stack.DeadLetterTopic).Select(letter => (
            Offset: int.Parse(KafkaSide.Header(letter, DeadLetters.OffsetHeader)!, CultureInfo.InvariantCulture),
            Reason: KafkaSide.Header(letter, DeadLetters.ReasonHeader),
            Key: Encoding.UTF8.GetString(letter.Message.Key!),
            Value: Encoding.UTF8.GetString(letter.Message.Value!))).Order();
        Assert.Equal([(2, "too_many_dimensions", "key 2", second[0]), (4, "too_many_dimensions", "key 4", second[2])], letters);
        using var counters = new Counters(stack.Service.Get<IMeterFactory>());
        Assert.Equal(2, counters["cache.dead.letters[too_many_dimensions]"]);
    }
}
