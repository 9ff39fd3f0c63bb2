using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace Cache.Tests;

/// <summary>
/// A proxy between clients and a server on 127.0.0.1 that decides for each chunk of data whether to forward it. The connections
/// stay open, as with a firewall that has forgotten them.
/// </summary>
internal sealed class TcpProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentQueue<Connection> _connections = [];
    private readonly int _server;
    private readonly Task _accepting;

    public TcpProxy(int server)
    {
        Requirement.Started();
        _server = server;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>The port it listens on.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>All connections so far.</summary>
    public IReadOnlyCollection<Connection> Connections => _connections;

    /// <summary>Whether to forward a chunk, given its connection and whether the server sent it.</summary>
    public Func<Connection, bool, bool> Lets { get; set; } = (_, _) => true;

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        var passing = new List<Task>();
        try
        {
            while (true)
            {
                passing.Add(PassAsync(await _listener.AcceptTcpClientAsync(_stop.Token)));
            }
        }
        finally
        {
            await Task.WhenAll(passing).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task PassAsync(TcpClient client)
    {
        using var _ = client;
        using var server = new TcpClient();
        await server.ConnectAsync(IPAddress.Loopback, _server, _stop.Token);
        var connection = new Connection();
        _connections.Enqueue(connection);

        // When one side closes, close the other.
        await Task.WhenAny(
            CopyAsync(connection, client.GetStream(), server.GetStream(), fromServer: false),
            CopyAsync(connection, server.GetStream(), client.GetStream(), fromServer: true));
    }

    private async Task CopyAsync(Connection connection, NetworkStream from, NetworkStream to, bool fromServer)
    {
        var buffer = new byte[64 * 1024];
        while (await from.ReadAsync(buffer, _stop.Token) is > 0 and var length)
        {
            if (!fromServer)
            {
                connection.Says(Encoding.Latin1.GetString(buffer, 0, length));
            }

            if (Lets(connection, fromServer))
            {
                await to.WriteAsync(buffer.AsMemory(0, length), _stop.Token);
            }
        }
    }

    /// <summary>A connection of a client.</summary>
    internal sealed class Connection
    {
        private volatile string _said = "";
        private volatile bool _subscribes;

        /// <summary>The last chunk that the client sent.</summary>
        public string Said => _said;

        /// <summary>Whether its client has subscribed to the updates.</summary>
        public bool Subscribes => _subscribes;

        public void Says(string piece)
        {
            _said = piece;
            _subscribes |= piece.Contains("SUBSCRIBE", StringComparison.Ordinal) && piece.Contains("cache:updates", StringComparison.Ordinal);
        }
    }
}
