using System.Net;
using System.Net.Sockets;

namespace Cache.Tests;

/// <summary>Stands between a client and a server on 127.0.0.1, and decides of each piece of what the server says whether it gets through.</summary>
internal sealed class TcpProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly CancellationTokenSource _stop = new();
    private readonly int _server;
    private readonly Task _accepting;

    public TcpProxy(int server)
    {
        Requirement.Started();
        _server = server;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>Where it listens.</summary>
    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>Whether what the server says gets through; asked with what its client has said last.</summary>
    public Func<ReadOnlyMemory<byte>, bool> Lets { get; set; } = _ => true;

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Stop();
        await _accepting.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        var connections = new List<Task>();
        try
        {
            while (true)
            {
                connections.Add(PassAsync(await _listener.AcceptTcpClientAsync(_stop.Token)));
            }
        }
        finally
        {
            await Task.WhenAll(connections).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task PassAsync(TcpClient client)
    {
        using var _ = client;
        using var server = new TcpClient();
        await server.ConnectAsync(IPAddress.Loopback, _server, _stop.Token);
        var said = ReadOnlyMemory<byte>.Empty;

        // When one side goes, so does the other.
        await Task.WhenAny(
            CopyAsync(client.GetStream(), server.GetStream(), bytes =>
            {
                said = bytes.ToArray();
                return true;
            }),
            CopyAsync(server.GetStream(), client.GetStream(), _ => Lets(said)));
    }

    private async Task CopyAsync(NetworkStream from, NetworkStream to, Func<ReadOnlyMemory<byte>, bool> lets)
    {
        var buffer = new byte[64 * 1024];
        while (await from.ReadAsync(buffer, _stop.Token) is > 0 and var length)
        {
            if (lets(buffer.AsMemory(0, length)))
            {
                await to.WriteAsync(buffer.AsMemory(0, length), _stop.Token);
            }
        }
    }
}
