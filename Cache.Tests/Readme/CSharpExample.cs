using System.Net.Http.Json;
using System.Net.ServerSentEvents;
using System.Text.Json;

namespace Cache.Tests.Readme;

/// <summary>The C# example of docs/api.md, verbatim.</summary>
internal static class CSharpExample
{
    public static async Task RunAsync(HttpClient cache, TextWriter Console)
    {
        // printed
        var latest = await cache.GetFromJsonAsync<JsonElement>("/metrics/event/latest");
        Console.WriteLine(latest.GetProperty("window_start").GetInt64());

        var recent = await cache.GetFromJsonAsync<JsonElement>("/metrics/event/windows?limit=5&fields=page_view");
        foreach (var window in recent.GetProperty("windows").EnumerateArray())
        {
            Console.WriteLine(window);
        }

        await using var stream = await cache.GetStreamAsync("/stream?types=event");
        await foreach (var update in SseParser.Create(stream).EnumerateAsync())
        {
            // message: a window has changed; resync: read your data over HTTP again; heartbeat: nothing happened.
            Console.WriteLine($"{update.EventType} {update.Data}");
        }

        // printed
    }
}
