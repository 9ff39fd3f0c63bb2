using System.Net;
using Cache.Service.Options;
using Cache.Service.Persist;
using Cache.Tests.EndToEnd;
using Microsoft.Extensions.DependencyInjection;
using StackExchange.Redis;
using Proxy = Cache.Tests.Simulation.Proxy;

namespace Cache.Tests.Persist;

/// <summary>The connections to Redis, with a client that the test controls.</summary>
public sealed class RedisConnectionTests
{
    private readonly CacheOptions _options = new() { RedisDb = 3 };
    private readonly Dictionary<string, Delegate> _handlers = [];
    private readonly List<IServer> _servers = [];
    private readonly IDatabase _database;
    private readonly IConnectionMultiplexer _multiplexer;
    private Func<Task<TimeSpan>> _ping = () => Task.FromResult(TimeSpan.Zero);

    public RedisConnectionTests()
    {
        _database = Proxy.Of<IDatabase>((method, _) => method switch
        {
            nameof(IDatabase.PingAsync) => _ping(),
            "get_Multiplexer" => _multiplexer,
            _ => throw new NotSupportedException(method),
        });
        _multiplexer = Proxy.Of<IConnectionMultiplexer>((method, arguments) =>
        {
            if (method.StartsWith("add_", StringComparison.Ordinal))
            {
                _handlers[method[4..]] = (Delegate)arguments[0]!;
                return null;
            }

            return method switch
            {
                nameof(IConnectionMultiplexer.GetDatabase) when arguments[0] is 3 => _database,
                nameof(IConnectionMultiplexer.GetServers) => _servers.ToArray(),
                nameof(IAsyncDisposable.DisposeAsync) => ValueTask.CompletedTask,
                _ => throw new NotSupportedException(method),
            };
        });
    }

    [Fact]
    public async Task Connection_IsCreatedOnce_OnFirstUse()
    {
        var made = 0;
        await using var services = new ServiceCollection().AddTransient(_ =>
        {
            made++;
            return _multiplexer;
        }).BuildServiceProvider();
        var link = Connection(services);
        Assert.Equal(0, made);

        Assert.Same(_database, await link.GetAsync(TestContext.Current.CancellationToken));
        Assert.Same(_database, await link.GetAsync(TestContext.Current.CancellationToken));
        Assert.Equal(1, made);
    }

    [Fact]
    public async Task Readers_HaveAConnectionOfTheirOwn_WhoseChangesAreNotTheWriters()
    {
        var (handlers, connected) = (0, false);
        var database = Proxy.Of<IDatabase>((method, _) => throw new NotSupportedException(method));
        var readers = Proxy.Of<IConnectionMultiplexer>((method, arguments) =>
        {
            handlers += method.StartsWith("add_", StringComparison.Ordinal) ? 1 : 0;
            return method switch
            {
                nameof(IConnectionMultiplexer.GetDatabase) when arguments[0] is 3 => database,
                nameof(IAsyncDisposable.DisposeAsync) => ValueTask.CompletedTask,
                $"get_{nameof(IConnectionMultiplexer.IsConnected)}" => connected,
                _ => null,
            };
        });
        await using var services = new ServiceCollection().AddTransient(_ => _multiplexer).AddKeyedTransient(RedisConnection.Name, (_, _) => readers).BuildServiceProvider();
        var link = Connection(services);

        Assert.Same(database, await link.GetForReadersAsync(TestContext.Current.CancellationToken));
        Assert.Same(_database, await link.GetAsync(TestContext.Current.CancellationToken));
        Assert.Equal(0, handlers);
        Assert.Equal(3, _handlers.Count);
        Assert.True(await link.AnswersAsync(TestContext.Current.CancellationToken));
        Assert.False(link.IsConnectedForReaders);
        connected = true;
        Assert.True(link.IsConnectedForReaders);
    }

    [Fact]
    public async Task ConnectionForReaders_ThatIsBeingMade_IsNotThereYet()
    {
        using var connects = new ManualResetEventSlim();
        var link = new RedisConnection(() => _multiplexer, () =>
        {
            connects.Wait(TimeSpan.FromSeconds(20));
            return Proxy.Of<IConnectionMultiplexer>((_, _) => true);
        }, _options);

        Assert.True(await link.AnswersAsync(TestContext.Current.CancellationToken));
        Assert.False(link.IsConnectedForReaders);
        connects.Set();
        await Eventually.HoldsAsync(() => Assert.True(link.IsConnectedForReaders));
    }

    [Fact]
    public async Task PendingConnection_IsAwaitedOnlyAsLongAsTheCallerIsWilling()
    {
        using var connects = new ManualResetEventSlim();
        await using var services = new ServiceCollection().AddTransient(_ =>
        {
            connects.Wait(TimeSpan.FromSeconds(20));
            return _multiplexer;
        }).BuildServiceProvider();
        var link = Connection(services);
        using var timeout = new CancellationTokenSource(TimeSpan.FromMilliseconds(20));

        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await link.GetAsync(timeout.Token));
        Assert.False(await link.AnswersAsync(TestContext.Current.CancellationToken));

        connects.Set();
        Assert.Same(_database, await link.GetAsync(TestContext.Current.CancellationToken));
    }

    [Theory]
    [InlineData(nameof(IConnectionMultiplexer.ConnectionFailed))]
    [InlineData(nameof(IConnectionMultiplexer.ConnectionRestored))]
    [InlineData(nameof(IConnectionMultiplexer.ConfigurationChanged))]
    public void EachChangeOfConnections_IsCounted(string change)
    {
        var link = RedisConnection.Over(_multiplexer, _options);
        Assert.Equal(0, link.Changes);
        for (var times = 1; times <= 2; times++)
        {
            _handlers[change].DynamicInvoke(_multiplexer, null);
            Assert.Equal(times, link.Changes);
        }
    }

    [Fact]
    public async Task Answer_IsAPing_InTime()
    {
        var link = RedisConnection.Over(_multiplexer, _options);
        Assert.True(await link.AnswersAsync(TestContext.Current.CancellationToken));

        _ping = () => Task.FromException<TimeSpan>(new TimeoutException());
        Assert.False(await link.AnswersAsync(TestContext.Current.CancellationToken));

        _ping = () => new TaskCompletionSource<TimeSpan>().Task;
        Assert.False(await link.AnswersAsync(TestContext.Current.CancellationToken));

        _ping = () => Task.FromException<TimeSpan>(new InvalidOperationException());
        await Assert.ThrowsAsync<InvalidOperationException>(() => link.AnswersAsync(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task RunIds_AreThoseOfTheConnectedPrimaries_InOrder_EachOnce()
    {
        Server("b");
        Server("a");
        Server("b");
        Server("replica", isReplica: true);
        Server("away", isConnected: false);

        var (ids, silent) = await RedisConnection.Over(_multiplexer, _options).RunIdsAsync(TestContext.Current.CancellationToken);
        Assert.Equal(["a", "b"], ids);
        Assert.Empty(silent);
    }

    [Fact]
    public async Task RunId_ThatTheUserMayNotRead_IsLeftOut_AndAnyOtherFailureIsThrown()
    {
        Server("a");
        Server("", failure: Says("NOPERM this user has no permissions to run the 'info' command"));
        var (ids, silent) = await RedisConnection.Over(_multiplexer, _options).RunIdsAsync(TestContext.Current.CancellationToken);
        Assert.Equal(["a"], ids);
        Assert.Same(_servers[1], Assert.Single(silent));

        Server("", failure: Says("LOADING Redis is loading the dataset in memory"));
        await Assert.ThrowsAsync<RedisServerException>(() => RedisConnection.Over(_multiplexer, _options).RunIdsAsync(TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task Replies_AreAllAwaited_AndTheFirstFailureIsThrown()
    {
        var wrongType = Task.FromException(Says("WRONGTYPE Operation against a key"));
        var late = new TaskCompletionSource();
        var settling = RedisReplies.Settle([wrongType, late.Task]);
        Assert.False(settling.IsCompleted);
        late.SetException(new TimeoutException());
        await settling;

        Assert.True(RedisReplies.MetWrongType(wrongType));
        Assert.False(RedisReplies.MetWrongType(late.Task));
        Assert.False(RedisReplies.MetWrongType(Task.CompletedTask));
        RedisReplies.ThrowIfAnyFailed(Task.CompletedTask);
        Assert.Throws<TimeoutException>(() => RedisReplies.ThrowIfAnyFailed(Task.CompletedTask, late.Task, wrongType));
        Assert.ThrowsAny<OperationCanceledException>(() => RedisReplies.ThrowIfAnyFailed(Task.FromCanceled(new(true))));
    }

    private void Server(string runId, bool isConnected = true, bool isReplica = false, Exception? failure = null) => _servers.Add(Proxy.Of<IServer>((method, arguments) => method switch
    {
        "get_IsConnected" => isConnected,
        "get_IsReplica" => isReplica,
        "get_EndPoint" => new IPEndPoint(IPAddress.Loopback, 1),
        nameof(IServer.InfoAsync) when arguments[0]!.ToString() == "server" => failure is null
            ? Task.FromResult(new[] { KeyValuePair.Create("redis_version", "8"), KeyValuePair.Create("run_id", runId) }.GroupBy(_ => "Server").ToArray())
            : Task.FromException<IGrouping<string, KeyValuePair<string, string>>[]>(failure),
        _ => throw new NotSupportedException(method),
    }));

#pragma warning disable CS0618 // The client alone is to make these; a test has to.
    private static RedisServerException Says(string message) => new(message);
#pragma warning restore CS0618

    private RedisConnection Connection(IServiceProvider services) => new(
        services.GetRequiredService<IConnectionMultiplexer>, () => services.GetRequiredKeyedService<IConnectionMultiplexer>(RedisConnection.Name), _options);
}
