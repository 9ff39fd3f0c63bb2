namespace Cache.Service.Model;

/// <summary>The fields of one session in a row: those present are written, those absent stay as they are in Redis.</summary>
/// <param name="Id">The session id; like all text here, 1 to 128 UTF-8 bytes without control characters.</param>
/// <param name="End">The end, milliseconds since 1970 UTC.</param>
/// <param name="User">The user id.</param>
/// <param name="Start">The start, milliseconds since 1970 UTC; not after <paramref name="End"/>.</param>
/// <param name="Duration">The duration in milliseconds.</param>
/// <param name="Pages">The number of pages viewed.</param>
/// <param name="Device">The device category.</param>
public sealed record Session(string Id, long End, string? User = null, long? Start = null, long? Duration = null, long? Pages = null, string? Device = null)
{
    /// <summary>Merges the fields of a later row, which win.</summary>
    public Session With(Session later) => new(
        Id, later.End, later.User ?? User, later.Start ?? Start, later.Duration ?? Duration, later.Pages ?? Pages, later.Device ?? Device);
}
