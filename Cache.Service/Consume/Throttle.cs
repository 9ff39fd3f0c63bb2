namespace Cache.Service.Consume;

/// <summary>Lets something happen at most once per interval.</summary>
internal sealed class Throttle(TimeProvider time, TimeSpan interval)
{
    private long? _last;

    /// <summary>Whether it may happen now; if so, the interval starts again.</summary>
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
