namespace Cache.Producer.Simulator;

/// <summary>What rows have added up to, by window and dimension, as long as late rows can still reach the window.</summary>
/// <param name="length">The length of a window, in milliseconds.</param>
internal sealed class WindowTotals<T>(long length)
{
    private readonly Dictionary<(long Window, string Dimension), T> _totals = [];
    private long _newest = long.MinValue;

    /// <summary>The totals of a window and dimension; the default if there are none yet.</summary>
    public T? this[long window, string dimension]
    {
        get => _totals.GetValueOrDefault((window, dimension));
        set => _totals[(window, dimension)] = value!;
    }

    /// <summary>The start of the window that a row belongs to. Drops the windows that late rows can no longer reach.</summary>
    /// <param name="now">The time of the row, in milliseconds since 1970 UTC; it never goes back.</param>
    /// <param name="back">How many windows late the row is, 0 to <see cref="RowGenerator.MaxLateWindows"/>.</param>
    public long Window(long now, int back)
    {
        var window = now - (now % length);
        if (window > _newest)
        {
            _newest = window;
            foreach (var key in _totals.Keys.Where(key => key.Window < window - (RowGenerator.MaxLateWindows * length)).ToArray())
            {
                _totals.Remove(key);
            }
        }

        return Math.Max(0, window - (back * length));
    }
}
