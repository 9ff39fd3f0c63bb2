using Cache.Service.Enqueue;
using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Rows that come one after the other, taken every few milliseconds instead of each by itself: what they cost is mostly what each
/// wakes, from the client to Redis. The first row after a break is taken at once, and so is a backlog.
/// </summary>
/// <param name="rows">Where the rows come from.</param>
/// <param name="pace">The time between two takes while rows keep coming.</param>
/// <param name="pause">Waits.</param>
/// <param name="time">The clock.</param>
internal sealed class PacedRows(IRowSource rows, TimeSpan pace, Action<TimeSpan> pause, TimeProvider time) : IRowSource
{
    // Takes are a little more than the pace apart.
    private const int RegularPaces = 3;

    private long? _lastAt;
    private bool _isRegular;
    private int _taken;

    /// <inheritdoc/>
    public IConsumer<RowKey, Row> Consumer => rows.Consumer;

    /// <inheritdoc/>
    public bool TakesBatches => rows.TakesBatches;

    /// <inheritdoc/>
    public bool HasMore => rows.HasMore;

    /// <inheritdoc/>
    public bool TryTake(TimeSpan wait, out Received received)
    {
        // A turn waits only for its first row.
        if (wait > TimeSpan.Zero)
        {
            if (_isRegular && _taken is > 0 and < RowQueue.MaxAtOnce)
            {
                pause(pace);
            }

            _taken = 0;
        }

        var isTaken = rows.TryTake(wait, out received);
        if (isTaken && !received.IsEnd && ++_taken == 1)
        {
            var now = time.GetTimestamp();
            _isRegular = _lastAt is { } last && time.GetElapsedTime(last, now) < RegularPaces * pace;
            _lastAt = now;
        }

        return isTaken;
    }

    /// <inheritdoc/>
    public void End() => rows.End();
}
