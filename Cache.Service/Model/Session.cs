using Confluent.Kafka;

namespace Cache.Service.Model;

/// <summary>One session, as far as a row tells of it: what is there is written, what is absent is left as it was.</summary>
/// <param name="Id">Names the session; 1 to 128 UTF-8 bytes without control characters, as every text here.</param>
/// <param name="End">When it was last seen, milliseconds since 1970 UTC.</param>
/// <param name="User">Whose it is.</param>
/// <param name="Start">When it began, milliseconds since 1970 UTC; not after <paramref name="End"/>.</param>
/// <param name="Duration">How long it has lasted, milliseconds.</param>
/// <param name="Pages">How many pages it has seen.</param>
/// <param name="Device">The device category.</param>
public sealed record Session(string Id, long End, string? User = null, long? Start = null, long? Duration = null, long? Pages = null, string? Device = null)
{
    /// <summary>This session with what a later row tells over it.</summary>
    public Session With(Session later) => new(
        Id, later.End, later.User ?? User, later.Start ?? Start, later.Duration ?? Duration, later.Pages ?? Pages, later.Device ?? Device);
}
