using System.Runtime.InteropServices;
using Cache.Service.Options;

namespace Cache.Service.Http.Streaming;

/// <summary>
/// Bounds the memory held by streams waiting for their clients (<c>stream_unsent_max_mb</c>): the connection's buffer, and the
/// unfinished event, which counts once for all streams that send it. Above the limit, the streams that have waited longest are
/// cut off; their clients reconnect with the last event id that they saw.
/// </summary>
internal sealed class UnsentBytes(CacheOptions options, StreamMetrics metrics)
{
    /// <summary>Maximum in a connection's buffer: the server's own limit plus one flush.</summary>
    public const int BytesPerConnection = 64 * 1024 + StreamApi.MaxUnflushed;

    private readonly long _max = options.StreamUnsentMaxMb * 1024L * 1024;
    private readonly Lock _gate = new();

    // Longest wait first.
    private readonly LinkedList<(StreamClient Client, byte[]? Event)> _waiting = [];
    private readonly Dictionary<StreamClient, LinkedListNode<(StreamClient Client, byte[]? Event)>> _byClient = [];
    private readonly Dictionary<byte[], int> _events = new(ReferenceEqualityComparer.Instance);
    private long _held;

    /// <summary>Counts in a stream that waits for its client, and cuts off streams if the limit is exceeded.</summary>
    /// <param name="client">The stream.</param>
    /// <param name="rest">The rest of its unfinished event.</param>
    public void Add(StreamClient client, ReadOnlyMemory<byte> rest)
    {
        lock (_gate)
        {
            var held = _held;
            var whole = !rest.IsEmpty && MemoryMarshal.TryGetArray(rest, out var part) ? part.Array : null;
            _byClient[client] = _waiting.AddLast((client, whole));
            _held += BytesPerConnection;
            if (whole is not null)
            {
                ref var streams = ref CollectionsMarshal.GetValueRefOrAddDefault(_events, whole, out _);
                _held += streams++ == 0 ? whole.Length : 0;
            }

            while (_held > _max && _waiting.First is { } longest)
            {
                // Under the gate, so that its request cannot end first and another begin in its place.
                Discard(longest.Value.Client);
                longest.Value.Client.Cut();
                metrics.Cut(StreamCutReason.NoRoom);
            }

            metrics.Hold(_held - held);
        }
    }

    /// <summary>Counts out a stream that waits no longer.</summary>
    public void Remove(StreamClient client)
    {
        lock (_gate)
        {
            var held = _held;
            Discard(client);
            metrics.Hold(_held - held);
        }
    }

    private void Discard(StreamClient client)
    {
        if (!_byClient.Remove(client, out var waiting))
        {
            return;
        }

        _waiting.Remove(waiting);
        _held -= BytesPerConnection;
        if (waiting.Value.Event is { } whole)
        {
            ref var streams = ref CollectionsMarshal.GetValueRefOrNullRef(_events, whole);
            if (--streams == 0)
            {
                _events.Remove(whole);
                _held -= whole.Length;
            }
        }
    }
}
