using System.Globalization;
using System.Net;
using System.Net.Sockets;
using StackExchange.Redis;

namespace Cache.Tests.Faults;

/// <summary>
/// The redis-servers of a test: one, a primary with its replica, or a cluster of three. Faults change what the service's user
/// may do; the test's own client is a different user.
/// </summary>
internal sealed class RedisGroup : IAsyncDisposable
{
    private const string AdminName = "campaign";

    private static readonly string[] AdminUser = ["--user", AdminName, "on", $">{AdminName}", "~*", "&*", "+@all"];

    private readonly ConnectionMultiplexer _admin;

    private RedisGroup(IReadOnlyList<RedisServer> servers, ConnectionMultiplexer admin) => (Servers, _admin) = (servers, admin);

    public IReadOnlyList<RedisServer> Servers { get; }

    /// <summary>A client that faults do not affect.</summary>
    public IConnectionMultiplexer Admin => _admin;

    /// <summary>All addresses, as a connection string for the service.</summary>
    public string ConnectionString => string.Join(',', Servers.Select(server => server.ConnectionString));

    /// <summary>Starts a single server.</summary>
    public static async Task<RedisGroup> StartOneAsync() => await StartAsync([await RedisServer.StartAsync(null, AdminUser)]);

    /// <summary>Starts a primary and its replica.</summary>
    public static async Task<RedisGroup> StartPairAsync()
    {
        var group = await StartAsync([await RedisServer.StartAsync(null, AdminUser), await RedisServer.StartAsync(null, AdminUser)]);
        await group.FollowAsync(group.Servers[1], group.Servers[0]);
        return group;
    }

    /// <summary>Starts a cluster of three primaries that share the slots.</summary>
    public static async Task<RedisGroup> StartClusterAsync()
    {
        var servers = new List<RedisServer>();
        for (var node = 0; node < 3; node++)
        {
            servers.Add(await RedisServer.StartAsync(
                null, [.. AdminUser, "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-port", $"{FreePort()}"]));
        }

        var group = await StartAsync(servers);
        for (var node = 0; node < 3; node++)
        {
            await group.ExecuteAsync(servers[node], "CLUSTER", "ADDSLOTSRANGE", node * 16384 / 3, ((node + 1) * 16384 / 3) - 1);
            var bus = (await group.ExecuteAsync(servers[node], "CONFIG", "GET", "cluster-port"))[1].ToString();
            await group.ExecuteAsync(servers[0], "CLUSTER", "MEET", "127.0.0.1", servers[node].Port, bus);
        }

        await group.ClusterIsOkAsync();
        await group._admin.ConfigureAsync();
        return group;
    }

    /// <summary>The admin client's connection to one server.</summary>
    public IServer Of(RedisServer server) => _admin.GetServer(IPAddress.Loopback, server.Port);

    /// <summary>Runs a command on a server; retries while it is unreachable, or is still taken for the replica that it was a moment ago.</summary>
    public async Task<RedisResult> ExecuteAsync(RedisServer server, string command, params object[] arguments)
    {
        for (var attempt = 1; ; attempt++)
        {
            try
            {
                return await Of(server).ExecuteAsync(command, arguments);
            }
            catch (RedisCommandException) when (attempt < 200)
            {
                await _admin.ConfigureAsync();
                await Task.Delay(50);
            }
            catch (Exception exception) when (attempt < 200 && exception is RedisConnectionException or RedisTimeoutException)
            {
                await Task.Delay(50);
            }
        }
    }

    /// <summary>Makes a server the replica of another, and waits until it is in sync.</summary>
    public async Task FollowAsync(RedisServer replica, RedisServer primary)
    {
        await ExecuteAsync(replica, "REPLICAOF", "127.0.0.1", $"{primary.Port}");
        await EndToEnd.Eventually.HoldsAsync(async () => Assert.Contains("master_link_status:up", await InfoAsync(replica)));
    }

    /// <summary>Promotes a server to primary.</summary>
    public Task PromoteAsync(RedisServer replica) => ExecuteAsync(replica, "REPLICAOF", "NO", "ONE");

    /// <summary>A server's INFO section on replication.</summary>
    public async Task<string> InfoAsync(RedisServer server) => (await ExecuteAsync(server, "INFO", "replication")).ToString();

    /// <summary>Waits until every node reports a healthy cluster.</summary>
    public Task ClusterIsOkAsync() => EndToEnd.Eventually.HoldsAsync(async () =>
    {
        foreach (var server in Servers)
        {
            Assert.Contains("cluster_state:ok", (await ExecuteAsync(server, "CLUSTER", "INFO")).ToString());
            Assert.Equal(3, (await ExecuteAsync(server, "CLUSTER", "NODES")).ToString().Split('\n').Count(node => node.Contains("connected", StringComparison.Ordinal) && !node.Contains("disconnected", StringComparison.Ordinal)));
        }
    });

    /// <summary>Moves a key's slot, with all keys in it, to another node.</summary>
    public async Task MoveSlotAsync(string key)
    {
        var slot = _admin.GetHashSlot(key);
        var ids = new List<string>();
        foreach (var server in Servers)
        {
            ids.Add((await ExecuteAsync(server, "CLUSTER", "MYID")).ToString());
        }

        var from = await OwnerAsync(slot);
        var to = (from + 1) % Servers.Count;
        await ExecuteAsync(Servers[to], "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[from]);
        await ExecuteAsync(Servers[from], "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[to]);

        // In between, each node has some of the keys, and redirects clients to the other.
        await Task.Delay(300);
        while (((RedisKey[]?)await ExecuteAsync(Servers[from], "CLUSTER", "GETKEYSINSLOT", slot, 100))! is { Length: > 0 } keys)
        {
            await ExecuteAsync(Servers[from], "MIGRATE",
                ["127.0.0.1", Servers[to].Port, "", 0, 5000, "AUTH2", AdminName, AdminName, "KEYS", .. keys.Select(moved => (object)moved)]);
        }

        foreach (var server in (int[])[to, from, .. Enumerable.Range(0, Servers.Count).Where(node => node != to && node != from)])
        {
            await ExecuteAsync(Servers[server], "CLUSTER", "SETSLOT", slot, "NODE", ids[to]);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _admin.DisposeAsync();
        foreach (var server in Servers)
        {
            await server.DisposeAsync();
        }
    }

    private async Task<int> OwnerAsync(int slot)
    {
        for (var node = 0; node < Servers.Count; node++)
        {
            var self = (await ExecuteAsync(Servers[node], "CLUSTER", "NODES")).ToString().Split('\n').Single(line => line.Contains("myself", StringComparison.Ordinal));
            foreach (var range in self.Split(' ').Skip(8).Where(range => !range.StartsWith('[')))
            {
                var ends = range.Trim().Split('-');
                if (int.Parse(ends[0], CultureInfo.InvariantCulture) <= slot && slot <= int.Parse(ends[^1], CultureInfo.InvariantCulture))
                {
                    return node;
                }
            }
        }

        throw new InvalidOperationException($"Nobody has slot {slot}.");
    }

    private static async Task<RedisGroup> StartAsync(IReadOnlyList<RedisServer> servers)
    {
        var options = ConfigurationOptions.Parse(string.Join(',', servers.Select(server => server.ConnectionString)));
        (options.User, options.Password, options.AllowAdmin, options.AbortOnConnectFail) = (AdminName, AdminName, true, false);
        (options.AsyncTimeout, options.SyncTimeout, options.ConnectTimeout, options.ConfigCheckSeconds) = (2000, 2000, 1000, 1);
        options.ReconnectRetryPolicy = new LinearRetry(200);
        return new(servers, await ConnectionMultiplexer.ConnectAsync(options));
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }
}
