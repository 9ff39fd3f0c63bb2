namespace Cache.Producer.Simulator;

/// <summary>Decides how many rows are due. Works in short slices against the clock, so that the rate stays steady.</summary>
/// <param name="rate">Rows per second; 0 means that rows are always due.</param>
/// <param name="time">The clock.</param>
internal sealed class Pacer(double rate, TimeProvider time)
{
    // Short enough to look steady, long enough to leave the processor to others.
    private static readonly TimeSpan Slice = TimeSpan.FromMilliseconds(5);
    private const int Unpaced = 1000;

    private readonly long _origin = time.GetTimestamp();
    private long _given;

    /// <summary>Waits until rows are due, and returns how many: at most one second's worth, however long ago the last call was.</summary>
    public async ValueTask<int> NextAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (rate == 0)
            {
                return Unpaced;
            }

            var elapsed = time.GetElapsedTime(_origin);
            var due = 1 + (long)(elapsed.TotalSeconds * rate) - _given;
            if (due > 0)
            {
                _given += due;
                return (int)Math.Min(due, Math.Max(1, rate));
            }

            var next = TimeSpan.FromSeconds(_given / rate) - elapsed;
            await Task.Delay(next > Slice ? next : Slice, time, cancellationToken);
        }
    }
}
