namespace Cache.Service.Decode;

/// <summary>How far ahead of the clock a row's time may be. Not thread-safe.</summary>
/// <param name="maxFuture">The distance from the clock, to the millisecond.</param>
/// <param name="time">The clock.</param>
internal sealed class FutureLimit(TimeSpan maxFuture, TimeProvider time)
{
    private readonly long _maxFutureMs = (long)maxFuture.TotalMilliseconds;
    private long _latest;

    /// <summary>Whether a time, in milliseconds since 1970 UTC, is beyond the limit.</summary>
    public bool IsExceededBy(long milliseconds)
    {
        if (milliseconds <= _latest)
        {
            return false;
        }

        // The limit only moves forward, so only times beyond the last known one need the clock.
        _latest = time.GetUtcNow().ToUnixTimeMilliseconds() + _maxFutureMs;
        return milliseconds > _latest;
    }
}
