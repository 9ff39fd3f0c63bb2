namespace Cache.Service.Consume;

/// <summary>Limits an action to once per interval.</summary>
internal sealed class Throttle(TimeProvider time, TimeSpan interval)
{
    private long? _last;

    /// <summary>Whether the action is due; if so, a new interval starts.</summary>
    public bool IsDue()
    {
        if (_last is { } last && time.GetElapsedTime(last) < interval)
        {
            return false;
        }

        _last = time.GetTimestamp();
        return true;
    }
}
