using System.Globalization;
using System.Text.Json;
using Cache.Metrics;
using Cache.Service.Model;
using Cache.Service.Persist;
using Cache.Tests.Decode;
using Confluent.Kafka;
using StackExchange.Redis;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.EndToEnd;

/// <summary>Types of one's own, beside the defaults, through the whole stack.</summary>
public sealed class MetricTypesTests
{
    private const string Revenue =
        """
        [{ "name": "revenue", "topics": ["^shop\\..*\\.revenue$"], "time": "WINDOW_START", "end": "WINDOW_END", "dimension": ["country", "plan"], "window_seconds": 60,
           "measures": [ { "name": "total", "field": "AMOUNT", "kind": "number", "unit": "EUR", "rollup": "sum" } ] }]
        """;

    private static readonly string[] Topics = [Events, Performance, "shop.eu.revenue", "shop.us.revenue"];

    /// <summary>
    /// Rows of all types in every format of time and frame, good and bad. What must become of them is decided by a decoder of the
    /// tests' own (<see cref="DecodeOracle"/>), which decodes the slow way.
    /// </summary>
    [Fact]
    public async Task EveryGoodRow_IsWhereItsTypeSays_EveryBadOneInTheDeadLetters_AndRollUpsAddUp()
    {
        const int Count = 6000;
        var seed = (ulong)Random.Shared.NextInt64();
        TestContext.Current.TestOutputHelper?.WriteLine($"seed {seed}");
        await using var stack = await StartAsync("earliest", Topics[2..]);
        var types = stack.Service.Get<Service.Options.CacheOptions>().MetricTypes;
        var mutator = new RowMutator(seed, types);
        var latest = TimeProvider.System.GetUtcNow().AddDays(1).ToUnixTimeMilliseconds();
        var rows = Enumerable.Range(0, Count).Select(number => mutator.Row(number)).Where(row => row.Type is not null && row.Value.Length < 900_000)
            .Select(row => (Type: row.Type!, row.Value, Outcome: DecodeOracle.Decode(row.Type, row.Value, latest))).ToList();

        // All rows of a type's window in one partition, so that the last one wins.
        var places = await stack.Kafka.SendAsync(rows.Select(row => (
            new TopicPartition(row.Type.IsDefault ? row.Type.Topics[0] : Topics[2], 0), new Message<byte[]?, byte[]?> { Value = row.Value })));
        await stack.EverythingIsCommittedAsync(Topics);

        var expected = new Dictionary<string, Dictionary<string, string>>();
        foreach (var row in rows.Where(row => row.Outcome.Reason == RejectReason.None))
        {
            var key = $"metrics:{row.Type.Key}:{row.Outcome.WindowStart}";
            expected.TryAdd(key, []);
            foreach (var (number, measure) in row.Type.Measures.Index().Where(measure => row.Outcome.Measures.Has(measure.Index)))
            {
                expected[key][$"{row.Outcome.Dimension}.{measure.Name}"] = measure.Kind == MeasureKind.Count
                    ? row.Outcome.Measures[number].ToString(CultureInfo.InvariantCulture)
                    : BitConverter.Int64BitsToDouble(row.Outcome.Measures[number]).ToString("R", CultureInfo.InvariantCulture);
            }
        }

        var windows = stack.Redis.GetServers()[0].Keys(pattern: "metrics:*").Select(key => key.ToString()).Where(key => !key.EndsWith(":windows", StringComparison.Ordinal)).ToList();
        Assert.Equal(expected.Keys.Order(StringComparer.Ordinal), windows.Order(StringComparer.Ordinal));
        foreach (var (key, fields) in expected)
        {
            Assert.Equal(fields.OrderBy(field => field.Key, StringComparer.Ordinal), (await stack.Database.HashGetAllAsync(key)).ToStringDictionary().OrderBy(field => field.Key, StringComparer.Ordinal));
        }

        var letters = stack.Kafka.ReadAll(stack.DeadLetterTopic)
            .ToDictionary(letter => (KafkaSide.Header(letter, DeadLetters.TopicHeader)!, KafkaSide.Header(letter, DeadLetters.OffsetHeader)!), letter => (KafkaSide.Header(letter, DeadLetters.ReasonHeader), letter.Message.Value));
        var bad = rows.Zip(places).Where(row => row.First.Outcome.Reason != RejectReason.None).ToList();
        Assert.True(bad.Count > 500);
        Assert.Equal(bad.Count, letters.Count);
        foreach (var (row, place) in bad)
        {
            var (reason, value) = letters[(place.Topic, $"{place.Offset.Value}")];
            Assert.Equal((row.Outcome.Reason.Name(), Convert.ToHexString(row.Value)), (reason, Convert.ToHexString(value ?? [])));
        }

        // One row each that adds up, in windows of their own.
        var start = (TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() / 60_000 * 60_000) - 600_000;
        await stack.Kafka.SendAsync("shop.us.revenue", 0, Amount(start, "DE", "pro", "12.5"), Amount(start, "FR", "free", "1"), Amount(start + 60_000, "DE", "pro", "7.5"));
        await stack.EverythingIsCommittedAsync(Topics);
        await stack.AnswersAsync(
            "/metrics/revenue/summary?windows=2",
            $$$"""
            {"type":"revenue","rollups":{"total":"sum"},"windows":2,"first":{{{start}}},"last":{{{start + 60_000}}},"total":{"total":21},
             "dimensions":[{"dimension":"DE|pro","measures":{"total":20}},{"dimension":"FR|free","measures":{"total":1}}]}
            """);
        await stack.AnswersAsync(
            "/metrics/revenue/summary?last=1h&step=1m&top=1&by=total&fields=FR|free",
            $$$"""
            {"type":"revenue","rollups":{"total":"sum"},"windows":2,"first":{{{start}}},"last":{{{start + 60_000}}},"total":{"total":1},"dimensions":[{"dimension":"FR|free","measures":{"total":1}}],
             "step":60000,"series":[{"start":{{{start + 60_000}}},"windows":1,"total":{},"dimensions":[]},
              {"start":{{{start}}},"windows":1,"total":{"total":1},"dimensions":[{"dimension":"FR|free","measures":{"total":1}}]}]}
            """);
        Assert.Equal($"DE|pro.total", (await stack.GetAsync("/metrics/overview")).GetProperty("revenue_latest").EnumerateObject().Last().Name);
        Assert.Equal(["event", "performance", "revenue"], (await stack.GetAsync("/types")).GetProperty("types").EnumerateArray().Select(type => type.GetProperty("name").GetString()));
    }

    [Fact]
    public async Task EveryRoute_WorksForATypeOfOnesOwn()
    {
        await using var stack = await StartAsync("earliest", Topics[2..]);
        var updates = await stack.SubscribeAsync();
        await stack.Kafka.SendAsync("shop.eu.revenue", 1, Amount(Window(0), "DE", "pro", "1.5"), Amount(Window(1), "DE", "a, b", "2"));
        await stack.EverythingIsCommittedAsync(Topics);

        await stack.AnswersAsync("/metrics/revenue/latest", $$"""{"window_start":{{Window(1)}},"DE|a, b.total":2}""");
        await stack.AnswersAsync("/metrics/revenue/windows?fields=DE|pro", $$"""{"windows":[{"window_start":{{Window(1)}}},{"window_start":{{Window(0)}},"DE|pro.total":1.5}]}""");
        await stack.AnswersAsync($@"/metrics/revenue/latest?fields={Uri.EscapeDataString(@"DE|a\, b")}", $$"""{"window_start":{{Window(1)}},"DE|a, b.total":2}""");
        using var asked = new HttpRequestMessage(HttpMethod.Get, "/metrics/revenue/windows");
        asked.Headers.Add("Accept", "text/csv");
        using var csv = await stack.Http.SendAsync(asked);
        Assert.Equal(
            $"window_start,window_start_ms,country|plan,total\r\n2024-03-09 16:01:00,{Window(1)},\"DE|a, b\",2\r\n2024-03-09 16:00:00,{Window(0)},DE|pro,1.5\r\n",
            await csv.Content.ReadAsStringAsync());
        using var latest = await stack.Http.GetAsync("/metrics/revenue/summary");
        using var again = new HttpRequestMessage(HttpMethod.Get, "/metrics/revenue/summary");
        again.Headers.Add("If-None-Match", latest.Headers.ETag!.ToString());
        using var unchanged = await stack.Http.SendAsync(again);
        Assert.Equal(System.Net.HttpStatusCode.NotModified, unchanged.StatusCode);
        await Eventually.HoldsAsync(() => Assert.Contains(updates, update => update.GetProperty("type").GetString() == "revenue" && update.GetProperty("fields").TryGetProperty("DE|pro.total", out _)));
        var api = await stack.GetAsync("/openapi/v1.json");
        Assert.All(["latest", "windows", "summary"], route => Assert.True(api.GetProperty("paths").TryGetProperty($"/metrics/revenue/{route}", out _)));
        Assert.True(api.GetProperty("components").GetProperty("schemas").GetProperty("Overview").GetProperty("properties").TryGetProperty("revenue_latest", out _));
        var (status, body, _) = await stack.AskAsync("/stream?types=other");
        Assert.Equal((System.Net.HttpStatusCode.BadRequest, true), (status, body.Contains("event, performance, revenue, session", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("last=15", "last must be a duration such as 90s, 15m, 6h or 2d")]
    [InlineData("step=0m", "step must be a duration such as 90s, 15m, 6h or 2d")]
    [InlineData("windows=0", "windows must be a whole number of 1 or more")]
    [InlineData("top=x", "top must be a whole number of 1 or more")]
    [InlineData("by=sum", "by must be count or users")]
    [InlineData("from=2&to=1", "from is later than to")]
    [InlineData("last=1h&from=1", "use only one of from and to or last")]
    [InlineData("last=1h&windows=5", "use only one of last or windows")]
    public async Task InvalidSummaries_AreRefused(string query, string error)
    {
        await using var stack = await InProcessStack.StartAsync();
        var (status, body, type) = await stack.AskAsync($"/metrics/event/summary?{query}");

        Assert.Equal((System.Net.HttpStatusCode.BadRequest, "application/problem+json"), (status, type));
        Assert.Contains(error, JsonElement.Parse(body).GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task TopicThatMatchesLater_IsReadFromItsBeginning_AndDeadLettersNever()
    {
        await using var stack = await StartAsync("latest", ["shop.eu.revenue"], ("cache_dead_letter_topic", "shop.dead.revenue"), ("Kafka:topic.metadata.refresh.interval.ms", "500"));
        await stack.ReadyAsync();
        await stack.Kafka.SendAsync("shop.eu.revenue", 0, "bad", Amount(Window(0), "DE", "pro", "1"));
        await stack.EverythingIsCommittedAsync("shop.eu.revenue");

        stack.Broker.CreateTopic("shop.us.revenue", partitions: 1);
        await stack.Kafka.SendAsync("shop.us.revenue", 0, Amount(Window(1), "US", "pro", "2"));

        await stack.EventuallyAnswersAsync("/metrics/revenue/latest", $$"""{"window_start":{{Window(1)}},"US|pro.total":2}""");
        Assert.Single(stack.Kafka.ReadAll("shop.dead.revenue"));
        Assert.Equal(-1001, Assert.Single(stack.Kafka.Committed("shop.dead.revenue")));
    }

    [Fact]
    public async Task RowsOfATopicOfTwoTypes_AreCountedAndSaid_NotWritten()
    {
        const string Types =
            """
            [{"name":"a","topics":["^shop\\.a"],"dimension":["d"],"measures":[{"name":"m","kind":"count"}]},
             {"name":"b","topics":["^shop\\..b"],"dimension":["d"],"measures":[{"name":"m","kind":"count"}]}]
            """;
        await using var stack = await InProcessStack.PrepareAsync(null, ("metric_types", Types));
        stack.Broker.CreateTopic("shop.ab", partitions: 1);
        await stack.StartProcessAsync();
        await stack.Kafka.SendAsync("shop.ab", 0, Repeated("""{"window_start":1710000000000,"d":"x","m":1}""", 3));
        await stack.EverythingIsCommittedAsync("shop.ab");

        Assert.Contains(
            (await stack.AskAsync("/metrics")).Body.Split('\n'),
            line => line.StartsWith("cache_kafka_records_without_type_total", StringComparison.Ordinal) && line.EndsWith(" 3", StringComparison.Ordinal));
        Assert.Contains("Rows of the topic shop.ab are skipped: the metric types that have it are a and b", stack.Log, StringComparison.Ordinal);
        Assert.Equal("{}", (await stack.AskAsync("/metrics/a/latest")).Body);
    }

    private static IEnumerable<string> Repeated(string row, int times) => Enumerable.Repeat(row, times);

    private static string Amount(long start, string country, string plan, string amount) =>
        $$"""{"WINDOW_START":{{start}},"WINDOW_END":{{start + 60_000}},"country":"{{country}}","plan":"{{plan}}","AMOUNT":{{amount}}}""";

    private static async Task<InProcessStack> StartAsync(string from, string[] topics, params (string Key, string Value)[] settings)
    {
        var stack = await InProcessStack.PrepareAsync(null, [("metric_types", Revenue), ("window_retention_count", "1000000"), ("cache_consume_from", from), .. settings]);
        foreach (var topic in topics)
        {
            stack.Broker.CreateTopic(topic, partitions: 2);
        }

        await stack.StartServiceAsync();
        return stack;
    }
}
