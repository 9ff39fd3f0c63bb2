using System.Globalization;
using System.Text;

namespace Cache.Benchmarks;

/// <summary>The rows of the benchmarks: a window after the other, its dimensions in turns, counts that only grow.</summary>
internal static class BenchmarkRows
{
    /// <summary>The topic that they are in.</summary>
    public const string Topic = "event_metrics";

    private const int WindowMs = 5000;
    private static readonly string[] Types = ["page_view", "click", "add_to_cart", "purchase"];

    // All windows are over, however many there are.
    private static readonly long FirstWindow = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero).ToUnixTimeMilliseconds();

    /// <summary>Rows of one window: a hundred for each of few dimensions, ten for each of many.</summary>
    /// <param name="dimensions">How many dimensions a window has.</param>
    public static int PerWindow(int dimensions) => dimensions <= Types.Length ? 100 * dimensions : 10 * dimensions;

    /// <summary>Start of the window of a row, milliseconds since 1970 UTC.</summary>
    public static long WindowOf(long row, int dimensions = 4) => FirstWindow + (row / PerWindow(dimensions) * WindowMs);

    /// <summary>The number of a window's first row.</summary>
    /// <param name="window">Start of the window, milliseconds since 1970 UTC.</param>
    public static long FirstRowOf(long window) => (window - FirstWindow) / WindowMs * PerWindow(4);

    /// <summary>The partition of a row: a window is on one, as when its start is the key; of many dimensions each is on one.</summary>
    public static int PartitionOf(long row, int partitions, int dimensions = 4) =>
        (int)(((row / PerWindow(dimensions)) + (dimensions <= Types.Length ? 0 : row % dimensions)) % partitions);

    /// <summary>The dimension of a row.</summary>
    public static string DimensionOf(long row, int dimensions = 4) =>
        dimensions <= Types.Length ? Types[row % dimensions] : string.Create(CultureInfo.InvariantCulture, $"type_{row % dimensions}");

    /// <summary>The value of a row.</summary>
    public static byte[] Value(long row, int dimensions = 4) => Encoding.UTF8.GetBytes(string.Create(
        CultureInfo.InvariantCulture,
        $$"""{"window_start":{{WindowOf(row, dimensions)}},"event_type":"{{DimensionOf(row, dimensions)}}","event_count":{{CountOf(row, dimensions)}},"user_count":{{(row % PerWindow(dimensions) / 8) + 1}}}"""));

    /// <summary>The event count that a row carries: its place in its window, from 1.</summary>
    public static long CountOf(long row, int dimensions = 4) => (row % PerWindow(dimensions)) + 1;
}
