using System.Text;

namespace Cache.Service.Http.Streaming;

/// <summary>The events of one stream, in the order in which they are sent.</summary>
/// <param name="hub">Holds the updates.</param>
/// <param name="client">The stream.</param>
/// <param name="filter">Selects updates.</param>
/// <param name="state">The state events; null if the client did not ask for them.</param>
internal sealed class StreamEvents(UpdateHub hub, StreamClient client, StreamFilter filter, StateView? state)
{
    private static readonly byte[] Heartbeat = "event: heartbeat\ndata: {}\n\n"u8.ToArray();

    /// <summary>Gets the next event, empty if the filter selects nothing of it; returns false if there is none.</summary>
    public bool TryNext(out ReadOnlyMemory<byte> next)
    {
        if (client.TakeHeartbeat())
        {
            next = Heartbeat;
            return true;
        }

        if (state is not null && state.TryTake(out next))
        {
            return true;
        }

        var any = client.TryTake(out var item);
        next = !any ? default : item.Update is { } update ? filter.Apply(update) : Resync(item);
        return any;
    }

    private byte[] Resync(StreamItem item) =>
        Encoding.ASCII.GetBytes($$"""event: resync{{'\n'}}data: {"reason":"{{item.Resync}}"}{{'\n'}}id: {{hub.IdOf(item.Number)}}{{"\n\n"}}""");
}
