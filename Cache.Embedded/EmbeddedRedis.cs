using System.Net;
using System.Net.Sockets;
using Garnet;
using Garnet.server;
using Garnet.server.Auth.Settings;

namespace Cache.Embedded;

/// <summary>
/// An in-process Redis: Garnet on a loopback port, for any client, in this process or another. For development and tests.
/// </summary>
/// <remarks>
/// <para>Data is held in memory only, up to 256 MiB by Garnet's own count (the process takes up to four times as much); beyond
/// that, the least recently written keys are evicted. An empty server takes about 20 MB.</para>
/// <para>Lua is disabled. Members are safe to call from any thread. After disposal they throw
/// <see cref="ObjectDisposedException"/>; disposing again does nothing.</para>
/// </remarks>
public sealed class EmbeddedRedis : IAsyncDisposable
{
    // Below the ranges that Linux (from 32768), macOS and Windows (from 49152) use for outgoing connections: nothing else takes
    // the port while the server is down, and no client that retries it connects to itself.
    private const int FirstFreePort = 20000;
    private const int LastFreePort = 32767;
    private const int PortAttempts = 20;

    private readonly Lock _lock = new();
    private readonly string? _password;
    private GarnetServer? _server;
    private bool _disposed;

    private EmbeddedRedis(int port, string? password)
    {
        Port = port;
        _password = password;
        ConnectionString = password is null ? $"127.0.0.1:{port}" : $"127.0.0.1:{port},password={password}";
    }

    /// <summary>The port on 127.0.0.1; it never changes.</summary>
    public int Port { get; }

    /// <summary>For StackExchange.Redis: <c>127.0.0.1:port</c>, with <c>,password=…</c> if one is set.</summary>
    public string ConnectionString { get; }

    /// <summary>Starts a server on 127.0.0.1.</summary>
    /// <param name="port">1 to 65535, or 0 for a free one.</param>
    /// <param name="password">The password that clients must send (AUTH), not empty and without commas; null for none.</param>
    /// <param name="cancellationToken">Cancels the start, until it has begun.</param>
    /// <exception cref="ArgumentException">The port is out of range, or the password is invalid.</exception>
    /// <exception cref="IOException">The port is in use; the message names it and says what to do.</exception>
    public static Task<EmbeddedRedis> StartAsync(
        int port = 0, string? password = null, CancellationToken cancellationToken = default)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(port, IPEndPoint.MinPort);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(port, IPEndPoint.MaxPort);
        if (password is not null && (password.Length == 0 || password.Contains(',', StringComparison.Ordinal)))
        {
            throw new ArgumentException("The password must not be empty or have commas.", nameof(password));
        }

        // Garnet's constructor and its first page allocations block.
        return Task.Run(() => port == 0 ? StartOnFreePort(password) : StartOn(port, password), cancellationToken);
    }

    /// <summary>
    /// Stops the server: connections close, new ones are refused, and all data is lost. Does nothing if it is already stopped.
    /// </summary>
    public void Break()
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            StopServer();
        }
    }

    /// <summary>Starts an empty server on the same port. Does nothing if one is running.</summary>
    /// <exception cref="IOException">Another program has taken the port.</exception>
    public void Mend()
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_server is null)
            {
                StartServer();
            }
        }
    }

    /// <summary>Stops the server; it cannot be restarted.</summary>
    public async ValueTask DisposeAsync() =>
        await Task.Run(() =>
        {
            lock (_lock)
            {
                _disposed = true;
                StopServer();
            }
        });

    private static EmbeddedRedis StartOn(int port, string? password)
    {
        var redis = new EmbeddedRedis(port, password);
        redis.StartServer();
        return redis;
    }

    private static EmbeddedRedis StartOnFreePort(string? password)
    {
        for (var attempt = 1; ; attempt++)
        {
            var port = Random.Shared.Next(FirstFreePort, LastFreePort + 1);
            try
            {
                return StartOn(port, password);
            }
            catch (IOException) when (attempt < PortAttempts)
            {
                // In use; try another.
            }
        }
    }

    private static void RequireFree(int port)
    {
        // Garnet does not fail on a port in use, but shares it (it sets SO_REUSEADDR and SO_REUSEPORT).
        using var probe = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            probe.Bind(new IPEndPoint(IPAddress.Loopback, port));
            probe.Listen();
        }
        catch (SocketException e) when (e.SocketErrorCode is SocketError.AddressAlreadyInUse or SocketError.AccessDenied)
        {
            throw InUse(port, e);
        }
    }

    private static IOException InUse(int port, Exception cause) =>
        new($"Port {port} is in use: stop what listens there, or choose another with --redis_port.", cause);

    private void StartServer()
    {
        RequireFree(Port);
        var options = new GarnetServerOptions
        {
            EndPoints = [new IPEndPoint(IPAddress.Loopback, Port)],
            AuthSettings = _password is null ? null : new PasswordAuthenticationSettings(_password),
            QuietMode = true,
            LogMemorySize = "256m",
            PageSize = "1m",
            IndexMemorySize = "1m",
            // Reuses the space of deleted windows, so that the log does not fill up: memory stays level beyond 100,000 windows
            // instead of growing by 1 MB every 20,000.
            UseRevivBinsPowerOf2 = true,
            RevivifiableFraction = 1,
            // Deletes expired keys, even if nobody reads them.
            ExpiredKeyDeletionScanFrequencySecs = 60,
        };
        var server = new GarnetServer(options);
        try
        {
            Listeners.Change(() =>
            {
                server.Start();
                return server;
            });
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            server.Dispose();
            throw InUse(Port, e);
        }

        _server = server;
    }

    private void StopServer()
    {
        _server?.Dispose();
        _server = null;
    }
}
