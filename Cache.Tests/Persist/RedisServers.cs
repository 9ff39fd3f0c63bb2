using Cache.Embedded;
using Cache.Tests.Persist;
using StackExchange.Redis;

[assembly: AssemblyFixture(typeof(RedisServers))]

namespace Cache.Tests.Persist;

/// <summary>The server that a Redis test runs on.</summary>
public enum RedisKind
{
    /// <summary>Garnet, in this process.</summary>
    Embedded,

    /// <summary>A redis-server that requires a password.</summary>
    Real,
}

/// <summary>One server of each kind, shared by all tests and started on first use. Key prefixes keep tests apart.</summary>
public sealed class RedisServers : IAsyncDisposable
{
    private readonly Lazy<Task<Connected>> _embedded = new(async () =>
    {
        var redis = await EmbeddedRedis.StartAsync();
        return await Connected.ToAsync(redis, redis.ConnectionString);
    });

    private readonly Lazy<Task<Connected>> _real = new(async () =>
    {
        var redis = await RedisServer.StartAsync("secret");
        return await Connected.ToAsync(redis, redis.ConnectionString);
    });

    /// <summary>Connects to a server; skips the test if it is not available.</summary>
    public async Task<IConnectionMultiplexer> ConnectAsync(RedisKind kind)
    {
        if (kind == RedisKind.Real)
        {
            // Checked per test: the first result would otherwise be cached for all.
            RedisServer.Require();
        }

        return (await (kind == RedisKind.Embedded ? _embedded : _real).Value).Client;
    }

    /// <summary>The stages that talk to Redis, under their own key prefix.</summary>
    internal async Task<RedisStages> StagesAsync(RedisKind kind, int retention = 120, int ttlSeconds = 21600, TimeProvider? time = null) =>
        new(await ConnectAsync(kind), retention, ttlSeconds, time: time);

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        foreach (var server in new[] { _embedded, _real })
        {
            if (server.IsValueCreated && server.Value.IsCompletedSuccessfully)
            {
                await (await server.Value).DisposeAsync();
            }
        }
    }

    private sealed record Connected(IAsyncDisposable Server, ConnectionMultiplexer Client) : IAsyncDisposable
    {
        public static async Task<Connected> ToAsync(IAsyncDisposable server, string connectionString) =>
            new(server, await ConnectionMultiplexer.ConnectAsync(connectionString, options => options.AllowAdmin = true));

        public async ValueTask DisposeAsync()
        {
            await Client.DisposeAsync();
            await Server.DisposeAsync();
        }
    }
}
