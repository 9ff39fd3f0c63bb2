using System.Diagnostics.Metrics;
using System.Text;
using System.Text.Json;
using Cache.Embedded;
using Cache.Metrics;
using Cache.Service.Http;
using Cache.Service.Http.Query;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Tests.EndToEnd;
using Cache.Tests.Persist;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using StackExchange.Redis;

namespace Cache.Tests.Http.Query;

/// <summary>What a replica knows of the newest windows, on whatever way they came to Redis.</summary>
public sealed class FreshnessMonitorTests(RedisServers servers)
{
    private static readonly DateTimeOffset Start = DateTimeOffset.FromUnixTimeMilliseconds(1_710_000_000_000);

    private readonly FakeTimeProvider _time = new(Start);
    private readonly IMeterFactory _meters = new ServiceCollection().AddMetrics().BuildServiceProvider().GetRequiredService<IMeterFactory>();

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task NewestWindows_AreThoseOfTheIndex(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);

        // The smallest gap is before the newest 15.
        await redis.WriteAsync(TestRows.Event(Second(-2), "a", count: 1), TestRows.Event(Second(-3), "a", count: 1), TestRows.Event(Second(-7), "a", count: 1));
        await redis.WriteAsync(Enumerable.Range(0, 15).Select(number => TestRows.Performance(Second(-10 * number), "tv", average: 1)).Append(TestRows.Performance(Second(-141), "tv", average: 1)));
        var (monitor, _) = await StartAsync(redis);
        await PassAsync(0, () => Assert.Equal(
            [new("event", Second(-2), 2, 1, true), new("performance", Second(0), 0, 10, true)], monitor.At(Start)));

        // Windows in the future, and what is no window.
        await redis.WriteAsync(TestRows.Performance(Second(3600), "tv", average: 1));
        await redis.Database.SortedSetAddAsync(redis.Keys.Index(MetricType.Event), "nonsense", Second(10_000));
        await PassAsync(5, () => Assert.Equal(
            [new("event", Second(-2), 2, 1, true), new("performance", Second(3600), -3600, 10, true)], monitor.At(Start)));

        // Nothing announces that windows are gone.
        await redis.Database.KeyDeleteAsync([redis.Keys.Index(MetricType.Event), redis.Keys.Index(MetricType.Performance)]);
        await PassAsync(5, () => Assert.Equal(
            [new("event", null, null, null, false), new("performance", null, null, null, false)], monitor.At(Start)));
        await monitor.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Index_IsReadWithinASecondOfAnUpdate_OtherwiseEveryFiveSeconds()
    {
        var watched = new WatchedRedis(await servers.ConnectAsync(RedisKind.Embedded));
        var redis = new RedisStages(watched.Client);
        var (monitor, hub) = await StartAsync(redis);
        await ReadsAsync(2);

        // An update reads the index of its type only.
        for (var second = 1; second <= 2; second++)
        {
            await redis.WriteAsync(TestRows.Event(Second(second), "a", count: 1));
            hub.Receive(Encoding.UTF8.GetBytes("""{"type":"event","window_start":1,"fields":{"a.count":1}}"""));
            await PassAsync(1, () => Assert.Equal([Second(second), null], monitor.Current.Select(type => type.Newest)));
            await ReadsAsync(2 + second);
        }

        await ReadsAsync(4, afterSeconds: 2.9);
        await ReadsAsync(5, afterSeconds: 0.1);
        await ReadsAsync(5, afterSeconds: 1.9);
        await ReadsAsync(6, afterSeconds: 0.1);

        // After a gap, updates of any type may be missing.
        hub.Gap();
        await ReadsAsync(8, afterSeconds: 1);
        await monitor.StopAsync(TestContext.Current.CancellationToken);

        Task ReadsAsync(int expected, double afterSeconds = 0) =>
            PassAsync(afterSeconds, () => Assert.Equal(expected, watched.Calls.Count(call => call == "SortedSetRangeByRankAsync")));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task IndexThatCannotBeRead_HoldsUpNoOther(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        await redis.Database.StringSetAsync(redis.Keys.Index(MetricType.Event), "mine");
        await redis.WriteAsync(TestRows.Performance(Second(-1), "tv", average: 1));
        var (monitor, _) = await StartAsync(redis);
        await PassAsync(0, () => Assert.Equal([null, Second(-1)], monitor.Current.Select(type => type.Newest)));

        await redis.Database.KeyDeleteAsync(redis.Keys.Index(MetricType.Event));
        await redis.WriteAsync(TestRows.Event(Second(-2), "a", count: 1));
        await PassAsync(1, () => Assert.Equal([Second(-2), Second(-1)], monitor.Current.Select(type => type.Newest)));
        await monitor.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Metrics_HaveTheAge_OnlyOfTypesWithWindows()
    {
        var redis = await servers.StagesAsync(RedisKind.Embedded);
        await redis.WriteAsync(TestRows.Event(Second(-20), "a", count: 1), TestRows.Event(Second(-30), "a", count: 1));
        var (monitor, _) = await StartAsync(redis);
        await PassAsync(0, () => Assert.Equal(
            ["cache.window.age[event] 20", "cache.window.fresh[event] 1", "cache.window.fresh[performance] 0"], Measured("cache.window.age", "cache.window.fresh")));
        _time.Advance(TimeSpan.FromSeconds(60));
        await Eventually.HoldsAsync(() => Assert.Equal(
            ["cache.window.age[event] 80", "cache.window.fresh[event] 0", "cache.window.fresh[performance] 0"], Measured("cache.window.age", "cache.window.fresh")));
        await monitor.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task Metrics_HaveTheWindowsHeld_AndTheDimensionsOfTheNewest()
    {
        var redis = await servers.StagesAsync(RedisKind.Embedded);
        await redis.WriteAsync(TestRows.Event(Second(-20), "a", 1, 2), TestRows.Event(Second(-20), "b", 1, 2), TestRows.Event(Second(-20), "c", count: 1), TestRows.Event(Second(-30), "a", count: 1));
        var (monitor, _) = await StartAsync(redis);
        await PassAsync(0, () => Assert.Equal(
            ["cache.window.dimensions[event] 3", "cache.window.dimensions[performance] 0", "cache.windows.held[event] 2", "cache.windows.held[performance] 0"],
            Measured("cache.window.dimensions", "cache.windows.held")));

        // A newest window that cannot be read hides neither its age nor the others.
        await redis.Database.StringSetAsync(redis.Keys.Window(MetricType.Event, Second(-10)), "mine");
        await redis.Database.SortedSetAddAsync(redis.Keys.Index(MetricType.Event), Second(-10), Second(-10));
        await PassAsync(5, () => Assert.Equal(
            ["cache.window.age[event] 15", "cache.windows.held[event] 3", "cache.windows.held[performance] 0"], Measured("cache.window.age", "cache.windows.held")));
        await monitor.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task SpareReplica_AndOneThatHasJustStarted_KnowTheNewestWindow()
    {
        var redis = await EmbeddedRedis.StartAsync();
        await using var stack = await InProcessStack.PrepareWithoutTopicsAsync(redis.ConnectionString, redis, ("cache_kafka_topics", Rows.Events));
        stack.Broker.CreateTopic(Rows.Events, partitions: 1);
        await stack.StartServiceAsync();
        await stack.ReadyAsync();
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        await stack.Kafka.SendAsync(Rows.Events, 0, Rows.Event(now - 20_000, "a", 1), Rows.Event(now - 10_000, "a", 1));
        await stack.EverythingIsCommittedAsync(Rows.Events);

        await using (var spare = await stack.StartAnotherServiceAsync())
        {
            await Eventually.HoldsAsync(() => Assert.True(spare.Get<Assignment>().IsSpare));
            await KnowsAsync(spare.Http, now - 10_000);
            await stack.Kafka.SendAsync(Rows.Events, 0, Rows.Event(now, "a", 1));
            await KnowsAsync(spare.Http, now);
            Assert.Empty(spare.Get<Assignment>().Current);
        }

        // Without Kafka, nobody can tell it.
        await stack.EverythingIsCommittedAsync(Rows.Events);
        stack.Broker.BreakAllBrokers();
        await stack.RestartServiceAsync();
        await KnowsAsync(stack.Http, now);

        static Task KnowsAsync(HttpClient http, long newest) => Eventually.HoldsAsync(async () =>
        {
            var (time, events, _) = await WindowsAsync(http);
            Assert.Equal(newest, events.Newest);
            Assert.Equal((time - newest) / 1000.0, events.AgeSeconds);
            Assert.Equal((10, true), (events.WindowSeconds, events.Fresh));
        });
    }

    [Fact]
    public async Task Age_GrowsWhileRedisIsDown_AndIsRightAgainAfterwards()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        await stack.Kafka.SendAsync(Rows.Events, 0, Rows.Event(now - 50_000, "a", 1));
        await Eventually.HoldsAsync(async () => Assert.Equal((now - 50_000, true), Known((await WindowsAsync(stack.Http)).Events)));
        await stack.EverythingIsCommittedAsync();

        stack.OwnRedis.Break();
        await Eventually.HoldsAsync(async () => Assert.Contains("Redis does not answer", (await stack.GetAsync("/pipeline")).GetProperty("reasons").EnumerateArray().Select(reason => reason.GetString())));

        // Until well after the next reads have failed, and it is no longer fresh.
        await Eventually.HoldsAsync(async () =>
        {
            var (time, events, _) = await WindowsAsync(stack.Http);
            Assert.Equal((now - 50_000, (time - now + 50_000) / 1000.0), (events.Newest!.Value, events.AgeSeconds!.Value));
            Assert.Equal(events.AgeSeconds < 60, events.Fresh);
            Assert.True(events.AgeSeconds > 62);
        });

        stack.OwnRedis.Mend();
        await stack.Kafka.SendAsync(Rows.Events, 0, Rows.Event(now, "a", 1));
        await Eventually.HoldsAsync(async () => Assert.Equal((now, true), Known((await WindowsAsync(stack.Http)).Events)));

        static (long?, bool) Known(Freshness type) => (type.Newest, type.Fresh);
    }

    [Fact]
    public async Task StackWhoseSimulatorHasStopped_IsNoLongerFresh()
    {
        // Windows of 1 s are fresh for 62 s; these begin 45 s ago.
        var start = TimeProvider.System.GetUtcNow().AddSeconds(-45).ToUnixTimeMilliseconds();
        var options = StackOptions.Parse(
            "--urls", "http://127.0.0.1:0", "--simulator_start", $"{start}", "--simulator_window_seconds", "1", "--simulator_rate", "200", "--simulator_count", "600");
        await using var stack = await EmbeddedStack.StartAsync(options, TestContext.Current.CancellationToken);
        using var http = new HttpClient { BaseAddress = stack.ServiceUri };

        await Eventually.HoldsAsync(() => AreAsync(true));
        await Eventually.HoldsAsync(() => AreAsync(false));

        async Task AreAsync(bool fresh)
        {
            var (_, events, performance) = await WindowsAsync(http);
            Assert.All([events, performance], type =>
            {
                Assert.Equal((1, fresh), (type.WindowSeconds, type.Fresh));
                Assert.Equal(fresh, type.AgeSeconds < 62);
            });
        }
    }

    private static long Second(int seconds) => Start.AddSeconds(seconds).ToUnixTimeMilliseconds();

    /// <summary>The service's clock, and what it says of the default types.</summary>
    private static async Task<(long Time, Freshness Events, Freshness Performance)> WindowsAsync(HttpClient http)
    {
        var pipeline = JsonElement.Parse(await http.GetStringAsync(new Uri("/pipeline", UriKind.Relative)));
        var windows = pipeline.GetProperty("windows").EnumerateArray().Select(type => new Freshness(
            type.GetProperty("type").GetString()!,
            OrNull(type.GetProperty("newest"))?.GetInt64(),
            OrNull(type.GetProperty("age_seconds"))?.GetDouble(),
            OrNull(type.GetProperty("window_seconds"))?.GetDouble(),
            type.GetProperty("fresh").GetBoolean())).ToList();
        Assert.Equal(["event", "performance"], windows.Select(type => type.Type));
        return (pipeline.GetProperty("time").GetInt64(), windows[0], windows[1]);

        static JsonElement? OrNull(JsonElement value) => value.ValueKind == JsonValueKind.Null ? null : value;
    }

    private async Task<(FreshnessMonitor Monitor, UpdateHub Hub)> StartAsync(RedisStages redis)
    {
        var connection = redis.Services.GetRequiredService<RedisConnection>();
        var hub = new UpdateHub(connection, redis.Keys, redis.Options, new StreamMetrics(_meters), _time, null!, NullLogger<UpdateHub>.Instance);
        var monitor = new FreshnessMonitor(connection, redis.Keys, redis.Options, hub, _meters, _time, null!, NullLogger<FreshnessMonitor>.Instance);
        await monitor.StartAsync(TestContext.Current.CancellationToken);
        return (monitor, hub);
    }

    /// <summary>Advances the clock, once, and waits for what must then hold.</summary>
    private Task PassAsync(double seconds, Action holds)
    {
        _time.Advance(TimeSpan.FromSeconds(seconds));
        return Eventually.HoldsAsync(holds);
    }

    private string[] Measured(params string[] names)
    {
        var measured = new List<string>();
        using var listener = new MeterListener();
        listener.InstrumentPublished = (instrument, listener) =>
        {
            if (ReferenceEquals(instrument.Meter.Scope, _meters) && names.Contains(instrument.Name))
            {
                listener.EnableMeasurementEvents(instrument);
            }
        };
        listener.SetMeasurementEventCallback<double>((instrument, value, tags, _) => measured.Add($"{instrument.Name}[{tags[0].Value}] {value}"));
        listener.SetMeasurementEventCallback<int>((instrument, value, tags, _) => measured.Add($"{instrument.Name}[{tags[0].Value}] {value}"));
        listener.SetMeasurementEventCallback<long>((instrument, value, tags, _) => measured.Add($"{instrument.Name}[{tags[0].Value}] {value}"));
        listener.Start();
        listener.RecordObservableInstruments();
        return [.. measured.Order(StringComparer.Ordinal)];
    }
}
