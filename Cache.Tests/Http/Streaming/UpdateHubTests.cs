using System.Collections.Concurrent;
using System.Diagnostics.Metrics;
using System.Text;
using Cache.Embedded;
using Cache.Metrics;
using Cache.Service.Http;
using Cache.Service.Http.Streaming;
using Cache.Service.Options;
using Cache.Service.Persist;
using Cache.Tests.EndToEnd;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using StackExchange.Redis;
using Proxy = Cache.Tests.Simulation.Proxy;

namespace Cache.Tests.Http.Streaming;

public sealed class UpdateHubTests
{
    private readonly UpdateHub _hub = Hub();

    [Fact]
    public void Open_ForANewClient_StartsWithAResync()
    {
        Send(1, 3);

        Assert.Equal(["start 3"], Taken(_hub.Open(null)));
    }

    [Fact]
    public void Open_WithTheLastEventId_ReplaysWhatWasMissed()
    {
        Send(1, 5);

        var client = _hub.Open(_hub.IdOf(2));
        Send(6, 6);

        Assert.Equal(["3", "4", "5", "6"], Taken(client));
    }

    [Fact]
    public void Open_WithTheLatestEventId_HasNothingToReplay()
    {
        Send(1, 5);

        Assert.Empty(Taken(_hub.Open(_hub.IdOf(5))));
    }

    [Theory]
    [InlineData("00000000-3")]
    [InlineData("nonsense")]
    [InlineData("")]
    public void Open_WithAnIdOfAnotherProcess_StartsWithAResync(string id)
    {
        Send(1, 5);

        Assert.Equal(["gap 5"], Taken(_hub.Open(id)));
    }

    [Fact]
    public void Open_WithAnIdThatIsNoLongerKept_StartsWithAResync()
    {
        Send(1, UpdateHub.KeptUpdates + 10);

        Assert.Equal([$"gap {UpdateHub.KeptUpdates + 10}"], Taken(_hub.Open(_hub.IdOf(9))));
        Assert.Equal(UpdateHub.KeptUpdates, Taken(_hub.Open(_hub.IdOf(10))).Count);
    }

    [Fact]
    public void Open_WithAnIdFromTheFuture_StartsWithAResync()
    {
        Send(1, 5);

        Assert.Equal(["gap 5"], Taken(_hub.Open(_hub.IdOf(6))));
    }

    [Fact]
    public void SlowClient_GetsAResync_AndContinuesFromThere()
    {
        var client = _hub.Open(null);
        Taken(client);

        Send(1, UpdateHub.KeptUpdates + 1);

        Assert.Equal([$"slow {UpdateHub.KeptUpdates + 1}"], Taken(client));
        Send(5000, 5000);
        Assert.Equal([$"{UpdateHub.KeptUpdates + 2}"], Taken(client));
    }

    [Fact]
    public void ClientThatIsNotTooSlow_MissesNothing()
    {
        var client = _hub.Open(null);
        Taken(client);

        Send(1, UpdateHub.KeptUpdates);

        Assert.Equal(Enumerable.Range(1, UpdateHub.KeptUpdates).Select(number => $"{number}"), Taken(client));
    }

    [Fact]
    public void LargeUpdates_AreKeptForAShorterTime()
    {
        var client = _hub.Open(null);
        Taken(client);
        var large = $$$"""{"type":"event","window_start":1,"fields":{"{{{new string('x', 1024 * 1024)}}}.count":1}}""";

        for (var number = 0; number < 40; number++)
        {
            _hub.Receive(Encoding.UTF8.GetBytes(large));
        }

        Assert.Equal(["slow 40"], Taken(client));
        Assert.Equal(["39", "40"], Taken(_hub.Open(_hub.IdOf(38))));
    }

    [Fact]
    public void Gap_ReachesEveryClient_AndIsNeverReplayedOver()
    {
        Send(1, 5);
        var client = _hub.Open(_hub.IdOf(5));

        _hub.Gap();
        Send(6, 6);

        Assert.Equal(["gap 7"], Taken(client));
        Assert.Equal(["gap 7"], Taken(_hub.Open(_hub.IdOf(5))));
        Assert.Equal(["7"], Taken(_hub.Open(_hub.IdOf(6))));
    }

    [Fact]
    public async Task Gap_WakesEveryClient()
    {
        var client = _hub.Open(null);
        Taken(client);
        var woken = client.WaitAsync().AsTask();
        Assert.False(woken.IsCompleted);

        _hub.Gap();

        Assert.True(await woken.WaitAsync(Eventually.TestTimeout, TestContext.Current.CancellationToken));
    }

    [Fact]
    public void Latest_IsKeptByType_AndAGapIsOfAll()
    {
        Send(1, 2);
        _hub.Receive("""{"type":"performance","fields":{"tv.avg_load_time":1}}"""u8.ToArray());
        _hub.Receive("""{"type":"session","fields":{"device_category":"tv"}}"""u8.ToArray());
        Assert.Equal((2, 3, 3), Latest());

        Send(5, 5);
        Assert.Equal((5, 3, 5), Latest());

        _hub.Gap();
        Assert.Equal((6, 6, 6), Latest());

        (long Event, long Performance, long Any) Latest() => (_hub.Latest.Of(MetricType.Event), _hub.Latest.Of(MetricType.Performance), _hub.Latest.OfAny());
    }

    [Fact]
    public async Task Update_WakesEveryClient_UntilItIsClosed()
    {
        var client = _hub.Open(null);
        Taken(client);
        Assert.Equal(1, _hub.Clients);
        var woken = client.WaitAsync().AsTask();
        Assert.False(woken.IsCompleted);

        Send(1, 1);
        Assert.True(await woken.WaitAsync(Eventually.TestTimeout, TestContext.Current.CancellationToken));

        client.ResetWake();
        _hub.Close(client);
        Send(2, 2);
        Assert.Equal(0, _hub.Clients);
        woken = client.WaitAsync().AsTask();
        Assert.False(woken.IsCompleted);
        client.End();
        Assert.False(await woken.WaitAsync(Eventually.TestTimeout, TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Heartbeats_ReachEveryClient_InTimeForProxies()
    {
        var time = new FakeTimeProvider();
        var never = new TaskCompletionSource<ChannelMessageQueue>();
        var running = new TaskCompletionSource();
        using var hub = Hub(LinkTo(Proxy.Of<ISubscriber>((_, _) =>
        {
            running.TrySetResult();
            return never.Task;
        })), time);
        StreamClient[] clients = [hub.Open(null), hub.Open(null)];
        await hub.StartAsync(TestContext.Current.CancellationToken);
        await running.Task.WaitAsync(Eventually.TestTimeout, TestContext.Current.CancellationToken);

        for (var beat = 0; beat < 3; beat++)
        {
            Assert.All(clients, client => Assert.False(client.TakeHeartbeat()));

            // Proxies close a connection that is silent for a minute, some after half a minute.
            for (var second = 0; second < 25 && !clients[0].TakeHeartbeat(); second++)
            {
                time.Advance(TimeSpan.FromSeconds(1));
            }

            Assert.True(clients[1].TakeHeartbeat());
            Assert.True(await clients[1].WaitAsync().AsTask().WaitAsync(Eventually.TestTimeout, TestContext.Current.CancellationToken));
        }
    }

    [Fact]
    public async Task LostConnection_AndRestoredConnection_AreAGapEach()
    {
        await using var server = await EmbeddedRedis.StartAsync();
        await using var redis = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString);
        var queue = await redis.GetSubscriber().SubscribeAsync(RedisChannel.Literal("cache:updates"));
        var events = new ConcurrentDictionary<string, Delegate>();
        using var hub = Hub(LinkTo(Proxy.Of<ISubscriber>((name, _) => name == "PingAsync" ? Task.FromResult(TimeSpan.Zero) : Task.FromResult(queue)), events));
        await hub.StartAsync(TestContext.Current.CancellationToken);
        await Eventually.HoldsAsync(() => Assert.Equal(["ConnectionFailed", "ConnectionRestored"], events.Keys.Order()));

        // Updates published between the two are lost: a client that read everything after the first has to read it again.
        var client = hub.Open(null);
        Taken(client);
        foreach (var (_, handler) in events)
        {
            handler.DynamicInvoke(null, null);
            Assert.Single(Taken(client), item => item.StartsWith("gap", StringComparison.Ordinal));
        }

        await hub.StopAsync(TestContext.Current.CancellationToken);
    }

    [Fact]
    public async Task FailedSubscription_IsCancelled_BeforeTheNextAttempt()
    {
        await using var server = await EmbeddedRedis.StartAsync();
        await using var redis = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString);
        var subscriber = redis.GetSubscriber();
        var queues = new ConcurrentQueue<ChannelMessageQueue>();

        // The first attempt fails after the client library has recorded it, as when the connection is lost at that moment.
        var failing = Proxy.Of<ISubscriber>((name, args) => name switch
        {
            "SubscribeAsync" => SubscribeAsync((RedisChannel)args[0]!),
            "Unsubscribe" => Unsubscribe((RedisChannel)args[0]!),
            "PingAsync" => Task.FromResult(TimeSpan.Zero),
            "SubscribedEndpoint" => null,
            _ => throw new NotSupportedException(name),
        });
        using var hub = Hub(LinkTo(failing));

        await hub.StartAsync(TestContext.Current.CancellationToken);
        await Eventually.HoldsAsync(() => Assert.Equal(2, queues.Count));
        await subscriber.PublishAsync(RedisChannel.Literal("cache:updates"), Message);
        await Eventually.HoldsAsync(() => Assert.Equal(1, hub.Last));
        await hub.StopAsync(TestContext.Current.CancellationToken);

        // Nobody would ever read this queue.
        Assert.True(queues.First().Completion.IsCompleted);
        Assert.False(queues.First().TryRead(out _));
        Assert.False(queues.Last().Completion.IsCompleted);

        async Task<ChannelMessageQueue> SubscribeAsync(RedisChannel channel)
        {
            var queue = await subscriber.SubscribeAsync(channel);
            queues.Enqueue(queue);
            return queues.Count > 1 ? queue : throw new RedisException("gone");
        }

        object? Unsubscribe(RedisChannel channel)
        {
            subscriber.Unsubscribe(channel);
            return null;
        }
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("""{"type":"event","fields":3}""")]
    [InlineData("""{"type":3,"fields":{}}""")]
    [InlineData("""{"type":"event","fields":{}} {}""")]
    [InlineData("""{"type":"event","fields":{"a.count":1}""")]
    [InlineData("""{"type":"session","fields":{},"fields":1}""")]
    [InlineData("""{"type":"event","fields":1,"fields":{"a.count":1}}""")]
    [InlineData("""{"type":"event","fields":{"a.count":1},"fields":{"b.count":1}}""")]
    [InlineData("""{"type":"event","type":"session","fields":{"a.count":1}}""")]
    [InlineData("""{"type":"event","fields":{"\ud800":1}}""")]
    [InlineData("""{"type":"event","fields":{"a.count":1},"\udc00":2}""")]
    [InlineData("""{"type":"session","fields":{"device_category":"\ud800x"}}""")]
    [InlineData("""{"type":"event","fields":{"a.count":1},"more":[{"x":["\ud800"]}]}""")]
    [InlineData("""{"type":"ping","fields":{"a.count":1}}""")]
    [InlineData("""{"type":"Event","fields":{"a.count":1}}""")]
    [InlineData("""{"type":null,"fields":{"a.count":1}}""")]
    public void MessageThatIsNotAnUpdate_IsIgnored(string message)
    {
        var client = _hub.Open(null);
        Taken(client);

        _hub.Receive(Encoding.UTF8.GetBytes(message));

        Assert.Empty(Taken(client));
    }

    [Fact]
    public void MessageThatIsNotUtf8_OrNestedTooDeep_IsIgnored()
    {
        var client = _hub.Open(null);
        Taken(client);

        _hub.Receive([.. "{\"type\":\"event\",\"fields\":{\"a"u8, 0xff, .. ".count\":1}}"u8]);
        _hub.Receive(Encoding.UTF8.GetBytes($$$"""{"type":"event","fields":{"a.count":1},"more":{{{new string('[', 100)}}}{{{new string(']', 100)}}}}"""));

        Assert.Empty(Taken(client));
    }

    [Theory]
    [InlineData("""{"type":"session","fields":{"device_category":"\ud83d\ude00","end_time":1}}""", "😀")]
    [InlineData("""{"type":"event","fields":{"\ud83d\ude00.count":1}}""", "😀")]
    [InlineData("""{"type":"event","fields":{"a.count":1},"more":{"type":1,"fields":[{"fields":1}]}}""", "a")]
    [InlineData("""{"fields":{"fields.count":1,"type.count":2},"type":"event"}""", "type")]
    public void UnusualButValidUpdate_IsAccepted(string message, string dimension)
    {
        _hub.Receive(Encoding.UTF8.GetBytes(message));

        Assert.False(StreamFilter.Of([], dimension).Apply(_hub.Find(1)!).IsEmpty);
    }

    [Fact]
    public void LargeFilteredEvent_IsShared_WhileAStreamSendsIt()
    {
        var update = Update.Read(1, Encoding.UTF8.GetBytes($$$"""{"type":"event","fields":{"a.{{{new string('x', 5000)}}}.count":1,"a.count":2}}"""), "id-1", ["event", "performance", "session"])!;
        var filter = StreamFilter.Of([], "a." + new string('x', 5000));

        var sent = filter.Apply(update);

        Assert.True(sent.Length > 5000);
        Assert.True(sent.Span == filter.Apply(update).Span);
        GC.KeepAlive(sent);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3000)]
    public void SmallFilteredEvent_IsKeptForAllStreams(int length)
    {
        _hub.Receive(Encoding.UTF8.GetBytes($$$"""{"type":"event","fields":{"{{{new string('x', length)}}}.count":1,"a.count":2}}"""));
        var filter = StreamFilter.Of([], new string('x', length));

        Assert.True(filter.Apply(_hub.Find(1)!).Span == filter.Apply(_hub.Find(1)!).Span);
    }

    [Fact]
    public void Update_IsOneEvent_WhateverItsWhiteSpace()
    {
        _hub.Receive("{\n  \"type\": \"event\",\r\n\"fields\":{\"a.count\":\n1}}"u8.ToArray());

        Assert.Equal($$$"""data: {"type":"event","fields":{"a.count":1}}{{{"\n"}}}id: {{{_hub.IdOf(1)}}}{{{"\n\n"}}}""", Text(_hub.Find(1)!.Frame));
    }

    [Theory]
    [InlineData("", "", Message)]
    [InlineData("event", "", Message)]
    [InlineData("performance", "", null)]
    [InlineData("", "a.b", """{"type":"event","window_start":1,"fields":{"a.b.users":2},"more":[{"x":1}]}""")]
    [InlineData("event,performance", "a,x", """{"type":"event","window_start":1,"fields":{"a.count":1},"more":[{"x":1}]}""")]
    [InlineData("", "<b>", """{"type":"event","window_start":1,"fields":{"\u003Cb\u003E.count":-1.5e3},"more":[{"x":1}]}""")]
    [InlineData("", "x", null)]
    public void Filter_SelectsTypesAndDimensions(string types, string dimensions, string? expected)
    {
        var update = Update.Read(1, Encoding.UTF8.GetBytes(Message), "id-1", ["event", "performance", "session"])!;
        var filter = StreamFilter.Of(types.Split(',', StringSplitOptions.RemoveEmptyEntries), dimensions);

        var frame = Text(filter.Apply(update));

        Assert.Equal(expected is null ? "" : $"data: {expected}\nid: id-1\n\n", frame);
        Assert.True(filter.Apply(update).Span == filter.Apply(update).Span, "An update is looked through once a filter.");
    }

    [Theory]
    [InlineData("", "", true)]
    [InlineData("session", "Mobile,TV", true)]
    [InlineData("event,performance", "", false)]
    [InlineData("", "TV", false)]
    [InlineData("", "s", false)]
    [InlineData("", "device_category", false)]
    public void Session_IsSentAsAWhole_IfItsDeviceIsSelected(string types, string dimensions, bool wanted)
    {
        const string Session = """{"type":"session","session_id":"s","fields":{"end_time":1,"device_category":"Mobile"}}""";
        var update = Update.Read(1, Encoding.UTF8.GetBytes(Session), "id-1", ["event", "performance", "session"])!;

        var frame = StreamFilter.Of(types.Split(',', StringSplitOptions.RemoveEmptyEntries), dimensions).Apply(update);

        Assert.Equal(wanted ? $"data: {Session}\nid: id-1\n\n" : "", Text(frame));
    }

    [Theory]
    [InlineData("""{"type":"session","session_id":"s","fields":{"end_time":1}}""")]
    [InlineData("""{"type":"session","session_id":"s","fields":{"end_time":1,"device_category":null}}""")]
    public void SessionWithoutADevice_IsNotSelectedByDimensions(string message)
    {
        var update = Update.Read(1, Encoding.UTF8.GetBytes(message), "id-1", ["event", "performance", "session"])!;

        Assert.True(StreamFilter.Of([], "Mobile").Apply(update).IsEmpty);
        Assert.Equal(update.Frame, StreamFilter.Of(["session"], "").Apply(update));
    }

    [Fact]
    public void StreamsWithTheSameParameters_ShareAFilter()
    {
        var filters = new StreamFilters();

        Assert.Same(filters.Of(["event"], "a,b"), filters.Of(["event"], "a,b"));
        Assert.NotSame(filters.Of(["event"], "a,b"), filters.Of(["event"], "a"));
        Assert.NotSame(filters.Of(["event"], "a,b"), filters.Of([], "a,b"));
    }

    [Fact]
    public async Task FrozenRedis_IsNoGap()
    {
        await using var server = await EmbeddedRedis.StartAsync();
        await using var redis = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString);
        var time = new FakeTimeProvider();
        var never = new TaskCompletionSource<TimeSpan>();
        var pings = 0;
        using var hub = Hub(LinkTo(await SubscribedAsync(redis, PingAsync), ping: never.Task), time);
        await hub.StartAsync(TestContext.Current.CancellationToken);
        await Eventually.HoldsAsync(() => Assert.True(hub.IsListening));
        var client = hub.Open(null);
        Taken(client);

        await Eventually.HoldsAsync(() =>
        {
            time.Advance(TimeSpan.FromSeconds(0.5));
            Assert.True(Volatile.Read(ref pings) >= 3);
        });
        Assert.Empty(Taken(client));
        Assert.True(hub.IsListening);
        await hub.StopAsync(TestContext.Current.CancellationToken);

        Task<TimeSpan> PingAsync()
        {
            Interlocked.Increment(ref pings);
            return never.Task;
        }
    }

    private const string Message = """{"type":"event","window_start":1,"fields":{"a.count":1,"a.b.users":2,"\u003Cb\u003E.count":-1.5e3},"more":[{"x":1}]}""";

    /// <summary>A connection to Redis with this subscriber, whose events a test can raise.</summary>
    private static RedisConnection LinkTo(ISubscriber subscriber, ConcurrentDictionary<string, Delegate>? events = null, Task<TimeSpan>? ping = null)
    {
        var client = Proxy.Of<IConnectionMultiplexer>((name, args) =>
        {
            if (name.StartsWith("add_", StringComparison.Ordinal))
            {
                events?.TryAdd(name["add_".Length..], (Delegate)args[0]!);
            }

            return name == "GetSubscriber" ? subscriber : null;
        });
        var database = Proxy.Of<IDatabase>((name, _) => name == "PingAsync" ? ping ?? Task.FromResult(TimeSpan.Zero) : client);
        return RedisConnection.Over(Proxy.Of<IConnectionMultiplexer>((name, _) => name == "GetDatabase" ? database : null), new());
    }

    /// <summary>A connected subscriber with a subscription, whose pings a test controls.</summary>
    private static async Task<ISubscriber> SubscribedAsync(ConnectionMultiplexer redis, Func<Task<TimeSpan>> ping)
    {
        var queue = await redis.GetSubscriber().SubscribeAsync(RedisChannel.Literal("cache:updates"));
        return Proxy.Of<ISubscriber>((name, _) => name switch
        {
            "SubscribeAsync" => Task.FromResult(queue),
            "SubscribedEndpoint" => redis.GetEndPoints()[0],
            "IsConnected" => true,
            "PingAsync" => ping(),
            _ => throw new NotSupportedException(name),
        });
    }

    [Fact]
    public async Task SubscriptionWithoutReplies_IsSilent_AndAGapUntilItReplies()
    {
        await using var server = await EmbeddedRedis.StartAsync();
        await using var redis = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString);
        var time = new FakeTimeProvider();
        var reply = new TaskCompletionSource<TimeSpan>();
        var pings = 0;
        using var hub = Hub(LinkTo(await SubscribedAsync(redis, PingAsync)), time);
        await hub.StartAsync(TestContext.Current.CancellationToken);
        await Eventually.HoldsAsync(() => Assert.True(hub.IsListening));
        var client = hub.Open(null);
        Taken(client);

        await PassAsync(() => Assert.True(hub.IsSilent));
        Assert.False(hub.IsListening);
        Assert.Contains(Taken(client), item => item.StartsWith("gap", StringComparison.Ordinal));
        await PassAsync(() => Assert.Contains(Taken(client), item => item.StartsWith("gap", StringComparison.Ordinal)));

        reply.SetResult(TimeSpan.Zero);
        await PassAsync(() => Assert.True(hub.IsListening));
        Assert.Contains(Taken(client), item => item.StartsWith("gap", StringComparison.Ordinal));
        var answered = Volatile.Read(ref pings);
        await PassAsync(() => Assert.True(Volatile.Read(ref pings) > answered + 2));
        Assert.Empty(Taken(client));
        await hub.StopAsync(TestContext.Current.CancellationToken);

        Task<TimeSpan> PingAsync()
        {
            Interlocked.Increment(ref pings);
            return reply.Task;
        }

        Task PassAsync(Action holds) => Eventually.HoldsAsync(() =>
        {
            time.Advance(TimeSpan.FromSeconds(0.5));
            holds();
        });
    }

    private static UpdateHub Hub(RedisConnection? redis = null, TimeProvider? time = null)
    {
        var services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        var options = new CacheOptions();
        var metrics = new StreamMetrics(services.GetRequiredService<IMeterFactory>());
        return new(redis ?? new RedisConnection(() => throw new InvalidOperationException(), () => throw new InvalidOperationException(), options), new RedisKeys(options), options, metrics, time ?? TimeProvider.System, null!, NullLogger<UpdateHub>.Instance);
    }

    private void Send(int from, int to)
    {
        for (var number = from; number <= to; number++)
        {
            _hub.Receive(Encoding.UTF8.GetBytes($$$"""{"type":"event","window_start":{{{number}}},"fields":{"a.count":{{{number}}}}}"""));
        }
    }

    /// <summary>Takes all items: the numbers of updates, and the reasons and numbers of resyncs.</summary>
    private static List<string> Taken(StreamClient client)
    {
        var items = new List<string>();
        while (client.TryTake(out var item))
        {
            items.Add(item.Update is null ? $"{item.Resync} {item.Number}" : $"{item.Number}");
        }

        return items;
    }

    private static string Text(ReadOnlyMemory<byte> bytes) => Encoding.UTF8.GetString(bytes.Span);
}
