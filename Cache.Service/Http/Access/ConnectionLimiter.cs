using System.Globalization;
using System.Net;
using Cache.Service.Options;
using Cache.Service.Telemetry;
using Microsoft.AspNetCore.Connections;

namespace Cache.Service.Http.Access;

/// <summary>
/// Limits open connections, in total (<c>http_max_connections</c>, capped by the process's limit on open files) and per
/// address (<c>http_max_connections_per_client</c>), and closes connections that send nothing. <c>health_port</c> is counted separately.
/// </summary>
internal sealed partial class ConnectionLimiter
{
    /// <summary>
    /// File descriptors reserved for brokers, Redis, probes, and assemblies the runtime has yet to load: if it runs out, it ends the process.
    /// </summary>
    public const int Reserve = 256;

    /// <summary>Probes and scrapers are few, and keep their connections open.</summary>
    public const int MaxHealthPortConnections = 64;

    // Same as RequestHeadersTimeout.
    private static readonly TimeSpan FirstByteTimeout = TimeSpan.FromSeconds(10);

    private readonly CacheOptions _options;
    private readonly AccessMetrics _metrics;
    private readonly Lock _gate = new();
    private readonly Dictionary<string, int> _byClient = [];
    private int _total;
    private int _healthPort;

    public ConnectionLimiter(CacheOptions options, AccessMetrics metrics, ILogger<ConnectionLimiter> logger)
        : this(options, metrics, logger, FileLimit(), OpenFiles())
    {
    }

    internal ConnectionLimiter(CacheOptions options, AccessMetrics metrics, ILogger<ConnectionLimiter> logger, long files, long openFiles)
    {
        (_options, _metrics) = (options, metrics);
        var free = files - openFiles;
        Most = (int)Math.Min(options.HttpMaxConnections, Math.Max(1, free - Math.Min(Reserve, free / 2)));
        if (Most < options.HttpMaxConnections)
        {
            LogLimited(logger, Most, files, openFiles, options.HttpMaxConnections);
        }
    }

    /// <summary>The most connections held at a time, those of <c>health_port</c> aside.</summary>
    public int Most { get; }

    /// <summary>Admits a connection if it is within the limits and sends something.</summary>
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
            if (await SendsFirstByteAsync(connection))
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
            if (Interlocked.Increment(ref _healthPort) <= MaxHealthPortConnections)
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
            Interlocked.Decrement(ref _healthPort);
        }
    }

    private async Task RefuseAsync(ConnectionContext connection, RefusedConnection reason)
    {
        _metrics.ConnectionRefused(reason);
        await connection.Transport.Input.CompleteAsync();
        await connection.Transport.Output.CompleteAsync();
    }

    /// <summary>Waits for the first bytes without consuming them. Kestrel itself would wait two minutes.</summary>
    private static async Task<bool> SendsFirstByteAsync(ConnectionContext connection)
    {
        using var deadline = new CancellationTokenSource(FirstByteTimeout);
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

    /// <summary>Counts a connection in, or returns the limit that it exceeds.</summary>
    private RefusedConnection? Enter(string? client)
    {
        lock (_gate)
        {
            if (_total >= Most)
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

            _total++;
            return null;
        }
    }

    private void Leave(string? client)
    {
        lock (_gate)
        {
            _total--;
            if (client is not null && --_byClient[client] == 0)
            {
                _byClient.Remove(client);
            }
        }
    }

    /// <summary>The client to count a connection for; null if it is exempt: no limit is set, or it comes from a trusted proxy or this machine.</summary>
    private string? ClientOf(EndPoint? remote)
    {
        if (_options.HttpMaxConnectionsPerClient == 0 || remote is not IPEndPoint { Address: var address })
        {
            return null;
        }

        address = address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;
        return IPAddress.IsLoopback(address) || _options.TrustedProxies.Any(proxy => proxy.Contains(address)) ? null : Clients.Of(address);
    }

    /// <summary>The process's limit on open files, sockets included; unlimited where the system does not report one.</summary>
    private static long FileLimit()
    {
        const string Limits = "/proc/self/limits";
        const string Name = "Max open files";
        if (!File.Exists(Limits) || File.ReadLines(Limits).FirstOrDefault(line => line.StartsWith(Name, StringComparison.Ordinal)) is not { } limit)
        {
            return long.MaxValue;
        }

        // Name, soft limit, hard limit, unit. The runtime has already raised the soft limit to the hard one.
        return long.TryParse(limit[Name.Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0], NumberStyles.None, CultureInfo.InvariantCulture, out var max)
            ? max : long.MaxValue;
    }

    /// <summary>The number of files that the process has open, including one per assembly.</summary>
    private static long OpenFiles() => Directory.Exists("/proc/self/fd") ? Directory.EnumerateFileSystemEntries("/proc/self/fd").LongCount() : 0;

    [LoggerMessage(EventIds.Protect + 2, LogLevel.Warning,
        "HTTP is limited to {Most} connections: the process may open {Files} files, has {Open} open, and needs some for Kafka and Redis. To allow the {Asked} in http_max_connections, raise the file limit (ulimit -n, LimitNOFILE=).")]
    private static partial void LogLimited(ILogger logger, int most, long files, long open, int asked);
}
