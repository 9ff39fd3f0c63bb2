using System.Globalization;
using System.Text;

namespace Cache.Benchmarks;

/// <summary>The rows of the benchmarks: one window after another, its dimensions in turn, with increasing counts.</summary>
internal static class BenchmarkRows
{
    private const int WindowMs = 5000;
    private static readonly string[] Types = ["page_view", "click", "add_to_cart", "purchase"];

    // Far enough in the past for all windows to have ended.
    private static readonly long FirstWindow = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero).ToUnixTimeMilliseconds();

    /// <summary>Rows per window: a hundred per dimension if there are few dimensions, ten if there are many.</summary>
    /// <param name="dimensions">Dimensions per window.</param>
    public static int PerWindow(int dimensions) => dimensions <= Types.Length ? 100 * dimensions : 10 * dimensions;

    /// <summary>The start of a row's window, in milliseconds since 1970 UTC.</summary>
    public static long WindowOf(long row, int dimensions = 4) => FirstWindow + (row / PerWindow(dimensions) * WindowMs);

    /// <summary>The number of a window's first row.</summary>
    /// <param name="window">The start of the window, in milliseconds since 1970 UTC.</param>
    public static long FirstRowOf(long window) => (window - FirstWindow) / WindowMs * PerWindow(4);

    /// <summary>The partition of a row: one per window, as if its start were the key; with many dimensions, one per dimension.</summary>
    public static int PartitionOf(long row, int partitions, int dimensions = 4) =>
        (int)(((row / PerWindow(dimensions)) + (dimensions <= Types.Length ? 0 : row % dimensions)) % partitions);

    /// <summary>The dimension of a row.</summary>
    public static string DimensionOf(long row, int dimensions = 4) =>
        dimensions <= Types.Length ? Types[row % dimensions] : string.Create(CultureInfo.InvariantCulture, $"type_{row % dimensions}");

    /// <summary>The measures of a type: those of events, and further ones.</summary>
    public static IEnumerable<(string Name, string Field)> MeasuresOf(int count) =>
        [("count", "event_count"), ("users", "user_count"), .. Enumerable.Range(3, count - 2).Select(number => ($"measure{number}", $"measure_{number}"))];

    /// <summary>The value of a row.</summary>
    public static byte[] Value(long row, int dimensions = 4, int measures = 2)
    {
        var more = string.Concat(MeasuresOf(measures).Skip(2).Select((measure, number) => string.Create(CultureInfo.InvariantCulture, $",\"{measure.Field}\":{row + number}")));
        return Encoding.UTF8.GetBytes(string.Create(
            CultureInfo.InvariantCulture,
            $$"""{"window_start":{{WindowOf(row, dimensions)}},"event_type":"{{DimensionOf(row, dimensions)}}","event_count":{{CountOf(row, dimensions)}},"user_count":{{(row % PerWindow(dimensions) / 8) + 1}}{{more}}}"""));
    }

    /// <summary>The event count of a row: its position in its window, from 1.</summary>
    public static long CountOf(long row, int dimensions = 4) => (row % PerWindow(dimensions)) + 1;
}
