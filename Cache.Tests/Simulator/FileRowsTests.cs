using System.Text;
using Cache.Producer.Simulator;
using Confluent.Kafka;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Simulator;

public sealed class FileRowsTests : IDisposable
{
    private const string Event = """{"window_start":1710000000000,"event_type":"click","event_count":1}""";
    private const string Load = """{"window_start":"2024-03-09 16:00:00","device_category":"tv","p95_load_time":2.5}""";
    private const string Session = """{"session_id":"s-1","end_time":1710000000000}""";
    private const string Shop = """[{"name":"shop","topics":["^shop\\..*"],"dimension":["country","plan"],"measures":[{"name":"orders","kind":"count"}]}]""";
    private const string Sales = """[{"name":"sales","topics":["sales"],"dimension":["event_type"],"measures":[{"name":"count","field":"event_count","kind":"count"}]}]""";

    private readonly string _path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());

    public void Dispose() => File.Delete(_path);

    [Fact]
    public async Task Rows_GoToTheTopicOfTheirType_KeyedByDimension_AsTheyAre()
    {
        var rows = await ReadAsync($"\ufeff{Event}\r\n\n   \n  {Load}\n{Session}");

        Assert.Equal(
            [("event_metrics", "click", Event), ("performance_metrics", "tv", $"  {Load}"), ("session_metrics", "s-1", Session)],
            rows.Select(row => (row.Topic, Text(row.Key), Text(row.Value)!)));
        Assert.All(rows, row => Assert.Equal((Partition.Any, null), (row.Partition, row.Headers)));
    }

    [Fact]
    public async Task Rows_GoToTheTopicThatIsNamed()
    {
        const string Row = """{"window_start":1710000000000,"country":"DE","plan":"pro","orders":1}""";
        var rows = await ReadAsync($"{Row}\n{{}}", ("topic", "shop.de"), ("metric_types", Shop));

        Assert.Equal([("shop.de", "DE|pro", Row), ("shop.de", null, "{}")], rows.Select(row => (row.Topic, Text(row.Key), Text(row.Value)!)));
        Assert.Equal(("unknown", null), Assert.Single(await ReadAsync(Event, ("topic", "unknown"))) is var row ? (row.Topic, Text(row.Key)) : default);
    }

    [Fact]
    public async Task DeadLetters_GoBackToTheirOrigin_ByteByByte()
    {
        var rows = await ReadAsync(
            """
            {"topic":"shop.de","partition":3,"offset":17,"timestamp":1,"reason":"bad_measure","key":"k","value":"not json","headers":[{"name":"a","value":null,"value_base64":"/w=="},{"name":"a","value":null}]}
            {"topic":"event_metrics","partition":null,"value":null,"key_base64":"/w==","value_base64":"wyg="}
            {"topic":"event_metrics","value":{"window_start" : 1}}
            """);

        Assert.Equal(("shop.de", 3, "k", "not json"), (rows[0].Topic, rows[0].Partition.Value, Text(rows[0].Key), Text(rows[0].Value)));
        Assert.Equal([("a", "/w=="), ("a", null)], rows[0].Headers!.Select(header => (header.Key, header.GetValueBytes() is { } bytes ? Convert.ToBase64String(bytes) : null)));
        Assert.Equal(("/w==", "wyg=", Partition.Any), (Convert.ToBase64String(rows[1].Key!), Convert.ToBase64String(rows[1].Value), rows[1].Partition));
        Assert.Equal((null, """{"window_start" : 1}"""), (Text(rows[2].Key), Text(rows[2].Value)));
    }

    [Fact]
    public async Task DeadLetterOfUnknownOrigin_GoesToTheTopicThatIsNamed()
    {
        const string Line = """{"topic":null,"partition":null,"offset":null,"reason":null,"key":null,"value":"x"}""";

        Assert.Equal("line 1: the dead letter does not say which topic it came from; name one with --topic", await ErrorAsync(Line));
        Assert.Equal("mine", Assert.Single(await ReadAsync(Line, ("topic", "mine"))).Topic);
    }

    [Theory]
    [InlineData("not json", "not JSON")]
    [InlineData("[]", "not a JSON object")]
    [InlineData("42", "not a JSON object")]
    [InlineData("{\"a\":1}", "it has the fields of no metric type, of event, performance and sessions; name its topic with --topic, or its type in metric_types")]
    [InlineData("{\"window_start\":1,\"event_type\":\"a\"}", "it has the fields of no metric type")]
    [InlineData("{\"topic\":\"event_metrics\",\"value\":null,\"omitted_bytes\":3000000}", "its value is too large to be in the file")]
    [InlineData("{\"topic\":\"event_metrics\",\"value\":null}", "it has no value")]
    [InlineData("{\"topic\":\"^a\",\"value\":\"x\"}", "its topic cannot be one")]
    [InlineData("{\"topic\":\"a\",\"value_base64\":\"?\"}", "its value_base64 is not Base64")]
    [InlineData("{\"topic\":\"a\",\"value\":\"x\",\"key\":5}", "its key is not text")]
    [InlineData("{\"topic\":\"a\",\"value\":\"x\",\"headers\":{}}", "its headers are not a list")]
    [InlineData("{\"topic\":\"a\",\"value\":\"x\",\"headers\":[{}]}", "one of its headers has no name")]
    public async Task BadLine_IsNamedByItsNumber(string line, string error) =>
        Assert.StartsWith($"line 3: {error}", await ErrorAsync($"{Event}\n\n{line}\n{Load}"), StringComparison.Ordinal);

    [Fact]
    public async Task BadLines_AreCounted()
    {
        var error = await ErrorAsync(string.Concat(Enumerable.Repeat("x\n", 25)));

        Assert.StartsWith("line 1: not JSON; line 2: not JSON; ", error, StringComparison.Ordinal);
        Assert.EndsWith("line 10: not JSON; and 15 more lines", error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task RowOfTwoTypes_IsRefused_UnlessOneIsNamed()
    {
        Assert.Equal(
            "line 1: it has the fields of event and sales; name one of them with --types, or the topic with --topic",
            await ErrorAsync(Event, ("metric_types", Sales)));
        Assert.Equal("sales", Assert.Single(await ReadAsync(Event, ("metric_types", Sales), ("types", "sales"))).Topic);
        Assert.Equal("event_metrics", Assert.Single(await ReadAsync(Event, ("metric_types", Sales), ("types", "event"))).Topic);
    }

    [Fact]
    public async Task RowOfATypeWhoseTopicsArePatterns_NeedsATopic() =>
        Assert.Equal(
            "line 1: every topic of shop is a pattern; name one with --topic",
            await ErrorAsync("""{"window_start":1710000000000,"country":"DE","plan":"pro","orders":1}""", ("metric_types", Shop)));

    [Fact]
    public async Task Count_StopsBeforeLaterLines_AndLoop_BeginsAgain()
    {
        Assert.Equal(2, (await ReadAsync($"{Event}\n{Load}\nbad", ("count", "2"))).Count);
        Assert.Equal(
            ["event_metrics", "performance_metrics", "event_metrics", "performance_metrics", "event_metrics"],
            (await ReadAsync($"{Event}\n{Load}", ("loop", "true"), ("count", "5"))).Select(row => row.Topic));
        Assert.Empty(await ReadAsync("\n\n", ("loop", "true")));
    }

    [Fact]
    public async Task Shift_MovesAllTimes_SoThatTheNewestWindowIsTheOneOfNow()
    {
        var time = new FakeTimeProvider(new(2026, 11, 29, 12, 34, 56, TimeSpan.Zero));
        string[] lines =
        [
            """{"window_start":1710000000000,"window_end":1710000300000,"event_type":"a","event_count":1}""",
            """{"window_start":"2024-03-09T15:55:00Z","window_end":"2024-03-09T16:00:00Z","event_type":"a","event_count":1}""",
            """{"topic":"performance_metrics","key":null,"value":"{\"window_start\":\"2024-03-09 15:50:00\",\"device_category\":\"tv\"}"}""",
        ];

        var rows = await ReadAsync(time, string.Join('\n', lines), ("shift", "true"));

        Assert.Equal(
            [
                """{"window_start":1795955400000,"window_end":1795955700000,"event_type":"a","event_count":1}""",
                """{"window_start":"2026-11-29T12:25:00Z","window_end":"2026-11-29T12:30:00Z","event_type":"a","event_count":1}""",
                """{"window_start":"2026-11-29 12:20:00","device_category":"tv"}""",
            ],
            rows.Select(row => Text(row.Value)));
    }

    [Theory]
    [InlineData("{\"topic\":\"event_metrics\",\"value\":\"bad\"}", "line 1: a time that --shift would move is missing, or is none")]
    [InlineData("{\"topic\":\"other\",\"value\":\"{}\"}", "line 1: no metric type has the topic other, so --shift does not know where its times are")]
    public async Task Shift_OfARowWithoutATime_IsRefused(string line, string error) => Assert.Equal(error, await ErrorAsync(line, ("shift", "true")));

    [Fact]
    public async Task ExportThatIsNotComplete_IsSent_AndNoticed()
    {
        var rows = new FileRows(Options($"{Event}\n{{\"scanned\":10000,\"complete\":false}}\n"), TimeProvider.System);
        await rows.CheckAsync(TestContext.Current.CancellationToken);

        Assert.True(rows.IsIncomplete);
        Assert.Equal(1, rows.Summary!.Rows);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task AnyBytes_AreARowOrABadLine(int seed)
    {
        var random = new Random(seed);
        string[] words = [Event, Load, "\n", "{", "}", "\"topic\":\"a\",", "\"value\":\"x\"", "\"key_base64\":\"", "null", "[", "\\", "\u0000", "é", ",", ":", "1e999"];
        for (var round = 0; round < 300; round++)
        {
            await File.WriteAllTextAsync(_path, string.Concat(Enumerable.Range(0, random.Next(8)).Select(_ => words[random.Next(words.Length)])), TestContext.Current.CancellationToken);
            var rows = new FileRows(Options(null, ("shift", random.Next(2) == 0 ? "true" : "false")), TimeProvider.System);
            var failure = await Record.ExceptionAsync(() => rows.CheckAsync(TestContext.Current.CancellationToken));
            Assert.True(failure is null or BadFileException, $"{failure}");
        }
    }

    [Theory]
    [InlineData("file is 'no-such-file'; it must be a file that exists, or - for standard input.", "file", "no-such-file")]
    [InlineData("loop is for the rows of a file; name one with file.", "loop", "true")]
    [InlineData("shift is for the rows of a file; name one with file.", "shift", "true")]
    [InlineData("topic is for the rows of a file; name one with file.", "topic", "a")]
    [InlineData("topic is 'a b'; it must be a topic's name: 1 to 249 letters, digits, dots, underscores or hyphens.", "topic", "a b", "file", "-")]
    [InlineData("loop: standard input can be read only once; write it to a file first.", "loop", "true", "file", "-")]
    [InlineData("shift: standard input can be read only once; write it to a file first.", "shift", "true", "file", "-")]
    [InlineData("seed is for made-up rows, not for those of a file.", "seed", "7", "file", "-")]
    [InlineData("malformed_share is for made-up rows, not for those of a file.", "malformed_share", "0.1", "file", "-")]
    [InlineData("sessions is for made-up rows, not for those of a file.", "sessions", "true", "file", "-")]
    public void OptionsThatDoNotGoTogether_AreRefused(string error, params string[] settings) =>
        Assert.Equal(error, Assert.Single(Assert.Throws<ConfigurationException>(() => Read([.. settings.Chunk(2).Select(pair => (pair[0], pair[1]))])).Errors));

    [Fact]
    public void Rate_OfAFile_IsAsFastAsItGoes_UnlessItIsLooped()
    {
        Assert.Equal(0, Read(("file", "-")).Rate);
        Assert.Equal(5, Read(("file", "-"), ("rate", "5")).Rate);
        Assert.Equal(20, Options(Event, ("loop", "true")).Rate);
        Assert.Equal(0, Options(Event, ("loop", "true"), ("rate", "0")).Rate);
    }

    private Task<List<Outgoing>> ReadAsync(string text, params (string Key, string Value)[] settings) => ReadAsync(TimeProvider.System, text, settings);

    private async Task<List<Outgoing>> ReadAsync(TimeProvider time, string text, params (string Key, string Value)[] settings)
    {
        var rows = new FileRows(Options(text, settings), time);
        await rows.CheckAsync(TestContext.Current.CancellationToken);
        return await rows.ReadAsync(TestContext.Current.CancellationToken).ToListAsync(TestContext.Current.CancellationToken);
    }

    private async Task<string> ErrorAsync(string text, params (string Key, string Value)[] settings) =>
        (await Assert.ThrowsAsync<BadFileException>(() => ReadAsync(text, settings))).Message;

    private SimulatorOptions Options(string? text, params (string Key, string Value)[] settings)
    {
        if (text is not null)
        {
            File.WriteAllText(_path, text);
        }

        return Read([("file", _path), .. settings]);
    }

    private static SimulatorOptions Read(params (string Key, string Value)[] settings) => SimulatorOptions.Read(
        new ConfigurationBuilder().AddInMemoryCollection(settings.Select(setting => KeyValuePair.Create(setting.Key, (string?)setting.Value))).Build());

    private static string? Text(byte[]? bytes) => bytes is null ? null : Encoding.UTF8.GetString(bytes);
}
