using System.Diagnostics;
using System.Globalization;

namespace Cache.Benchmarks;

/// <summary>
/// Processor time that other machines on the same host took from this one: what is late then is late for it. Linux tells it
/// (proc_stat(5), <c>steal</c>); elsewhere there is none.
/// </summary>
internal sealed class StolenTime
{
    private const string Source = "/proc/stat";
    private const int Steal = 8;

    // The kernel's unit there, USER_HZ, is 1/100 s wherever .NET runs.
    private const double TicksPerSecond = 100;

    private readonly long _began = Stopwatch.GetTimestamp();
    private readonly double _before = Seconds();

    /// <summary>What was taken since this was made, percent of all processors.</summary>
    public double Percent => 100 * (Seconds() - _before) / Stopwatch.GetElapsedTime(_began).TotalSeconds / Environment.ProcessorCount;

    private static double Seconds() => File.Exists(Source)
        ? long.Parse(File.ReadLines(Source).First().Split(' ', StringSplitOptions.RemoveEmptyEntries)[Steal], CultureInfo.InvariantCulture) / TicksPerSecond
        : 0;
}
