using System.Globalization;

namespace Cache.Producer.Simulator;

/// <summary>How far a run is: as a line of a log, or as a bar on a terminal.</summary>
/// <param name="total">Rows to send; 0 if there is no end.</param>
internal sealed class Progress(long total)
{
    private const int BarWidth = 24;

    /// <summary>A line of a log.</summary>
    /// <param name="elapsed">Since the first row.</param>
    /// <param name="sent">Rows sent so far.</param>
    /// <param name="acknowledged">Of these, acknowledged.</param>
    /// <param name="rate">Rows per second lately.</param>
    /// <param name="errors">Rows that were rejected or timed out.</param>
    public string Line(TimeSpan elapsed, long sent, long acknowledged, double rate, long errors) => Invariant(
        $"{elapsed.TotalSeconds,6:N0} s  {sent,11:N0} sent  {acknowledged,11:N0} acknowledged  {rate,9:N0} rows/s  {errors,3:N0} errors{Rest(elapsed, acknowledged, "  ")}");

    /// <summary>A line of a terminal, with a bar if there is an end.</summary>
    /// <inheritdoc cref="Line"/>
    public string Bar(TimeSpan elapsed, long sent, long acknowledged, double rate, long errors)
    {
        if (total == 0)
        {
            return Invariant($"{Time(elapsed)}  {sent:N0} rows sent  {rate:N0} rows/s{Bad(errors)}");
        }

        var filled = (int)(BarWidth * Math.Min(acknowledged, total) / total);
        return Invariant($"{new string('█', filled)}{new string('░', BarWidth - filled)}{Rest(elapsed, acknowledged, "  ")}  {acknowledged:N0} of {total:N0} rows  {rate:N0} rows/s{Bad(errors)}");
    }

    private static string Bad(long errors) => errors == 0 ? "" : Invariant($"  {errors:N0} errors");

    /// <summary>The share that is done, and the time left at the pace so far; empty without an end.</summary>
    private string Rest(TimeSpan elapsed, long acknowledged, string before)
    {
        if (total == 0)
        {
            return "";
        }

        var left = total - acknowledged;
        var share = Invariant($"{before}{Math.Floor(100.0 * Math.Min(acknowledged, total) / total),3:N0}%");
        return acknowledged == 0 || left <= 0 ? share : Invariant($"{share}  {Time(TimeSpan.FromSeconds(Math.Ceiling(elapsed.TotalSeconds * left / acknowledged)))} left");
    }

    private static string Time(TimeSpan time) =>
        time.TotalSeconds < 60 ? Invariant($"{time.TotalSeconds:F0} s")
        : time.TotalHours < 1 ? time.ToString(@"m\:ss", CultureInfo.InvariantCulture)
        : Invariant($"{(long)time.TotalHours}{time:\\:mm\\:ss}");

    private static string Invariant(FormattableString text) => FormattableString.Invariant(text);
}
