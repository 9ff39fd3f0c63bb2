using System.Diagnostics;
using Cache.Service.Options;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// The connections to Redis: one for writes, the subscription and probes, and one for readers, so that nothing else waits
/// behind large replies (docs/decisions/0012). Both connect in the background, because connecting blocks for seconds while
/// Redis is down, and neither startup nor an HTTP request may wait for that.
/// </summary>
internal sealed class RedisConnection
{
    /// <summary>The name of the connection string, and the service key of the readers' connection.</summary>
    public const string Name = "redis";

    private readonly CacheOptions _options;
    private readonly Lazy<Task<IConnectionMultiplexer>> _connecting;
    private readonly Lazy<Task<IConnectionMultiplexer>> _connectingReaders;
    private int _changes;

    /// <param name="connect">Connects for writes, the subscription and probes; blocks.</param>
    /// <param name="connectReaders">Connects for readers; blocks.</param>
    /// <param name="options">The configuration.</param>
    public RedisConnection(Func<IConnectionMultiplexer> connect, Func<IConnectionMultiplexer> connectReaders, CacheOptions options)
    {
        _options = options;
        _connectingReaders = new(() => Task.Run(connectReaders));
        _connecting = new(() =>
        {
            // Connected early, because the first reader will not wait for it.
            _ = _connectingReaders.Value;
            return Task.Run(() => CountChanges(connect()));
        });
    }

    private RedisConnection(IConnectionMultiplexer connected, CacheOptions options)
    {
        _options = options;
        _connecting = _connectingReaders = new(Task.FromResult(CountChanges(connected)));
    }

    /// <summary>
    /// Number of times that the writer's connection was lost, restored or reconfigured: each time, it may lead to another server.
    /// </summary>
    public int Changes => Volatile.Read(ref _changes);

    /// <summary>Uses an existing connection for everything, readers included.</summary>
    public static RedisConnection Over(IConnectionMultiplexer connected, CacheOptions options) => new(connected, options);

    /// <summary>Gets the database after the first attempt to connect.</summary>
    /// <exception cref="OperationCanceledException">The attempt took longer than the caller is willing to wait.</exception>
    public ValueTask<IDatabase> GetAsync(CancellationToken cancellationToken = default) => GetAsync(_connecting.Value, cancellationToken);

    /// <summary>Gets the database for readers.</summary>
    /// <inheritdoc cref="GetAsync(CancellationToken)"/>
    public ValueTask<IDatabase> GetForReadersAsync(CancellationToken cancellationToken = default) => GetAsync(_connectingReaders.Value, cancellationToken);

    /// <summary>Whether Redis answers a PING within 0.75 s on the writer's connection, which no large reply can block.</summary>
    public async Task<bool> AnswersAsync(CancellationToken cancellationToken = default)
    {
        // Health probes are not traced, so the PING must not start a trace of its own.
        Activity.Current = null;
        using var timeout = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        timeout.CancelAfter(TimeSpan.FromSeconds(0.75));
        try
        {
            var database = await GetAsync(timeout.Token);
            await database.PingAsync().WaitAsync(timeout.Token);
            return true;
        }
        catch (Exception exception) when (RedisErrors.IsUnavailable(exception))
        {
            return false;
        }
    }

    /// <summary>Whether the readers' connection is there. Not asked by a PING, which would wait behind their replies.</summary>
    public bool IsConnectedForReaders => _connectingReaders.Value is { IsCompletedSuccessfully: true, Result.IsConnected: true };

    /// <summary>
    /// Gets the run ids of the connected primaries. A server gets a new run id each time it starts, and a replica that takes
    /// over has its own.
    /// </summary>
    /// <returns>The run ids, sorted, and the servers that refuse INFO to this user.</returns>
    /// <exception cref="RedisException">A server did not answer.</exception>
    public async Task<(IReadOnlyList<string> Ids, IReadOnlyList<IServer> Silent)> RunIdsAsync(CancellationToken cancellationToken = default)
    {
        var database = await GetAsync(cancellationToken);
        var ids = new SortedSet<string>(StringComparer.Ordinal);
        var silent = new List<IServer>();
        foreach (var server in database.Multiplexer.GetServers())
        {
            if (server is not { IsConnected: true, IsReplica: false })
            {
                continue;
            }

            try
            {
                var fields = (await server.InfoAsync("server")).SelectMany(section => section);
                ids.UnionWith(fields.Where(field => field.Key == "run_id").Select(field => field.Value));
            }
            catch (RedisServerException exception) when (RedisErrors.IsNotPermitted(exception))
            {
                silent.Add(server);
            }
        }

        return ([.. ids], silent);
    }

    private async ValueTask<IDatabase> GetAsync(Task<IConnectionMultiplexer> connecting, CancellationToken cancellationToken)
    {
        var multiplexer = connecting.IsCompletedSuccessfully ? connecting.Result : await connecting.WaitAsync(cancellationToken);
        return multiplexer.GetDatabase(_options.RedisDb);
    }

    private IConnectionMultiplexer CountChanges(IConnectionMultiplexer multiplexer)
    {
        multiplexer.ConnectionFailed += (_, _) => Interlocked.Increment(ref _changes);
        multiplexer.ConnectionRestored += (_, _) => Interlocked.Increment(ref _changes);
        multiplexer.ConfigurationChanged += (_, _) => Interlocked.Increment(ref _changes);
        return multiplexer;
    }
}
