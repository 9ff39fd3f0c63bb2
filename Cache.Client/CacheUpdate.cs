namespace Cache.Client;

/// <summary>What a stream says: a <see cref="WindowUpdate"/>, a <see cref="SessionUpdate"/> or a <see cref="Resync"/>.</summary>
public abstract record CacheUpdate
{
    private protected CacheUpdate()
    {
    }
}

/// <summary>A window was written.</summary>
/// <param name="Window">The values that were written. Others of the same window, which were written before, are not repeated.</param>
public sealed record WindowUpdate(MetricWindow Window) : CacheUpdate;

/// <summary>A session was written.</summary>
/// <param name="Session">The properties that were written. Others, which were written before, are not repeated.</param>
public sealed record SessionUpdate(Session Session) : CacheUpdate;

/// <summary>
/// Updates may have been missed: read what you show again, and continue with the updates that follow. Always the first of a stream; not sent
/// when a stream that was lost could be resumed.
/// </summary>
/// <param name="Reason"><c>start</c>, at the start; <c>gap</c>, after an outage, or on another replica; <c>slow</c>, because updates were not read in time.</param>
public sealed record Resync(string Reason) : CacheUpdate;
