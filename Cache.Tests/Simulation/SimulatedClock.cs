namespace Cache.Tests.Simulation;

/// <summary>A clock that advances only when the schedule advances it; timers fire in the order in which they are due.</summary>
internal sealed class SimulatedClock : TimeProvider
{
    private static readonly DateTimeOffset Start = new(2025, 1, 1, 0, 0, 0, TimeSpan.Zero);
    private readonly List<Timer> _timers = [];
    private long _created;

    /// <summary>Time since the schedule began.</summary>
    public TimeSpan Now { get; private set; }

    /// <summary>When the next timer fires; null when none is set.</summary>
    public TimeSpan? NextDue => _timers.Count == 0 ? null : _timers[0].Due;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public override long GetTimestamp() => Now.Ticks;

    public override DateTimeOffset GetUtcNow() => Start + Now;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new Timer(this, callback, state, _created++);
        timer.Change(dueTime, period);
        return timer;
    }

    public void AdvanceTo(TimeSpan time)
    {
        while (_timers.Count > 0 && _timers[0].Due <= time)
        {
            var timer = _timers[0];
            Now = timer.Due > Now ? timer.Due : Now;
            timer.Fire();
        }

        Now = time > Now ? time : Now;
    }

    private sealed class Timer(SimulatedClock clock, TimerCallback callback, object? state, long number) : ITimer
    {
        private TimeSpan _period;

        public TimeSpan Due { get; private set; }

        public bool Change(TimeSpan dueTime, TimeSpan period)
        {
            clock._timers.Remove(this);
            if (dueTime != Timeout.InfiniteTimeSpan)
            {
                (Due, _period) = (clock.Now + dueTime, period);
                var place = clock._timers.FindIndex(other => other.Due > Due || (other.Due == Due && other.Number > Number));
                clock._timers.Insert(place < 0 ? clock._timers.Count : place, this);
            }

            return true;
        }

        private long Number { get; } = number;

        public void Fire()
        {
            Change(_period > TimeSpan.Zero ? _period : Timeout.InfiniteTimeSpan, _period);
            callback(state);
        }

        public void Dispose() => clock._timers.Remove(this);

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
