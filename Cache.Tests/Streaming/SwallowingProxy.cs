using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Cache.Tests.Streaming;

/// <summary>
/// Stands between the service and Redis, and can swallow all that goes over the connections of subscriptions, which stay open: as a
/// firewall does that has forgotten them.
/// </summary>
internal sealed class SwallowingProxy : IAsyncDisposable
{
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly int _to;
    private readonly ConcurrentBag<Passage> _passages = [];
    private readonly Task _accepting;

    public SwallowingProxy(int to)
    {
        Requirement.Started();
        _to = to;
        _listener.Start();
        _accepting = AcceptAsync();
    }

    public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

    /// <summary>From now on nothing comes through connections that have a subscription now; those that come later are well.</summary>
    public int SwallowSubscriptions()
    {
        var subscribed = _passages.Where(passage => passage.IsSubscribed).ToList();
        subscribed.ForEach(passage => passage.Swallows = true);
        return subscribed.Count;
    }

    public async ValueTask DisposeAsync()
    {
        _listener.Stop();
        foreach (var passage in _passages)
        {
            passage.Client.Dispose();
            passage.Server.Dispose();
        }

        await _accepting;
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptSocketAsync();
                var server = new Socket(SocketType.Stream, ProtocolType.Tcp);
                await server.ConnectAsync(IPAddress.Loopback, _to);
                var passage = new Passage(client, server);
                _passages.Add(passage);
                _ = PassAsync(passage, client, server);
                _ = PassAsync(passage, server, client);
            }
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            // The test is over.
        }
    }

    private static async Task PassAsync(Passage passage, Socket from, Socket to)
    {
        var buffer = new byte[64 * 1024];
        try
        {
            while (await from.ReceiveAsync(buffer) is > 0 and var read)
            {
                passage.IsSubscribed |= from == passage.Client && buffer.AsSpan(0, read).IndexOf("cache:updates"u8) >= 0 && buffer.AsSpan(0, read).IndexOf("SUBSCRIBE"u8) >= 0;
                for (var sent = 0; sent < read && !passage.Swallows;)
                {
                    sent += await to.SendAsync(buffer.AsMemory(sent..read));
                }
            }
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            // One of them is gone, and so is the other.
        }

        from.Dispose();
        to.Dispose();
    }

    private sealed class Passage(Socket client, Socket server)
    {
        public Socket Client { get; } = client;

        public Socket Server { get; } = server;

        public volatile bool IsSubscribed;

        public volatile bool Swallows;
    }
}
