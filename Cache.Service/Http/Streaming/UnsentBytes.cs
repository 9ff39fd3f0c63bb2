using System.Runtime.InteropServices;
using Cache.Service.Options;
using Cache.Service.Telemetry;

namespace Cache.Service.Http.Streaming;

/// <summary>
/// What streams hold that wait for their clients (<c>stream_unsent_max_mb</c>): what is in the connection's buffer, and the
/// event that they are in the midst of, which counts once for all that send it. When it is too much, those are cut off that
/// have waited longest; they come back with the id that they saw last.
/// </summary>
internal sealed class UnsentBytes(CacheOptions options, StreamMetrics metrics)
{
    /// <summary>What waits in a connection's buffer at most: the server's own limit, and one piece.</summary>
    public const int BytesPerConnection = 64 * 1024 + StreamApi.MaxUnflushed;

    private readonly long _max = options.StreamUnsentMaxMb * 1024L * 1024;
    private readonly Lock _gate = new();

    // The longest first.
    private readonly LinkedList<(StreamClient Client, byte[]? Event)> _waiting = [];
    private readonly Dictionary<StreamClient, LinkedListNode<(StreamClient Client, byte[]? Event)>> _byClient = [];
    private readonly Dictionary<byte[], int> _events = new(ReferenceEqualityComparer.Instance);
    private long _held;

    /// <summary>A stream waits for its client.</summary>
    /// <param name="client">The stream.</param>
    /// <param name="rest">What is left of the event that it is in the midst of.</param>
    public void Wait(StreamClient client, ReadOnlyMemory<byte> rest)
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
                // Under the gate: its request cannot end before, and another begin in its place.
                Forget(longest.Value.Client);
                longest.Value.Client.Cut();
                metrics.Cut(StreamCutReason.NoRoom);
            }

            metrics.Hold(_held - held);
        }
    }

    /// <summary>A stream waits no longer.</summary>
    public void Go(StreamClient client)
    {
        lock (_gate)
        {
            var held = _held;
            Forget(client);
            metrics.Hold(_held - held);
        }
    }

    private void Forget(StreamClient client)
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
