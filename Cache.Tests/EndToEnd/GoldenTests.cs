using System.Globalization;
using System.Net;
using System.Text;
using System.Text.RegularExpressions;
using Cache.Service.Persist;
using StackExchange.Redis;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.EndToEnd;

/// <summary>
/// Users hold on to what the default metric types put into Redis, what the routes answer, and what the metrics are called. All of
/// it is in <c>Golden.txt</c>, byte for byte; with <c>CACHE_TESTS_WRITE_GOLDEN=1</c>, the test writes that file.
/// </summary>
public sealed partial class GoldenTests
{
    // Sessions of 2024 stay active this long.
    private const string EightyYears = "2147483647";

    private static readonly string[] Clicks =
    [
        Event(Window(0), "page_view", 2, 2),
        Event(Window(0), "click", 1),
        Event(Window(0), "page_view", 3, 1),
        Event(Window(1), "añb", users: 7),
        Event(Window(1), "with.dot", 9223372036854775807, 0),
        """{"window_start":"2024-03-09T16:02:00Z","window_end":"2024-03-09 16:03:00.000Z","event_type":"日本語 \"x\"","event_count":1.0,"user_count":1e3}""",
        """{"window_start":"2024-03-09 16:02:00.5","event_type":"half, a second","event_count":4,"other":[1,{"window_start":2}]}""",
        """{"window_start":1710000000000,"event_type":"page_view","event_count":-1}""",
        """{"window_start":1710000000000,"event_type":"","event_count":1}""",
        """{"event_type":"page_view","event_count":1}""",
        """{"window_start":"soon","event_type":"page_view","event_count":1}""",
        """{"window_start":9999999999999,"event_type":"page_view","event_count":1}""",
        """{"window_start":1710000000000,"event_type":"page_view"}""",
        """{"window_start":1710000000000,"event_count":1}""",
        "no row",
        "[]",
        Event(Window(3), "last", 5, 5),
    ];

    private static readonly string[] Loads =
    [
        Load(Window(0), "Desktop", 300, 450.5),
        Load(Window(0), "Mobile", 0.1, 1e-7),
        Load(Window(1), "Desktop", 5e300),
        Load(Window(1), "Tablet", p95: 12.25),
        """{"window_start":1710000060000,"device_category":"Desktop","avg_load_time":"5"}""",
        Load(Window(2), "=cmd()", 1, 2),
    ];

    private static readonly string[] Visits =
    [
        """{"session_id":"17","user_id":"42","start_time":1710000000000,"end_time":1710000004000,"duration":4000,"page_count":2,"device_category":"Mobile"}""",
        """{"session_id":"b \"é\"","end_time":"2024-03-09T16:00:01Z"}""",
        """{"session_id":"","end_time":1710000004000}""",
        """{"session_id":"s"}""",
        """{"session_id":"s","end_time":9999999999999}""",
        """{"session_id":"s","start_time":1710000005000,"end_time":1710000004000}""",
        """{"session_id":"s","user_id":7,"end_time":1710000004000}""",
    ];

    private static readonly string[] Routes =
    [
        "/metrics/event/latest", "/metrics/event/latest?fields=last", "/metrics/event/latest?fields=unknown",
        "/metrics/event/windows", "/metrics/event/windows?limit=2", "/metrics/event/windows?limit=x", "/metrics/event/windows?fields=page_view,with.dot",
        "/metrics/event/windows?from=2024-03-09T16:01:00Z&to=1710000120000", "/metrics/event/windows?from=2&to=1",
        "/metrics/performance/latest", "/metrics/performance/windows", "/metrics/performance/windows?fields=Desktop&limit=1",
        "/metrics/overview", "/metrics/overview?fields=last,Desktop", "/sessions/active", "/sessions/active?limit=1", "/healthz", "/metrics/other/latest",
    ];

    [Fact]
    public async Task DefaultTypes_InRedis_AnswersAndMetricNames_AreAsTheyAlwaysWere()
    {
        await using var stack = await InProcessStack.PrepareAsync(
            null, ("cache_kafka_topics", "event_metrics,performance_metrics,session_metrics"), ("active_session_ttl_seconds", EightyYears));
        stack.Broker.CreateTopic(Sessions, partitions: 1);
        var updates = await stack.SubscribeAsync();
        await stack.StartProcessAsync();
        await stack.ReadyAsync();
        await stack.Kafka.SendAsync(Events, 0, Clicks);
        await stack.Kafka.SendAsync(Performance, 0, Loads);
        await stack.Kafka.SendAsync(Sessions, 0, Visits);
        await stack.EverythingIsCommittedAsync(Events, Performance, Sessions);
        await Eventually.HoldsAsync(() => Assert.Equal(10, updates.Select(Origin).Distinct().Count()));

        var golden = new StringBuilder();
        await WriteRedisAsync(golden, stack);
        golden.Append("\n# Updates: the fields of each window or session, and the order of properties\n");
        foreach (var of in updates.GroupBy(Origin).OrderBy(of => of.Key, StringComparer.Ordinal))
        {
            var fields = of.SelectMany(update => update.GetProperty("fields").EnumerateObject()).Select(field => $"{field.Name}={field.Value.GetRawText()}");
            golden.Append(CultureInfo.InvariantCulture, $"{of.Key} {string.Join(' ', fields.Distinct().Order(StringComparer.Ordinal))}\n");
        }

        golden.Append("\n# Dead letters\n");
        foreach (var letter in stack.Kafka.ReadAll(stack.DeadLetterTopic)
            .Select(letter => string.Join(' ', letter.Message.Headers.Where(header => header.Key != DeadLetters.TimestampHeader).Select(header => $"{header.Key}={Encoding.UTF8.GetString(header.GetValueBytes())}")))
            .Order(StringComparer.Ordinal))
        {
            golden.Append(letter).Append('\n');
        }

        await WriteAnswersAsync(golden, stack);
        golden.Append("\n# Metrics\n");
        golden.AppendJoin('\n', await MetricsAsync(stack)).Append('\n');

        // Line ends of CSV, which a checkout might change.
        golden.Replace("\r", "\\r");

        var path = Repository.File("Cache.Tests", "EndToEnd", "Golden.txt");
        if (Environment.GetEnvironmentVariable("CACHE_TESTS_WRITE_GOLDEN") == "1")
        {
            await File.WriteAllTextAsync(path, golden.ToString());
        }

        // Metrics may be added.
        var (expected, actual) = (Parts(await File.ReadAllTextAsync(path)), Parts(golden.ToString()));
        Assert.Equal(expected[0], actual[0]);
        Assert.Equal([], expected[1].Split('\n').Except(actual[1].Split('\n')));
    }

    private static string[] Parts(string golden) => golden.Split("\n# Metrics\n");

    private static string Origin(System.Text.Json.JsonElement update) => string.Join(' ', update.EnumerateObject()
        .Select(property => property.Value.ValueKind == System.Text.Json.JsonValueKind.Object ? property.Name : $"{property.Name}={property.Value.GetRawText()}"));

    private static async Task WriteRedisAsync(StringBuilder golden, InProcessStack stack)
    {
        golden.Append("# Redis\n");
        var keys = stack.Redis.GetServers()[0].Keys().Select(key => (string)key!).Where(key => key != "cache:epoch" && !key.StartsWith("cache:replica", StringComparison.Ordinal)).Order(StringComparer.Ordinal);
        foreach (var key in keys)
        {
            // A session expires so long after its end.
            var expires = await stack.Database.KeyTimeToLiveAsync(key) is not { } ttl ? "never" : key.StartsWith("session:", StringComparison.Ordinal) ? "expires" : $"{Math.Round(ttl.TotalMinutes)} min";
            golden.Append(CultureInfo.InvariantCulture, $"{key} ({expires})");
            if (await stack.Database.KeyTypeAsync(key) == RedisType.SortedSet)
            {
                foreach (var entry in await stack.Database.SortedSetRangeByRankWithScoresAsync(key))
                {
                    golden.Append(CultureInfo.InvariantCulture, $" {entry.Element}={entry.Score}");
                }
            }
            else
            {
                golden.Append(' ').AppendJoin(' ', (await stack.Database.HashGetAllAsync(key)).Select(field => $"{field.Name}={field.Value}").Order(StringComparer.Ordinal));
            }

            golden.Append('\n');
        }
    }

    private static async Task WriteAnswersAsync(StringBuilder golden, InProcessStack stack)
    {
        golden.Append("\n# Answers\n");
        foreach (var route in Routes)
        {
            await WriteAnswerAsync(golden, stack, route, "*/*");
            if (route.Contains("/windows", StringComparison.Ordinal))
            {
                await WriteAnswerAsync(golden, stack, route, "text/csv");
            }
        }
    }

    /// <summary>Asks once more if Redis did not answer within a second, as happens on a busy machine.</summary>
    private static async Task<HttpResponseMessage> AskAsync(InProcessStack stack, string route, string accept)
    {
        HttpResponseMessage? answer = null;
        await Eventually.HoldsAsync(async () =>
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, route);
            request.Headers.Add("Accept", accept);
            answer = await stack.Http.SendAsync(request);
            Assert.NotEqual(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
        });
        return answer!;
    }

    private static async Task WriteAnswerAsync(StringBuilder golden, InProcessStack stack, string route, string accept)
    {
        using var answer = await AskAsync(stack, route, accept);
        golden.Append(CultureInfo.InvariantCulture, $"GET {route} {accept} → {(int)answer.StatusCode} {answer.Content.Headers.ContentType} {answer.Headers.CacheControl} {answer.Headers.ETag}\n");
        golden.Append(TraceId().Replace(await answer.Content.ReadAsStringAsync(), "")).Append('\n');
        if (answer.Headers.ETag is { } tag)
        {
            using var again = new HttpRequestMessage(HttpMethod.Get, route);
            again.Headers.Add("Accept", accept);
            again.Headers.Add("If-None-Match", tag.ToString());
            using var unchanged = await stack.Http.SendAsync(again);
            Assert.Equal(System.Net.HttpStatusCode.NotModified, unchanged.StatusCode);
        }
    }

    /// <summary>The names, types and labels of the service's metrics.</summary>
    private static async Task<IEnumerable<string>> MetricsAsync(InProcessStack stack)
    {
        var lines = (await stack.AskAsync("/metrics")).Body.Split('\n');
        var types = lines.Where(line => line.StartsWith("# TYPE cache_", StringComparison.Ordinal));
        var labels = lines.Where(line => line.StartsWith("cache_", StringComparison.Ordinal) && line.Contains('{', StringComparison.Ordinal))
            .Select(line => $"{line[..line.IndexOf('{', StringComparison.Ordinal)]} {string.Join(',', Label().Matches(line).Select(label => label.Groups[1].Value))}");
        return types.Concat(labels).Distinct().Order(StringComparer.Ordinal);
    }

    [GeneratedRegex(@",""traceId"":""[^""]*""")]
    private static partial Regex TraceId();

    [GeneratedRegex("""([a-zA-Z_]+)="[^"]*"[,}]""")]
    private static partial Regex Label();
}
