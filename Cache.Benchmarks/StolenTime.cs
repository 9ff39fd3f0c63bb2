using System.Diagnostics;
using System.Globalization;

namespace Cache.Benchmarks;

/// <summary>
/// CPU time that other machines on the same host took from this one, and a cause of delays. Linux reports it (proc_stat(5),
/// <c>steal</c>); elsewhere it is 0.
/// </summary>
internal sealed class StolenTime
{
    private const string Source = "/proc/stat";
    private const int Steal = 8;

    // The kernel's unit there, USER_HZ, is 1/100 s wherever .NET runs.
    private const double TicksPerSecond = 100;

    private readonly long _began = Stopwatch.GetTimestamp();
    private readonly double _before = Seconds();

    /// <summary>The share of all processors' time that was stolen since this object was created, in percent.</summary>
    public double Percent => 100 * (Seconds() - _before) / Stopwatch.GetElapsedTime(_began).TotalSeconds / Environment.ProcessorCount;

    private static double Seconds() => File.Exists(Source)
        ? long.Parse(File.ReadLines(Source).First().Split(' ', StringSplitOptions.RemoveEmptyEntries)[Steal], CultureInfo.InvariantCulture) / TicksPerSecond
        : 0;
}
