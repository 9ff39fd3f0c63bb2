using System.Diagnostics.Metrics;
using Cache.Metrics;
using Cache.Service.Http;
using Cache.Service.Http.Query;
using Cache.Service.Persist;
using Cache.Tests.EndToEnd;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using StackExchange.Redis;

namespace Cache.Tests.Http.Query;

/// <summary>How long answers are kept, with updates through the test's own redis-server, and a clock that the test advances.</summary>
public sealed class ResponseCacheTests : IAsyncLifetime
{
    private static readonly WindowQuery Latest = new(MetricType.Event, null, null);

    private readonly FakeTimeProvider _time = new();
    private RedisServer? _server;
    private ConnectionMultiplexer? _redis;
    private UpdateHub? _hub;
    private ResponseCache? _kept;
    private int _reads;

    public async ValueTask InitializeAsync()
    {
        _server = await RedisServer.StartAsync();
        _redis = await ConnectionMultiplexer.ConnectAsync($"{_server.ConnectionString},allowAdmin=true,abortConnect=false");
        var options = new Service.Options.CacheOptions();
        var meters = new ServiceCollection().AddMetrics().BuildServiceProvider().GetRequiredService<IMeterFactory>();
        _hub = new(
            RedisConnection.Over(_redis, options), new RedisKeys(options), options, new StreamMetrics(meters),
            TimeProvider.System, null!, NullLogger<UpdateHub>.Instance);
        _kept = new(_hub, _time);
        await _hub.StartAsync(TestContext.Current.CancellationToken);
        await ListensAsync(true);
    }

    public async ValueTask DisposeAsync()
    {
        if (_server is not null)
        {
            await _hub!.StopAsync(CancellationToken.None);
            _hub.Dispose();
            await _redis!.DisposeAsync();
            await _server.DisposeAsync();
        }
    }

    [Fact]
    public async Task Answer_IsKept_UntilAnUpdateOfItsTypeIsSeen()
    {
        Assert.Same(await AskAsync(Latest), await AskAsync(Latest));
        await UpdateAsync("performance");
        await UpdateAsync("session");
        await AskAsync(Latest);
        Assert.Equal(1, _reads);

        await UpdateAsync("event");
        await AskAsync(Latest);
        Assert.Equal(2, _reads);
    }

    [Theory]
    [InlineData("event")]
    [InlineData("performance")]
    public async Task Overview_FollowsUpdatesOfBothTypes(string type)
    {
        var overview = new WindowQuery(null, null, null);
        await AskAsync(overview);
        await AskAsync(overview);
        Assert.Equal(1, _reads);

        await UpdateAsync(type);
        await AskAsync(overview);
        Assert.Equal(2, _reads);
    }

    [Fact]
    public async Task DifferentQueries_HaveDifferentAnswers()
    {
        WindowQuery[] queries =
        [
            Latest, Latest with { Type = MetricType.Performance }, Latest with { Type = null }, Latest with { Limit = 1 }, Latest with { Limit = 2 },
            Latest with { Fields = "a" }, Latest with { Limit = 1, From = 1 }, Latest with { Limit = 1, To = 1 }, Latest with { Limit = 1, Csv = true },
        ];
        foreach (var query in queries.Concat(queries))
        {
            await AskAsync(query);
        }

        Assert.Equal(queries.Length, _reads);
    }

    [Fact]
    public async Task UpdateDuringTheRead_IsNotMissed()
    {
        var old = new TaskCompletionSource<Answer>();
        var first = _kept!.GetAsync(Latest, _ => old.Task);
        await UpdateAsync("event");
        old.SetResult(Answer.Json(json => json.WriteNumberValue(0)));
        await first;

        await AskAsync(Latest);
        Assert.Equal(1, _reads);
    }

    [Fact]
    public async Task RequestAfterAnUpdate_DoesNotJoinAReadThatBeganBeforeIt()
    {
        var old = new TaskCompletionSource<Answer>();
        var first = _kept!.GetAsync(Latest, _ => old.Task);
        await UpdateAsync("event");

        var second = await AskAsync(Latest);
        old.SetResult(Answer.Json(json => json.WriteNumberValue(0)));
        await first;
        Assert.Same(second, await AskAsync(Latest));
    }

    [Fact]
    public async Task RequestsDuringARead_ShareIt()
    {
        var read = new TaskCompletionSource<Answer>();
        var asked = Enumerable.Range(0, 50).Select(_ => _kept!.GetAsync(Latest, _ =>
        {
            Interlocked.Increment(ref _reads);
            return read.Task;
        })).ToList();

        read.SetResult(Answer.Json(json => json.WriteNumberValue(0)));
        Assert.Single((await Task.WhenAll(asked)).Distinct());
        Assert.Equal(1, _reads);
    }

    [Fact]
    public async Task ReadThatFailed_IsNotKept()
    {
        await Assert.ThrowsAsync<TimeoutException>(() => _kept!.GetAsync(Latest, _ => Task.FromException<Answer>(new TimeoutException())));

        await AskAsync(Latest);
        Assert.Equal(1, _reads);
    }

    [Fact]
    public async Task ChangeWithoutAnUpdate_IsSeenWithinTheMaximumAge()
    {
        await AskAsync(Latest);
        _time.Advance(ResponseCache.MaxAge);
        await AskAsync(Latest);
        Assert.Equal(1, _reads);

        _time.Advance(TimeSpan.FromMilliseconds(1));
        await AskAsync(Latest);
        Assert.Equal(2, _reads);
        Assert.True(ResponseCache.MaxAge < TimeSpan.FromSeconds(0.25), "Together with the timeout of a read, a reader gets an error within a second if Redis is down.");
    }

    [Fact]
    public async Task Age_CountsFromTheStartOfTheRead()
    {
        var read = new TaskCompletionSource<Answer>();
        var first = _kept!.GetAsync(Latest, _ => read.Task);
        _time.Advance(ResponseCache.MaxAge + TimeSpan.FromMilliseconds(1));
        read.SetResult(Answer.Json(json => json.WriteNumberValue(0)));
        await first;

        await AskAsync(Latest);
        Assert.Equal(1, _reads);
    }

    [Fact]
    public async Task WithoutASubscription_NothingIsKept()
    {
        await AskAsync(Latest);

        // The server ends the subscription and refuses new ones, but still accepts commands.
        await _redis!.GetServers()[0].ExecuteAsync("ACL", "SETUSER", "default", "resetchannels");
        await ListensAsync(false);
        await Eventually.HoldsAsync(async () =>
        {
            await AskAsync(Latest);
            Assert.True(_reads > 1);
        });

        var reads = _reads;
        await AskAsync(Latest);
        await AskAsync(Latest);
        Assert.Equal(reads + 2, _reads);
    }

    [Fact]
    public async Task Gap_DiscardsKeptAnswers()
    {
        await AskAsync(Latest);

        _hub!.Gap();
        await AskAsync(Latest);
        Assert.Equal(2, _reads);
    }

    [Fact]
    public async Task KeptAnswers_AreLimitedInNumber()
    {
        for (var limit = 1; limit <= ResponseCache.MaxAnswers + 1; limit++)
        {
            await AskAsync(Latest with { Limit = limit });
        }

        await AskAsync(Latest with { Limit = ResponseCache.MaxAnswers + 1 });
        Assert.Equal(ResponseCache.MaxAnswers + 1, _reads);
        await AskAsync(Latest with { Limit = 1 });
        Assert.Equal(ResponseCache.MaxAnswers + 2, _reads);
    }

    [Fact]
    public async Task LongAnswer_IsNotKept()
    {
        for (var round = 0; round < 2; round++)
        {
            await _kept!.GetAsync(Latest, _ =>
            {
                _reads++;
                return Task.FromResult(Answer.Json(json => json.WriteStringValue(new string('x', ResponseCache.MaxBytes))));
            });
        }

        Assert.Equal(2, _reads);
    }

    private Task<Answer> AskAsync(WindowQuery query) => _kept!.GetAsync(query, async _ =>
    {
        var number = Interlocked.Increment(ref _reads);
        await Task.Yield();
        return Answer.Json(json => json.WriteNumberValue(number));
    });

    /// <summary>Publishes an update, and waits until the hub has seen it.</summary>
    private async Task UpdateAsync(string type)
    {
        var before = _hub!.Last;
        await _redis!.GetSubscriber().PublishAsync(
            RedisChannel.Literal("cache:updates"), $$$"""{"type":"{{{type}}}","window_start":1,"fields":{"a.count":1}}""");
        await Eventually.HoldsAsync(() => Assert.True(_hub.Last > before));
    }

    private Task ListensAsync(bool listens) => Eventually.HoldsAsync(() => Assert.Equal(listens, _hub!.IsListening));
}
