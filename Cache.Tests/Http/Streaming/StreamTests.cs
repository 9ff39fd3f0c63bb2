using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Net;
using System.Net.ServerSentEvents;
using System.Net.Sockets;
using Cache.Service.Http;
using Cache.Tests.EndToEnd;
using Cache.Tests.Flush;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Http.Streaming;

public sealed class StreamTests
{
    [Fact]
    public async Task Stream_StartsWithResync_ThenSendsEachUpdate_AndReplaysAfterAReconnect()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();

        string? seen;
        await using (var stream = await OpenAsync(stack))
        {
            Assert.Equal("heartbeat", (await stream.NextAsync()).EventType);
            var resync = await stream.NextAsync();
            Assert.Equal(("resync", """{"reason":"start"}"""), (resync.EventType, resync.Data));

            await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
            var update = await stream.NextAsync();
            Assert.Equal(("message", $$$"""{"type":"event","window_start":{{{Window(1)}}},"fields":{"a.count":1}}"""), (update.EventType, update.Data));
            seen = update.EventId;
        }

        await stack.Kafka.SendAsync(Events, 0, Event(Window(2), "a", 2));
        await stack.EverythingIsCommittedAsync();

        await using var again = await OpenAsync(stack, lastEventId: seen);
        Assert.Equal("heartbeat", (await again.NextAsync()).EventType);
        Assert.Contains($"{Window(2)}", (await again.NextAsync()).Data);
    }

    [Fact]
    public async Task Stream_WithFilters_SendsOnlyWhatTheySelect()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await using var stream = await OpenAsync(stack, "?types=performance&dimensions=tv");
        await stream.NextAsync();
        await stream.NextAsync();

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "tv", 1));
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(1), "phone", 1), Load(Window(1), "tv", 2));

        Assert.Equal(
            $$$"""{"type":"performance","window_start":{{{Window(1)}}},"fields":{"tv.avg_load_time":2}}""", (await stream.NextAsync()).Data);
    }

    [Fact]
    public async Task Stream_OfAnUnknownType_IsABadRequest()
    {
        await using var stack = await InProcessStack.StartAsync();

        var (status, body, type) = await stack.AskAsync("/stream?types=events");

        Assert.Equal((HttpStatusCode.BadRequest, "application/problem+json"), (status, type));
        Assert.Contains("types", body);
    }

    [Fact]
    public async Task Stream_AfterRedisWasDown_SendsAResync()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await using var stream = await OpenAsync(stack);
        await stream.NextAsync();
        await stream.NextAsync();

        stack.OwnRedis.Break();
        stack.OwnRedis.Mend();

        SseItem<string> next;
        do
        {
            next = await stream.NextAsync();
        }
        while (next.EventType == "heartbeat");
        Assert.Equal(("resync", """{"reason":"gap"}"""), (next.EventType, next.Data));
    }

    [Fact]
    public async Task OpenStreams_DoNotHoldUpTheShutdown_AndAreCountedWhileOpen()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await using var stream = await OpenAsync(stack);
        await stream.NextAsync();
        var hub = stack.Service.Get<UpdateHub>();
        Assert.Equal(1, hub.Clients);

        var stopping = Stopwatch.GetTimestamp();
        await stack.StopServiceAsync();

        Assert.True(Stopwatch.GetElapsedTime(stopping) < TimeSpan.FromSeconds(15), $"{Stopwatch.GetElapsedTime(stopping)}");
        Assert.Equal(0, hub.Clients);
    }

    [Fact]
    public async Task Stream_OfAServiceThatStartedBeforeRedis_SendsEachUpdateOnce()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        stack.OwnRedis.Break();
        await stack.StartServiceAsync();
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Waiting for Redis", StringComparison.Ordinal)));
        stack.OwnRedis.Mend();
        await stack.ReadyAsync();
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Subscribed to updates", StringComparison.Ordinal)));
        await using var stream = await OpenAsync(stack);
        await stream.NextAsync();
        await stream.NextAsync();

        var ids = new List<string?>();
        for (var minute = 1; minute <= 3; minute++)
        {
            await stack.Kafka.SendAsync(Events, 0, Event(Window(minute), "a", minute));
            var update = await stream.NextAsync();
            Assert.Contains($"{Window(minute)}", update.Data);
            ids.Add(update.EventId);
        }

        Assert.Equal(3, ids.Distinct().Count());
    }

    [Fact]
    public async Task Streams_AboveTheMaximum_AreRefused_UntilOneCloses()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("stream_max_clients", "2"));
        await using var first = await OpenAsync(stack);
        await using (await OpenAsync(stack))
        {
            using var refused = await stack.Http.GetAsync("/stream");
            Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
            Assert.Equal("application/problem+json", refused.Content.Headers.ContentType?.MediaType);
            Assert.Equal(TimeSpan.FromSeconds(10), refused.Headers.RetryAfter?.Delta);
        }

        await Eventually.HoldsAsync(async () => await (await OpenAsync(stack)).DisposeAsync());
    }

    [Fact]
    public async Task Streams_AboveTheMaximumPerClient_AreRefused()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("stream_max_clients_per_client", "1"), ("api_keys", "aaaaaaaaaaaaaaaaaaaa,bbbbbbbbbbbbbbbbbbbb"));
        await using var first = await OpenAsync(stack, "?api_key=aaaaaaaaaaaaaaaaaaaa");

        using var refused = await stack.Http.GetAsync("/stream?api_key=aaaaaaaaaaaaaaaaaaaa");
        await using var other = await OpenAsync(stack, "?api_key=bbbbbbbbbbbbbbbbbbbb");

        Assert.Equal(HttpStatusCode.TooManyRequests, refused.StatusCode);
        Assert.NotNull(refused.Headers.RetryAfter);
    }

    [Fact]
    public async Task Stream_ThatNobodyReads_DoesNotHoldUpTheShutdown()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        using var client = new Socket(SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4096 };
        await client.ConnectAsync("127.0.0.1", stack.Http.BaseAddress!.Port);
        await client.SendAsync("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"u8.ToArray());
        var hub = stack.Service.Get<UpdateHub>();
        await Eventually.HoldsAsync(() => Assert.Equal(1, hub.Clients));

        // More than all buffers along the way can hold.
        var large = $$$"""{"type":"event","window_start":1,"fields":{"{{{new string('x', 1024 * 1024)}}}.count":1}}""";
        for (var update = 0; update < 20; update++)
        {
            hub.Receive(System.Text.Encoding.UTF8.GetBytes(large));
        }

        var stopping = Stopwatch.GetTimestamp();
        await stack.StopServiceAsync();

        Assert.True(Stopwatch.GetElapsedTime(stopping) < TimeSpan.FromSeconds(20), $"{Stopwatch.GetElapsedTime(stopping)}");
    }

    [Fact]
    public async Task ManyStreamsThatNobodyReads_HoldABoundedMemory_AndAreCutOff()
    {
        const int Clients = 300;
        await using var stack = await InProcessStack.PrepareAsync();
        await stack.StartProcessAsync();
        await stack.ReadyAsync();
        var clients = new List<Socket>();
        try
        {
            for (var client = 0; client < Clients; client++)
            {
                var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4096 };
                clients.Add(socket);
                await socket.ConnectAsync("127.0.0.1", stack.Http.BaseAddress!.Port);
                await socket.SendAsync("GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"u8.ToArray());
            }

            await Eventually.HoldsAsync(async () => Assert.Equal(Clients, (await stack.GetAsync("/pipeline")).GetProperty("stream_clients").GetInt32()));
            var before = stack.Process.ResidentBytes;
            var worst = before;

            // Updates like those of windows with 60,000 fields. Separate buffers for each client would take 800 MB.
            var update = $$$"""{"type":"event","window_start":1,"fields":{{{{string.Join(',', Enumerable.Range(0, 60_000).Select(field => $"\"dimension-of-a-name-{field:D8}.count\":{field}"))}}}}}""";
            for (var number = 0; number < 30; number++)
            {
                await stack.Redis.GetSubscriber().PublishAsync(StackExchange.Redis.RedisChannel.Literal("cache:updates"), update);
                await Task.Delay(TimeSpan.FromSeconds(0.3), TestContext.Current.CancellationToken);
                worst = Math.Max(worst, stack.Process.ResidentBytes);
            }

            await Eventually.HoldsAsync(async () =>
            {
                worst = Math.Max(worst, stack.Process.ResidentBytes);
                Assert.Contains(
                    (await stack.Http.GetStringAsync("/metrics")).Split('\n'),
                    line => line.StartsWith("cache_stream_cuts_total{", StringComparison.Ordinal) && line.Contains("reason=\"takes_nothing\"") && line.EndsWith($" {Clients}", StringComparison.Ordinal));
            }, TimeSpan.FromMinutes(2));

            // A stream is counted as cut off a moment before its request ends.
            await Eventually.HoldsAsync(async () => Assert.Equal(0, (await stack.GetAsync("/pipeline")).GetProperty("stream_clients").GetInt32()));
            TestContext.Current.TestOutputHelper?.WriteLine($"MB: {before / 1e6:F0} before, {worst / 1e6:F0} at the worst, {stack.Process.ResidentBytes / 1e6:F0} after");
            Assert.True(worst - before < 450e6, $"{before / 1e6:F0} → {worst / 1e6:F0} MB");
        }
        finally
        {
            clients.ForEach(client => client.Dispose());
        }
    }

    [Fact]
    public async Task ForeignMessage_EndsNoStream_AndIsLoggedOnce()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await Eventually.HoldsAsync(() => Assert.True(stack.Service.Get<UpdateHub>().IsListening));
        await using var stream = await OpenAsync(stack, "?dimensions=a");
        await stream.NextAsync();
        await stream.NextAsync();

        foreach (var message in new[] { """{"type":"session","fields":{},"fields":1}""", """{"type":"event","fields":{"\ud800":1}}""", """{"type":"other","fields":{"a.count":1}}""", "PING" })
        {
            await stack.Redis.GetSubscriber().PublishAsync(StackExchange.Redis.RedisChannel.Literal("cache:updates"), message);
        }

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        var update = await stream.NextAsync();
        Assert.Contains($"{Window(1)}", update.Data);
        await using var again = await OpenAsync(stack, "?dimensions=a", update.EventId);
        Assert.Equal("heartbeat", (await again.NextAsync()).EventType);
        Assert.Single(stack.Service.Log, line => line.Contains("is not an update", StringComparison.Ordinal));

        using var counters = new Counters(stack.Service.Get<IMeterFactory>());
        Assert.Equal(4, counters["cache.updates.ignored"]);
    }

    [Fact]
    public async Task SubscriptionCutOffOnTheNetwork_IsNoticed_AndStreamsResync_UntilItIsBack()
    {
        RedisServer.Require();
        await using var redis = await RedisServer.StartAsync();
        await using var proxy = new TcpProxy(redis.Port);
        await using var stack = await InProcessStack.StartAsync($"127.0.0.1:{proxy.Port}");
        await stack.ReadyAsync();
        var hub = stack.Service.Get<UpdateHub>();
        await Eventually.HoldsAsync(() => Assert.True(hub.IsListening));
        await using var stream = await OpenAsync(stack);
        await stream.NextAsync();
        await stream.NextAsync();

        // From now on nothing gets through this connection; later ones are healthy.
        var cutOff = Assert.Single(proxy.Connections, connection => connection.Subscribes);
        proxy.Lets = (connection, _) => connection != cutOff;

        var noticed = Stopwatch.GetTimestamp();
        Assert.Equal(("resync", """{"reason":"gap"}"""), await NextButHeartbeatsAsync());
        Assert.True(Stopwatch.GetElapsedTime(noticed) < TimeSpan.FromSeconds(15), $"{Stopwatch.GetElapsedTime(noticed)}");
        await Eventually.HoldsAsync(async () =>
        {
            using var ready = await stack.Http.GetAsync("/readyz");
            Assert.Contains("no updates arrive", await ready.Content.ReadAsStringAsync());
        });
        Assert.False(hub.IsListening);

        // The client library reconnects on its own.
        await Eventually.HoldsAsync(() => Assert.True(hub.IsListening), TimeSpan.FromMinutes(1.5));
        await stack.ReadyAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        (string Type, string Data) next;
        do
        {
            next = await NextButHeartbeatsAsync();
        }
        while (next.Type == "resync");
        Assert.Contains($"{Window(1)}", next.Data);

        async Task<(string Type, string Data)> NextButHeartbeatsAsync()
        {
            while (true)
            {
                if (await stream.NextAsync() is { EventType: not "heartbeat" } item)
                {
                    return (item.EventType, item.Data);
                }
            }
        }
    }

    private static async Task<OpenStream> OpenAsync(RunningStack stack, string query = "", string? lastEventId = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/stream" + query);
        if (lastEventId is not null)
        {
            request.Headers.Add("Last-Event-ID", lastEventId);
        }

        var response = await stack.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);

        // No proxy may cache or buffer it.
        Assert.True(response.Headers.CacheControl is { NoCache: true, NoStore: true });
        Assert.Equal(["no"], response.Headers.GetValues("X-Accel-Buffering"));
        return new(response, SseParser.Create(await response.Content.ReadAsStreamAsync()).EnumerateAsync().GetAsyncEnumerator());
    }

    private sealed class OpenStream(HttpResponseMessage response, IAsyncEnumerator<SseItem<string>> items) : IAsyncDisposable
    {
        public async Task<SseItem<string>> NextAsync()
        {
            Assert.True(await items.MoveNextAsync().AsTask().WaitAsync(TestTimeout.Full));
            return items.Current;
        }

        public ValueTask DisposeAsync()
        {
            // Ends the enumerator's pending read.
            response.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
