using System.Diagnostics;
using Cache.Service.Options;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// The way to Redis: one connection for what is written, heard and probed, and one for readers, whose large replies nothing
/// else has to wait behind (docs/decisions/0012). Each is made in the background, since making it blocks for seconds while
/// Redis is away, and neither the start of the service nor an HTTP request may wait for that.
/// </summary>
internal sealed class RedisConnection
{
    /// <summary>The connection string's name, and the service key of the readers' connection.</summary>
    public const string Name = "redis";

    private readonly CacheOptions _options;
    private readonly Lazy<Task<IConnectionMultiplexer>> _connecting;
    private readonly Lazy<Task<IConnectionMultiplexer>> _connectingReaders;
    private int _changes;

    public RedisConnection(IServiceProvider services, CacheOptions options)
    {
        _options = options;
        _connectingReaders = new(() => Task.Run(() => services.GetRequiredKeyedService<IConnectionMultiplexer>(Name)));
        _connecting = new(() =>
        {
            // It has to be there when the first reader comes, who will not wait for it.
            _ = _connectingReaders.Value;
            return Task.Run(() => Listen(services.GetRequiredService<IConnectionMultiplexer>()));
        });
    }

    private RedisConnection(IConnectionMultiplexer connected, CacheOptions options)
    {
        _options = options;
        _connecting = _connectingReaders = new(Task.FromResult(Listen(connected)));
    }

    /// <summary>Counts each time that a connection of the writer went or came: another server may be at its other end since.</summary>
    public int Changes => Volatile.Read(ref _changes);

    /// <summary>A way that is there already, for readers too.</summary>
    public static RedisConnection Over(IConnectionMultiplexer connected, CacheOptions options) => new(connected, options);

    /// <summary>The database, once there has been a first attempt to connect.</summary>
    /// <exception cref="OperationCanceledException">That took longer than the caller would wait.</exception>
    public ValueTask<IDatabase> GetAsync(CancellationToken cancellationToken = default) => GetAsync(_connecting.Value, cancellationToken);

    /// <summary>The database for readers.</summary>
    /// <inheritdoc cref="GetAsync(CancellationToken)"/>
    public ValueTask<IDatabase> GetForReadersAsync(CancellationToken cancellationToken = default) => GetAsync(_connectingReaders.Value, cancellationToken);

    /// <summary>Whether Redis answers a PING within a second; on the writer's connection, where no large reply is in its way.</summary>
    public async Task<bool> AnswersAsync(CancellationToken cancellationToken = default)
    {
        // Who asks is a health probe, which has no trace for the PING to be in.
        Activity.Current = null;
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(TimeSpan.FromSeconds(0.75));
        try
        {
            var database = await GetAsync(deadline.Token);
            await database.PingAsync().WaitAsync(deadline.Token);
            return true;
        }
        catch (Exception exception) when (RedisErrors.IsUnavailable(exception))
        {
            return false;
        }
    }

    /// <summary>
    /// The run ids of the primaries that are connected: a server gets a new one each time that it starts, and a replica
    /// that takes over has its own.
    /// </summary>
    /// <returns>In order; and the servers that do not let this user ask.</returns>
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

    private IConnectionMultiplexer Listen(IConnectionMultiplexer multiplexer)
    {
        multiplexer.ConnectionFailed += (_, _) => Interlocked.Increment(ref _changes);
        multiplexer.ConnectionRestored += (_, _) => Interlocked.Increment(ref _changes);
        multiplexer.ConfigurationChanged += (_, _) => Interlocked.Increment(ref _changes);
        return multiplexer;
    }
}
