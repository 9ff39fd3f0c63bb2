using System.IO.Pipelines;
using System.Net;
using System.Threading.Channels;
using Cache.Service.Options;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace Cache.Service.Http.Access;

/// <summary>
/// Accepts no more connections than can be held or are just being refused; further ones wait in the system's backlog. Without it, a burst
/// is accepted faster than it is refused and takes every file the process may open. An assembly that cannot be loaded in that moment is
/// never loaded again, and each request that needs it fails from then on.
/// </summary>
internal sealed class AcceptGate(SocketTransportFactory sockets, ConnectionLimiter limiter, CacheOptions options)
    : IConnectionListenerFactory, IConnectionListenerFactorySelector
{
    // How many connections beyond the limit are open at most, to be refused.
    private const int BeingRefused = 32;

    // What is written is taken, what is read is free again. Unlike a semaphore, it need not outlive the last connection.
    private readonly Channel<bool> _readers = Channel.CreateBounded<bool>(limiter.Most + BeingRefused);
    private readonly Channel<bool> _probes = Channel.CreateBounded<bool>(ConnectionLimiter.MaxHealthPortConnections + BeingRefused);

    /// <inheritdoc/>
    public bool CanBind(EndPoint endpoint) => ((IConnectionListenerFactorySelector)sockets).CanBind(endpoint);

    /// <inheritdoc/>
    public async ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken = default)
    {
        var listener = await sockets.BindAsync(endpoint, cancellationToken);
        return new Gated(listener, endpoint is IPEndPoint { Port: not 0 and var port } && port == options.HealthPort ? _probes : _readers);
    }

    /// <summary>A listener that waits for a place before it accepts.</summary>
    private sealed class Gated(IConnectionListener listener, Channel<bool> places) : IConnectionListener
    {
        private readonly CancellationTokenSource _unbound = new();

        /// <inheritdoc/>
        public EndPoint EndPoint => listener.EndPoint;

        /// <inheritdoc/>
        public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
        {
            try
            {
                await places.Writer.WriteAsync(true, _unbound.Token);
            }
            catch (OperationCanceledException)
            {
                return null;
            }

            ConnectionContext? connection = null;
            try
            {
                connection = await listener.AcceptAsync(cancellationToken);
                return connection is null ? null : new Placed(connection, places);
            }
            finally
            {
                if (connection is null)
                {
                    places.Reader.TryRead(out _);
                }
            }
        }

        /// <inheritdoc/>
        public async ValueTask UnbindAsync(CancellationToken cancellationToken = default)
        {
            await _unbound.CancelAsync();
            await listener.UnbindAsync(cancellationToken);
        }

        /// <inheritdoc/>
        public async ValueTask DisposeAsync()
        {
            await listener.DisposeAsync();
            _unbound.Dispose();
        }
    }

    /// <summary>A connection that gives its place back once its socket is closed.</summary>
    private sealed class Placed(ConnectionContext connection, Channel<bool> places) : ConnectionContext
    {
        private int _left;

        public override string ConnectionId
        {
            get => connection.ConnectionId;
            set => connection.ConnectionId = value;
        }

        public override IFeatureCollection Features => connection.Features;

        public override IDictionary<object, object?> Items
        {
            get => connection.Items;
            set => connection.Items = value;
        }

        public override IDuplexPipe Transport
        {
            get => connection.Transport;
            set => connection.Transport = value;
        }

        public override CancellationToken ConnectionClosed
        {
            get => connection.ConnectionClosed;
            set => connection.ConnectionClosed = value;
        }

        public override EndPoint? LocalEndPoint
        {
            get => connection.LocalEndPoint;
            set => connection.LocalEndPoint = value;
        }

        public override EndPoint? RemoteEndPoint
        {
            get => connection.RemoteEndPoint;
            set => connection.RemoteEndPoint = value;
        }

        public override void Abort(ConnectionAbortedException abortReason) => connection.Abort(abortReason);

        public override async ValueTask DisposeAsync()
        {
            await connection.DisposeAsync();
            await base.DisposeAsync();
            if (Interlocked.Exchange(ref _left, 1) == 0)
            {
                places.Reader.TryRead(out _);
            }
        }
    }
}
