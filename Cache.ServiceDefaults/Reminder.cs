using System.Globalization;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// Decides when a wait is logged: at once, when its reason changes, and again after 5 s, 10 s, 20 s and so on, at most every 5 minutes,
/// so that the log of a long outage can still be read. Used by one thread at a time.
/// </summary>
/// <param name="time">The clock.</param>
public sealed class Reminder(TimeProvider time)
{
    private static readonly TimeSpan First = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan Longest = TimeSpan.FromMinutes(5);

    private object? _reason;
    private long _since;
    private long _loggedAt;
    private TimeSpan _next;

    /// <summary>The end of a log message: how long the wait has lasted; empty at its beginning.</summary>
    public string SoFar =>
        _reason is not null && time.GetElapsedTime(_since) is { TotalSeconds: >= 1 } waited ? string.Create(CultureInfo.InvariantCulture, $" ({waited.TotalSeconds:F0} s so far)") : "";

    /// <summary>Whether to log the wait now.</summary>
    /// <param name="reason">Why it waits, without details that change with every attempt.</param>
    /// <returns>True, and then false until it is due again.</returns>
    public bool IsDue(object reason)
    {
        var now = time.GetTimestamp();
        if (_reason is null)
        {
            _since = now;
        }
        else if (reason.Equals(_reason) && time.GetElapsedTime(_loggedAt, now) < _next)
        {
            return false;
        }

        _next = !reason.Equals(_reason) ? First : _next * 2 < Longest ? _next * 2 : Longest;
        (_reason, _loggedAt) = (reason, now);
        return true;
    }

    /// <summary>The wait is over.</summary>
    /// <returns>Whether there was one.</returns>
    public bool End()
    {
        var waited = _reason is not null;
        _reason = null;
        return waited;
    }
}
