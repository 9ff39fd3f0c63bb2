using System.Threading.Channels;

namespace Cache.Service.Http;

/// <summary>One open stream: its position in the ring, and the signal that wakes it.</summary>
/// <param name="hub">Holds the updates.</param>
/// <param name="reason">Why the client has to read everything first.</param>
internal sealed class StreamClient(UpdateHub hub, string reason)
{
    // Only a signal: capacity 1, further writes are dropped.
    private readonly Channel<bool> _woken = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });
    private string? _resync = reason;
    private Action? _cut;
    private long _seen;
    private bool _heartbeat;

    /// <summary>Resumes after the update that the client saw last, without a resync.</summary>
    public void ResumeAfter(long number) => (_seen, _resync) = (number, null);

    /// <summary>Wakes the stream to look for new updates.</summary>
    public void Wake() => _woken.Writer.TryWrite(true);

    /// <summary>Requests a heartbeat, so that the connection is not considered dead.</summary>
    public void Heartbeat()
    {
        Volatile.Write(ref _heartbeat, true);
        Wake();
    }

    /// <summary>Sets how to close the connection.</summary>
    public void OnCut(Action cut) => _cut = cut;

    /// <summary>Closes the connection.</summary>
    public void Cut() => _cut?.Invoke();

    /// <summary>Ends the stream's wait permanently.</summary>
    public void End() => _woken.Writer.TryComplete();

    /// <summary>Waits to be woken; returns false at the end. No token: registering with one would cost more than the wait.</summary>
    public ValueTask<bool> WaitAsync() => _woken.Reader.WaitToReadAsync(CancellationToken.None);

    /// <summary>Resets the signal. Call it before looking for updates, so that later ones wake the stream again.</summary>
    public void ResetWake() => _woken.Reader.TryRead(out _);

    /// <summary>Whether a heartbeat is due; resets it.</summary>
    public bool TakeHeartbeat() => Interlocked.Exchange(ref _heartbeat, false);

    /// <summary>Takes the next item; returns false if there is none.</summary>
    public bool TryTake(out StreamItem item)
    {
        var (last, next) = (hub.Last, _seen + 1);
        item = default;
        if (_resync is null && next > last)
        {
            return false;
        }

        var update = _resync is null ? hub.Find(next) : null;
        if (update is null)
        {
            item = new(hub.Last, null, _resync ?? hub.LostSince(_seen));
            _resync = null;
        }
        else
        {
            item = new(next, update, null);
        }

        _seen = item.Number;
        return true;
    }
}

/// <summary>The next item on a stream: an update, or a resync.</summary>
/// <param name="Number">The position that the client has reached with it.</param>
/// <param name="Update">An update; null for a resync.</param>
/// <param name="Resync">Why the client has to read everything again; null for an update.</param>
internal readonly record struct StreamItem(long Number, Update? Update, string? Resync);
