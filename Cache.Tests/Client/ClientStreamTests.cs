using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Headers;
using Cache.Client;
using Cache.Tests.EndToEnd;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Client;

/// <summary>The client's stream, of the service itself.</summary>
public sealed class ClientStreamTests
{
    [Fact]
    public async Task Stream_TellsOfAResync_ThenOfEveryUpdate()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("cache_kafka_topics", $"{Events},{Performance},{Sessions}"));
        stack.Broker.CreateTopic(Sessions, partitions: 1);
        await stack.StartServiceAsync();
        await stack.ReadyAsync();
        await using var host = ClientHost.Start(stack.Http.BaseAddress!);
        await using var all = Open(host);
        await using var some = Open(host, new() { Types = ["performance", StreamQuery.Sessions], Dimensions = ["tv", "a,b"] });
        Assert.Equal(new Resync("start"), await all.NextAsync());
        Assert.Equal(new Resync("start"), await some.NextAsync());

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "tv", 1));
        var update = Assert.IsType<WindowUpdate>(await all.NextAsync()).Window;
        Assert.Equal(("event", Window(1), 1), (update.Type, update.Start.ToUnixTimeMilliseconds(), (long)update["tv", "count"]!));

        await stack.Kafka.SendAsync(Performance, 0, Load(Window(1), "phone", 1), Load(Window(1), "a,b", 2.5));
        var selected = Assert.IsType<WindowUpdate>(await some.NextAsync()).Window;
        Assert.Equal(("a,b", 2.5), (Assert.Single(selected.Dimensions), (double)selected["a,b", "avg_load_time"]!));

        var end = Recent(0);
        await stack.Kafka.SendAsync(Sessions, 0, Session("s-1", end, user: "u", device: "phone"), Session("s-2", end, device: "tv"));
        Assert.Equal(
            new Session { Id = "s-2", EndTime = DateTimeOffset.FromUnixTimeMilliseconds(end), DeviceCategory = "tv" },
            Assert.IsType<SessionUpdate>(await some.NextAsync()).Session);
    }

    [Fact]
    public async Task Stream_OfAServiceThatIsRestarted_ComesBack_AndTellsOfAResync()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        await stack.StartServiceAsync();
        stack.Set("urls", stack.Http.BaseAddress!.ToString());
        await using var host = ClientHost.Start(stack.Http.BaseAddress!, Quick);
        await using var stream = Open(host);
        Assert.Equal(new Resync("start"), await stream.NextAsync());

        await stack.StopServiceAsync();
        var next = stream.NextAsync();
        await Eventually.HoldsAsync(() => Assert.True(host.Requests.Count("/stream") > 3));
        await stack.StartServiceAsync();

        Assert.Equal(new Resync("gap"), await next);
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        Assert.Equal(Window(1), await stream.WindowAsync());
    }

    [Fact]
    public async Task Stream_OfAServiceThatIsNotThereYet_Waits()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        await stack.StartServiceAsync();
        var address = stack.Http.BaseAddress!;
        await stack.StopServiceAsync();
        await using var host = ClientHost.Start(address, Quick);
        await using var stream = Open(host);
        var next = stream.NextAsync();
        await Eventually.HoldsAsync(() => Assert.True(host.Requests.Count("/stream") > 1));

        stack.Set("urls", address.ToString());
        await stack.StartServiceAsync();

        Assert.Equal(new Resync("start"), await next);
    }

    /// <summary>As behind a firewall that has forgotten the connection: nothing comes, and nothing says so.</summary>
    [Fact]
    public async Task Stream_ThatFallsSilent_IsOpenedAgain_AndResumesAfterItsLastUpdate()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await using var proxy = new TcpProxy(stack.Http.BaseAddress!.Port);
        await using var host = ClientHost.Start(new($"http://127.0.0.1:{proxy.Port}"), settings =>
        {
            Quick(settings);
            settings.StreamTimeout = TimeSpan.FromSeconds(3);
        });
        await using var stream = Open(host);
        Assert.Equal(new Resync("start"), await stream.NextAsync());

        // A consumer that takes its time is not a service that is silent.
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        var opened = host.Requests.Count("/stream");
        await Task.Delay(TimeSpan.FromSeconds(4), TestContext.Current.CancellationToken);
        Assert.Equal(Window(1), await stream.WindowAsync());
        Assert.Equal(opened, host.Requests.Count("/stream"));

        var silent = proxy.Connections.ToHashSet();
        proxy.Lets = (connection, fromServer) => !fromServer || !silent.Contains(connection);
        await stack.Kafka.SendAsync(Events, 0, Event(Window(2), "a", 2));
        await stack.EverythingIsCommittedAsync(Events);
        await stack.Kafka.SendAsync(Events, 0, Event(Window(3), "a", 3));

        Assert.Equal(Window(2), await stream.WindowAsync());
        Assert.Equal(Window(3), await stream.WindowAsync());
        Assert.Contains(host.Requests.LastEventIds, id => id is not null);
    }

    /// <summary>The program's defaults put time limits on every request: none may end a stream, or keep it from being opened.</summary>
    [Fact]
    public async Task Stream_OutlivesTheTimeLimitsOfRequests()
    {
        var limit = TimeSpan.FromSeconds(1);
        await using var service = await SlowService.StartAsync(opening: 2 * limit, between: 2 * limit);
        await using var host = ClientHost.Start(service.Address, resilience: options =>
        {
            (options.AttemptTimeout.Timeout, options.TotalRequestTimeout.Timeout) = (limit, 1.5 * limit);
            options.CircuitBreaker.SamplingDuration = 2 * limit;
        });
        await using var stream = Open(host);

        Assert.Equal(new Resync("start"), await stream.NextAsync());
        Assert.Equal(1, await stream.WindowAsync());
        Assert.Equal(2, await stream.WindowAsync());
        Assert.Equal(1, host.Requests.Count("/stream"));

        // The limits are as short as they are said to be.
        Assert.Null((await Assert.ThrowsAsync<CacheException>(() => host.Client.GetTypesAsync())).Status);
    }

    [Fact]
    public async Task Stream_ThatIsRefusedForNow_WaitsAsLongAsItIsTold()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("stream_max_clients", "1"));
        await using var host = ClientHost.Start(stack.Http.BaseAddress!, Quick);
        await using var first = Open(host);
        Assert.Equal(new Resync("start"), await first.NextAsync());
        await using var second = Open(host);
        var next = second.NextAsync();
        await Eventually.HoldsAsync(() => Assert.Equal(2, host.Requests.Count("/stream")));

        // The service says 10 s; without that, there would be several attempts.
        await Eventually.KeepsHoldingAsync(() => Task.Run(() => Assert.Equal(2, host.Requests.Count("/stream"))), TimeSpan.FromSeconds(1));
        Assert.False(next.IsCompleted);
    }

    [Fact]
    public async Task Waits_DoubleUpToTheLongest_AndStartOverOnceTheServiceIsBack()
    {
        var time = new ImmediateTime();
        using var stop = new CancellationTokenSource();
        var answers = new Queue<HttpResponseMessage>([
            .. Enumerable.Range(0, 6).Select(_ => new HttpResponseMessage(HttpStatusCode.BadGateway)),
            new(HttpStatusCode.OK) { Content = new StringContent("event: resync\ndata: {\"reason\":\"start\"}\n\n", new MediaTypeHeaderValue("text/event-stream")) },
            new(HttpStatusCode.RequestTimeout),
            new(HttpStatusCode.TooManyRequests) { Headers = { RetryAfter = new(TimeSpan.FromMinutes(2)) } },
            new(HttpStatusCode.ServiceUnavailable) { Headers = { RetryAfter = new(time.GetUtcNow().AddMinutes(3)) } },
        ]);
        using var http = new HttpClient(new Scripted(answers, stop.Cancel)) { BaseAddress = new("http://a") };
        var client = new CacheClient(http, http, new(), time, NullLogger.Instance);

        var received = new List<CacheUpdate>();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (var update in client.StreamAsync(null, stop.Token))
            {
                received.Add(update);
            }
        });

        Assert.Equal([new Resync("start")], received);
        Assert.Equal(10, time.Waits.Count);
        Assert.All(time.Waits.Zip([1, 2, 4, 8, 16, 30, 1, 2]), wait => Assert.InRange(wait.First.TotalSeconds, wait.Second / 2.0, wait.Second));
        Assert.Equal([TimeSpan.FromMinutes(2), TimeSpan.FromMinutes(3)], time.Waits.Skip(8));
    }

    [Fact]
    public async Task Stream_ThatIsCanceled_EndsAtOnce_WhileItWaitsForUpdates_OrForTheService()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var host = ClientHost.Start(stack.Http.BaseAddress!, settings => settings.MinReconnectDelay = settings.MaxReconnectDelay = TimeSpan.FromHours(1));
        await using var stream = Open(host);
        await stream.NextAsync();
        var next = stream.NextAsync();
        await stream.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => next);

        await stack.StopServiceAsync();
        await using var waiting = Open(host);
        next = waiting.NextAsync();
        await Eventually.HoldsAsync(() => Assert.Equal(2, host.Requests.Count("/stream")));
        await waiting.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => next);
    }

    [Fact]
    public async Task Stream_OfUnknownTypes_IsAnError()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var host = ClientHost.Start(stack.Http.BaseAddress!);

        var refused = await Assert.ThrowsAsync<CacheException>(async () => await host.Client.StreamAsync(new() { Types = ["events"] }).FirstAsync());

        Assert.Contains("types accepts event, performance", refused.Detail, StringComparison.Ordinal);
    }

    private static void Quick(CacheClientSettings settings) => settings.MinReconnectDelay = settings.MaxReconnectDelay = TimeSpan.FromMilliseconds(50);

    private static Updates Open(ClientHost host, StreamQuery? query = null) => new(host.Client, query);

    /// <summary>An open stream.</summary>
    private sealed class Updates : IAsyncDisposable
    {
        private readonly CancellationTokenSource _cancel = CancellationTokenSource.CreateLinkedTokenSource(TestContext.Current.CancellationToken);
        private readonly IAsyncEnumerator<CacheUpdate> _items;
        private Task<bool> _next = Task.FromResult(true);

        public Updates(CacheClient client, StreamQuery? query) => _items = client.StreamAsync(query, _cancel.Token).GetAsyncEnumerator();

        public async Task<CacheUpdate> NextAsync()
        {
            _next = _items.MoveNextAsync().AsTask();
            Assert.True(await _next.WaitAsync(Eventually.TestTimeout));
            return _items.Current;
        }

        /// <summary>The start of the window that the next update is of.</summary>
        public async Task<long> WindowAsync() => Assert.IsType<WindowUpdate>(await NextAsync()).Window.Start.ToUnixTimeMilliseconds();

        public Task CancelAsync() => _cancel.CancelAsync();

        public async ValueTask DisposeAsync()
        {
            await _cancel.CancelAsync();
            await ((Task)_next).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            await _items.DisposeAsync();
            _cancel.Dispose();
        }
    }

    /// <summary>A service that takes its time: with its headers, between updates, and with answers.</summary>
    private sealed class SlowService(WebApplication app) : IAsyncDisposable
    {
        public Uri Address => new(app.Urls.First());

        public static async Task<SlowService> StartAsync(TimeSpan opening, TimeSpan between)
        {
            Requirement.Started();
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            var app = builder.Build();
            app.Urls.Add("http://127.0.0.1:0");
            app.MapGet("/types", (CancellationToken gone) => Task.Delay(TimeSpan.FromMinutes(1), gone));
            app.MapGet("/stream", async (HttpContext context) =>
            {
                await Task.Delay(opening, context.RequestAborted);
                context.Response.ContentType = "text/event-stream";
                await context.Response.WriteAsync("event: resync\ndata: {\"reason\":\"start\"}\nid: a-0\n\n", context.RequestAborted);
                for (var update = 1; ; update++)
                {
                    await Task.Delay(between, context.RequestAborted);
                    await context.Response.WriteAsync($$$"""data: {"type":"event","window_start":{{{update}}},"fields":{"a.count":1}}{{{'\n'}}}id: a-{{{update}}}{{{"\n\n"}}}""", context.RequestAborted);
                }
            });
            await app.StartAsync();
            return new(app);
        }

        public ValueTask DisposeAsync() => app.DisposeAsync();
    }

    /// <summary>A clock that stands still, and on which every wait is over at once.</summary>
    private sealed class ImmediateTime : TimeProvider
    {
        public ConcurrentQueue<TimeSpan> Waits { get; } = [];

        public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch;

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            if (dueTime != Timeout.InfiniteTimeSpan)
            {
                Waits.Enqueue(dueTime);
                ThreadPool.QueueUserWorkItem(_ => callback(state));
            }

            return new Inert();
        }

        /// <summary>The time limit of silence, which these answers do not meet.</summary>
        private sealed class Inert : ITimer
        {
            public bool Change(TimeSpan dueTime, TimeSpan period) => true;

            public void Dispose()
            {
            }

            public ValueTask DisposeAsync() => default;
        }
    }

    /// <summary>In place of the network: these answers, then the end.</summary>
    private sealed class Scripted(Queue<HttpResponseMessage> answers, Action end) : HttpMessageHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (answers.TryDequeue(out var answer))
            {
                return Task.FromResult(answer);
            }

            end();
            return Task.FromCanceled<HttpResponseMessage>(cancellationToken);
        }
    }
}
