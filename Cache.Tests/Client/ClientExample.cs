using Cache.Client;

namespace Cache.Tests.Client;

/// <summary>The example of the package's README, verbatim.</summary>
internal static class ClientExample
{
    public static async Task RunAsync(CacheClient cache, TextWriter Console, CancellationToken stop)
    {
        // printed
        // The newest window, by dimension and measure.
        if (await cache.GetLatestAsync("event", cancellationToken: stop) is { } latest)
        {
            Console.WriteLine($"{latest.Start:HH:mm:ss} {latest["click", "count"]} clicks");
            foreach (var (eventType, count) in latest.Values("count"))
            {
                Console.WriteLine($"{eventType} {count}");
            }
        }

        // The last five windows, and the last quarter of an hour rolled up, with its three largest event types.
        var windows = await cache.GetWindowsAsync("event", new() { Limit = 5 }, stop);
        var summary = await cache.GetSummaryAsync("event", new() { Last = TimeSpan.FromMinutes(15), Top = 3 }, stop);
        Console.WriteLine($"{windows.Count} windows, {summary.Total.GetValueOrDefault("count")} events");

        // Every update, as it is written.
        await foreach (var update in cache.StreamAsync(new() { Types = ["event"] }, stop))
        {
            Console.WriteLine(update switch
            {
                Resync resync => $"read again what you show ({resync.Reason})",
                WindowUpdate { Window: var window } => $"{window.Start:HH:mm:ss} {string.Join(", ", window.Values("count"))}",
                _ => "",
            });
        }

        // printed
    }
}
