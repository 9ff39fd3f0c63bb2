using System.Diagnostics;
using System.Net;
using System.Net.ServerSentEvents;
using System.Net.Sockets;
using Cache.Service.Streaming;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Streaming;

public sealed class StreamTests
{
    [Fact]
    public async Task Stream_StartsWithResync_ThenTellsEachUpdate_AndReplaysAfterAReconnect()
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
    public async Task Stream_WithFilters_TellsOnlyWhatWasAskedFor()
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
    public async Task Stream_WhenRedisWasAway_AsksToReadEverythingAgain()
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

        Assert.True(Stopwatch.GetElapsedTime(stopping) < TimeSpan.FromSeconds(5), $"{Stopwatch.GetElapsedTime(stopping)}");
        Assert.Equal(0, hub.Clients);
    }

    [Fact]
    public async Task Stream_OfAServiceThatStartedBeforeRedis_TellsEachUpdateOnce()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        stack.OwnRedis.Break();
        await stack.StartServiceAsync();
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Waiting for Redis", StringComparison.Ordinal)));
        stack.OwnRedis.Mend();
        await stack.ReadyAsync();
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Listening to updates", StringComparison.Ordinal)));
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
    public async Task Streams_BeyondTheirNumber_AreRefused_UntilOneCloses()
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
    public async Task Streams_OfOneClientBeyondItsShare_AreRefused()
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

        // More than all buffers on the way take.
        var large = $$$"""{"type":"event","window_start":1,"fields":{"{{{new string('x', 1024 * 1024)}}}.count":1}}""";
        for (var update = 0; update < 20; update++)
        {
            hub.Receive(System.Text.Encoding.UTF8.GetBytes(large));
        }

        var stopping = Stopwatch.GetTimestamp();
        await stack.StopServiceAsync();

        Assert.True(Stopwatch.GetElapsedTime(stopping) < TimeSpan.FromSeconds(10), $"{Stopwatch.GetElapsedTime(stopping)}");
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

        // No proxy is to keep it, or to keep it back.
        Assert.True(response.Headers.CacheControl is { NoCache: true, NoStore: true });
        Assert.Equal(["no"], response.Headers.GetValues("X-Accel-Buffering"));
        return new(response, SseParser.Create(await response.Content.ReadAsStreamAsync()).EnumerateAsync().GetAsyncEnumerator());
    }

    private sealed class OpenStream(HttpResponseMessage response, IAsyncEnumerator<SseItem<string>> items) : IAsyncDisposable
    {
        public async Task<SseItem<string>> NextAsync()
        {
            Assert.True(await items.MoveNextAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(20)));
            return items.Current;
        }

        public ValueTask DisposeAsync()
        {
            // Ends the read that the enumerator waits in.
            response.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
