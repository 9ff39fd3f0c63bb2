namespace Cache.Producer.Simulator;

/// <summary>Says how many rows are due: small slices against the clock, so that a steady rate stays steady.</summary>
/// <param name="rate">Rows a second; 0 means that rows are always due.</param>
/// <param name="time">The clock.</param>
internal sealed class Pacer(double rate, TimeProvider time)
{
    // Short enough to look steady, long enough to leave the processor to others.
    private static readonly TimeSpan Slice = TimeSpan.FromMilliseconds(5);
    private const int Unpaced = 1000;

    private readonly long _origin = time.GetTimestamp();
    private long _given;

    /// <summary>Waits until rows are due; at most one second's worth is, however long nobody asked.</summary>
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
