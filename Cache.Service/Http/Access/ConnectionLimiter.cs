using System.Globalization;
using System.Net;
using Cache.Service.Options;
using Cache.Service.Telemetry;
using Microsoft.AspNetCore.Connections;

namespace Cache.Service.Http.Access;

/// <summary>
/// Counts the open connections, in all (<c>http_max_connections</c>, and no more than the process may open files) and of an
/// address (<c>http_max_connections_per_client</c>), and closes those that say nothing. Those of <c>health_port</c> are none of them.
/// </summary>
internal sealed partial class ConnectionLimiter
{
    /// <summary>Files that are kept for the brokers, Redis, probes, and what the runtime has yet to load: without any it ends the process.</summary>
    public const int Reserve = 256;

    // Probes and scrapers are few, and keep theirs.
    private const int MostOfHealthPort = 64;

    // As long as the headers of a request may take.
    private static readonly TimeSpan MaxSilence = TimeSpan.FromSeconds(10);

    private readonly CacheOptions _options;
    private readonly AccessMetrics _metrics;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, int> _byClient = [];
    private readonly int _max;
    private int _all;
    private int _ofHealthPort;

    public ConnectionLimiter(CacheOptions options, AccessMetrics metrics, ILogger<ConnectionLimiter> logger)
        : this(options, metrics, logger, FileLimit(), OpenFiles())
    {
    }

    internal ConnectionLimiter(CacheOptions options, AccessMetrics metrics, ILogger<ConnectionLimiter> logger, long files, long openFiles)
    {
        (_options, _metrics) = (options, metrics);
        var free = files - openFiles;
        _max = (int)Math.Min(options.HttpMaxConnections, Math.Max(1, free - Math.Min(Reserve, free / 2)));
        if (_max < options.HttpMaxConnections)
        {
            LogLimited(logger, _max, files, openFiles, options.HttpMaxConnections);
        }
    }

    /// <summary>Lets a connection in when there is a place for it, and it says something.</summary>
    public ConnectionDelegate Limit(ConnectionDelegate next) => async connection =>
    {
        if (connection.LocalEndPoint is IPEndPoint { Port: var port } && port == _options.HealthPort)
        {
            await ProbeAsync(connection, next);
            return;
        }

        var client = ClientOf(connection.RemoteEndPoint);
        if (Enter(client) is { } refused)
        {
            await RefuseAsync(connection, refused);
            return;
        }

        try
        {
            if (await SaysSomethingAsync(connection))
            {
                await next(connection);
            }
            else
            {
                await RefuseAsync(connection, RefusedConnection.Silent);
            }
        }
        finally
        {
            Leave(client);
        }
    };

    private async Task ProbeAsync(ConnectionContext connection, ConnectionDelegate next)
    {
        try
        {
            if (Interlocked.Increment(ref _ofHealthPort) <= MostOfHealthPort)
            {
                await next(connection);
            }
            else
            {
                await RefuseAsync(connection, RefusedConnection.All);
            }
        }
        finally
        {
            Interlocked.Decrement(ref _ofHealthPort);
        }
    }

    private async Task RefuseAsync(ConnectionContext connection, RefusedConnection reason)
    {
        _metrics.ConnectionRefused(reason);
        await connection.Transport.Input.CompleteAsync();
        await connection.Transport.Output.CompleteAsync();
    }

    /// <summary>Waits for the first bytes, and leaves them where they are. Of a connection without any the server would wait for two minutes.</summary>
    private static async Task<bool> SaysSomethingAsync(ConnectionContext connection)
    {
        using var deadline = new CancellationTokenSource(MaxSilence);
        try
        {
            var first = await connection.Transport.Input.ReadAsync(deadline.Token);
            connection.Transport.Input.AdvanceTo(first.Buffer.Start);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
    }

    /// <summary>Takes a place; why there is none.</summary>
    private RefusedConnection? Enter(string? client)
    {
        lock (_gate)
        {
            if (_all >= _max)
            {
                return RefusedConnection.All;
            }

            if (client is not null)
            {
                var own = _byClient.GetValueOrDefault(client);
                if (own >= _options.HttpMaxConnectionsPerClient)
                {
                    return RefusedConnection.Client;
                }

                _byClient[client] = own + 1;
            }

            _all++;
            return null;
        }
    }

    private void Leave(string? client)
    {
        lock (_gate)
        {
            _all--;
            if (client is not null && --_byClient[client] == 0)
            {
                _byClient.Remove(client);
            }
        }
    }

    /// <summary>Whose connection it is; null when nobody counts it: no limit is set, or it is a proxy's, or of this machine.</summary>
    private string? ClientOf(EndPoint? remote)
    {
        if (_options.HttpMaxConnectionsPerClient == 0 || remote is not IPEndPoint { Address: var address })
        {
            return null;
        }

        address = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        return IPAddress.IsLoopback(address) || _options.TrustedProxies.Any(proxy => proxy.Contains(address)) ? null : Clients.Of(address);
    }

    /// <summary>How many files the process may open, sockets among them; where the system does not tell, as many as one likes.</summary>
    private static long FileLimit()
    {
        const string Limits = "/proc/self/limits";
        const string Name = "Max open files";
        if (!File.Exists(Limits) || File.ReadLines(Limits).FirstOrDefault(line => line.StartsWith(Name, StringComparison.Ordinal)) is not { } limit)
        {
            return long.MaxValue;
        }

        // Name, soft limit, hard limit, unit; the runtime has raised the soft one as far as it may.
        return long.TryParse(limit[Name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0], NumberStyles.None, CultureInfo.InvariantCulture, out var most)
            ? most : long.MaxValue;
    }

    /// <summary>How many files the process has open, each of its assemblies among them.</summary>
    private static long OpenFiles() => Directory.Exists("/proc/self/fd") ? Directory.EnumerateFileSystemEntries("/proc/self/fd").LongCount() : 0;

    [LoggerMessage(EventIds.Protect + 2, LogLevel.Warning,
        "HTTP takes {Most} connections: the process may open {Files} files, has {Open} open, and needs some for Kafka and Redis. For the {Asked} of http_max_connections raise that limit (ulimit -n, LimitNOFILE=).")]
    private static partial void LogLimited(ILogger logger, int most, long files, long open, int asked);
}
