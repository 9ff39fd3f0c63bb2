using System.Globalization;
using System.Security.Cryptography;
using System.Threading.Channels;
using StackExchange.Redis;

namespace Cache.Service.Http;

/// <summary>One open stream: its place in the ring, and whether there is something to look at.</summary>
/// <param name="hub">Has the updates.</param>
/// <param name="reason">Why it has to read everything first.</param>
internal sealed class StreamClient(UpdateHub hub, string reason)
{
    // Holds whether it was woken, and nothing else.
    private readonly Channel<bool> _woken = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });
    private string? _resync = reason;
    private Action? _cut;
    private long _seen;
    private bool _heartbeat;

    /// <summary>It has seen what was up to here, and need not read everything.</summary>
    public void ResumeAfter(long number) => (_seen, _resync) = (number, null);

    /// <summary>Something may have come.</summary>
    public void Wake() => _woken.Writer.TryWrite(true);

    /// <summary>Says something, so that the connection is not taken for dead.</summary>
    public void Heartbeat()
    {
        Volatile.Write(ref _heartbeat, true);
        Wake();
    }

    /// <summary>How its connection is closed.</summary>
    public void OnCut(Action cut) => _cut = cut;

    /// <summary>Closes its connection.</summary>
    public void Cut() => _cut?.Invoke();

    /// <summary>Ends the waiting for good.</summary>
    public void End() => _woken.Writer.TryComplete();

    /// <summary>Waits until it is woken; false at the end. By no token: to register with one would cost more than the wait.</summary>
    public ValueTask<bool> WaitAsync() => _woken.Reader.WaitToReadAsync(CancellationToken.None);

    /// <summary>It is awake, and looks at what there is after this: what comes later wakes it again.</summary>
    public void Awake() => _woken.Reader.TryRead(out _);

    /// <summary>Whether it is time to say something.</summary>
    public bool TakeHeartbeat() => Interlocked.Exchange(ref _heartbeat, false);

    /// <summary>Takes what comes next; false when there is nothing.</summary>
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

/// <summary>What comes next on a stream.</summary>
/// <param name="Number">What the client has seen with it.</param>
/// <param name="Update">An update; null for an order to read everything again.</param>
/// <param name="Resync">Why everything is to be read again.</param>
internal readonly record struct StreamItem(long Number, Update? Update, string? Resync);
