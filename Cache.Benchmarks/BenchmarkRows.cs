using System.Globalization;
using System.Text;

namespace Cache.Benchmarks;

/// <summary>The rows of the benchmarks: a window after the other, its dimensions in turns, counts that only grow.</summary>
internal static class BenchmarkRows
{
    /// <summary>The topic that they are in.</summary>
    public const string Topic = "event_metrics";

    /// <summary>Rows of one window.</summary>
    public const int PerWindow = 400;

    private const int WindowMs = 5000;
    private static readonly string[] Types = ["page_view", "click", "add_to_cart", "purchase"];

    // All windows are over, however many there are.
    private static readonly long FirstWindow = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero).ToUnixTimeMilliseconds();

    /// <summary>Start of the window of a row, milliseconds since 1970 UTC.</summary>
    public static long WindowOf(long row) => FirstWindow + (row / PerWindow * WindowMs);

    /// <summary>The partition of a row: a window is on one, as when its start is the key.</summary>
    public static int PartitionOf(long row, int partitions) => (int)(row / PerWindow % partitions);

    /// <summary>The dimension of a row.</summary>
    /// <param name="row">The row's number, from 0.</param>
    /// <param name="dimensions">How many dimensions a window has.</param>
    public static string DimensionOf(long row, int dimensions) =>
        dimensions <= Types.Length ? Types[row % dimensions] : string.Create(CultureInfo.InvariantCulture, $"type_{row % dimensions}");

    /// <summary>The value of a row.</summary>
    public static byte[] Value(long row, int dimensions = 4) => Encoding.UTF8.GetBytes(string.Create(
        CultureInfo.InvariantCulture,
        $$"""{"window_start":{{WindowOf(row)}},"event_type":"{{DimensionOf(row, dimensions)}}","event_count":{{CountOf(row)}},"user_count":{{(row % PerWindow / 8) + 1}}}"""));

    /// <summary>The event count that a row carries.</summary>
    public static long CountOf(long row) => (row % PerWindow) + 1;
}
