using System.Net;
using System.Net.Sockets;
using Garnet;
using Garnet.server;
using Garnet.server.Auth.Settings;

namespace Cache.Embedded;

/// <summary>
/// A Redis inside this process: Garnet on a loopback port, for any client, also of another process. For development
/// and tests.
/// </summary>
/// <remarks>
/// <para>Data lives in memory only, up to 256 MiB by Garnet's own count (the process takes up to four
/// times that); then the keys that were not written for longest go. Empty, it takes about 20 MB.</para>
/// <para>Lua is off. Members are safe to call from any thread. After disposal they throw
/// <see cref="ObjectDisposedException"/>; disposing again does nothing.</para>
/// </remarks>
public sealed class EmbeddedRedis : IAsyncDisposable
{
    // Outside the ranges from which Linux (32768 up), macOS and Windows (49152 up) take ports for outgoing connections:
    // nothing else gets the port while the server is broken, and no client retrying it connects to itself.
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

    /// <summary>The port on 127.0.0.1, the same for the object's whole life.</summary>
    public int Port { get; }

    /// <summary>For StackExchange.Redis: <c>127.0.0.1:port</c>, with <c>,password=…</c> when there is one.</summary>
    public string ConnectionString { get; }

    /// <summary>Starts a server on 127.0.0.1.</summary>
    /// <param name="port">1 to 65535, or 0 for a free one.</param>
    /// <param name="password">What clients must say (AUTH), not empty and without commas; null for none.</param>
    /// <param name="cancellationToken">Gives up before the server is started.</param>
    /// <exception cref="ArgumentException">The port or the password is out of range.</exception>
    /// <exception cref="IOException">The port is in use; the message says which and what to do.</exception>
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
    /// Stops the server: connections close, new ones are refused, the data is gone. Nothing happens when it is broken already.
    /// </summary>
    public void Break()
    {
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            StopServer();
        }
    }

    /// <summary>Starts an empty server on the same port. Nothing happens when it is running.</summary>
    /// <exception cref="IOException">Somebody else took the port meanwhile.</exception>
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

    /// <summary>Stops the server for good.</summary>
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
                // Somebody has it; try another.
            }
        }
    }

    private static void RequireFree(int port)
    {
        // Garnet shares a port that is in use rather than failing (it sets SO_REUSEADDR and SO_REUSEPORT).
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
            // Takes the space of deleted windows again, so that the log does not fill: memory stays level from 100,000 windows
            // on, where it would grow by 1 MB every 20,000.
            UseRevivBinsPowerOf2 = true,
            RevivifiableFraction = 1,
            // Removes expired keys that nobody reads.
            ExpiredKeyDeletionScanFrequencySecs = 60,
        };
        var server = new GarnetServer(options);
        try
        {
            server.Start();
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
