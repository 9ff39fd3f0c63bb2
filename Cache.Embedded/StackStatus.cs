using System.Globalization;
using System.Text.Json;

namespace Cache.Embedded;

/// <summary>What the stack does at the moment, in one line: rows per second, the newest window, the lag; or what is wrong.</summary>
/// <param name="client">Asks the service, with a key if it has any.</param>
/// <param name="time">The clock.</param>
internal sealed class StackStatus(HttpClient client, TimeProvider time)
{
    // Of one second, the simulator's 20 rows/s would read as 19, 21, 20.
    private static readonly TimeSpan RateOver = TimeSpan.FromSeconds(5);

    private readonly Queue<(long At, long Rows)> _counts = [];

    /// <summary>Asks the service, and describes the answer.</summary>
    /// <returns>The line, and whether the service is ready.</returns>
    public async Task<(string Text, bool IsReady)> ReadAsync(CancellationToken cancellationToken)
    {
        try
        {
            var pipeline = JsonElement.Parse(await client.GetStringAsync(new Uri("/pipeline", UriKind.Relative), cancellationToken));
            return (Describe(pipeline, Rate(pipeline), time.GetUtcNow()), pipeline.GetProperty("ready").GetBoolean());
        }
        catch (Exception exception) when (exception is HttpRequestException or TaskCanceledException && !cancellationToken.IsCancellationRequested)
        {
            return ($"the service does not answer: {exception.Message}", false);
        }
    }

    /// <summary>Describes an answer of <c>/pipeline</c>.</summary>
    /// <param name="pipeline">The answer.</param>
    /// <param name="rate">Rows consumed per second; null if not known yet.</param>
    /// <param name="now">The time.</param>
    public static string Describe(JsonElement pipeline, double? rate, DateTimeOffset now)
    {
        if (!pipeline.GetProperty("ready").GetBoolean())
        {
            return $"not ready: {string.Join("; ", pipeline.GetProperty("reasons").EnumerateArray().Select(reason => reason.GetString()))}";
        }

        List<long> newest = [.. pipeline.GetProperty("windows").EnumerateArray().Select(type => type.GetProperty("newest")).Where(start => start.ValueKind == JsonValueKind.Number).Select(start => start.GetInt64())];
        List<JsonElement> lags = [.. pipeline.GetProperty("lag").EnumerateArray().Select(partition => partition.GetProperty("rows"))];
        return string.Join("   ",
        [
            rate is { } rows ? Invariant($"{rows:#,0} rows/s") : "…",
            newest.Count == 0 ? "no windows yet" : Window(newest.Max(), now),
            lags.Exists(lag => lag.ValueKind == JsonValueKind.Null) ? "lag not known yet" : Invariant($"lag {lags.Sum(lag => lag.GetInt64()):#,0} rows"),
        ]);
    }

    private double? Rate(JsonElement pipeline)
    {
        var (now, rows) = (time.GetTimestamp(), pipeline.GetProperty("rows").EnumerateObject().Sum(topic => topic.Value.GetInt64()));
        while (_counts.Count > 1 && time.GetElapsedTime(_counts.Peek().At, now) > RateOver)
        {
            _counts.Dequeue();
        }

        _counts.Enqueue((now, rows));
        var (since, before) = _counts.Peek();
        return since == now ? null : (rows - before) / time.GetElapsedTime(since, now).TotalSeconds;
    }

    private static string Window(long start, DateTimeOffset now)
    {
        var at = DateTimeOffset.FromUnixTimeMilliseconds(start);
        var age = now - at;
        var ago = age < TimeSpan.Zero ? "in the future" : age < TimeSpan.FromMinutes(2) ? Invariant($"{age.TotalSeconds:F0} s ago") : Invariant($"{age.TotalMinutes:F0} min ago");
        return Invariant($"newest window {at.ToLocalTime():HH:mm:ss} ({ago})");
    }

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
