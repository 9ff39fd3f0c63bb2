using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Cache.Service.Persist;

namespace Cache.Tests.EndToEnd;

/// <summary>The rows that docs/producers.md shows, sent as they stand there to the service with the metric type that stands there.</summary>
public sealed partial class ProducerRowsTests
{
    // 2026-03-02 09:30 UTC
    private const long Start = 1_772_443_800_000;

    private static readonly string Docs = File.ReadAllText(Repository.File("docs", "producers.md"));

    private static readonly Dictionary<string, string> Revenue = new() { ["DE.orders"] = "412", ["DE.total"] = "1249.95" };

    private static readonly Dictionary<string, (long Start, Dictionary<string, string> Fields)> Expected = new()
    {
        ["Flink SQL: kafka"] = (Start, Revenue),
        ["Flink SQL: upsert-kafka"] = (Start, Revenue),
        ["ksqlDB"] = (Start, Revenue),
        ["Spark Structured Streaming"] = (Start, Revenue),
        ["Kafka Streams"] = (Start, new() { ["DE.orders"] = "412" }),
        ["Materialize"] = (Start, Revenue),
        ["RisingWave"] = (Start, Revenue),
    };

    public static TheoryData<string> Systems => [.. Expected.Keys];

    [Theory]
    [MemberData(nameof(Systems))]
    public async Task Row_AsTheSystemWritesIt_IsTaken(string system)
    {
        var (start, fields) = Expected[system];
        var section = Section(system);
        var type = Json(section, "Cache takes it with:");
        var (name, topic) = NameAndTopic(type);
        await using var stack = await StackAsync(type, topic);

        await stack.Kafka.SendAsync(topic, 0, Json(section, "It writes:"));
        await stack.StartServiceAsync();
        await stack.EverythingIsCommittedAsync(topic);

        Assert.Empty(stack.Kafka.ReadAll(stack.DeadLetterTopic).Select(Reason));
        Assert.Equal([start], (await stack.Database.SortedSetRangeByRankAsync($"metrics:{name}:windows")).Select(window => (long)window));
        Assert.Equal(Sorted(fields), Sorted(await stack.HashAsync(name, start)));
        await stack.EventuallyAnswersAsync($"/metrics/{name}/latest", Answer(system));
    }

    [Fact]
    public async Task RowsInTheListOfMistakes_AreRejected_WithTheReasonNextToThem()
    {
        var mistakes = Mistake().Matches(Docs).Select(line => (Row: line.Groups["row"].Value, Reason: line.Groups["reason"].Value)).ToList();
        Assert.True(mistakes.Count >= 10);
        var type = Json(Section(Expected.Keys.First()), "Cache takes it with:");
        var (name, topic) = NameAndTopic(type);
        await using var stack = await StackAsync(type, topic);

        await stack.Kafka.SendAsync(topic, 0, mistakes.Select(mistake => mistake.Row));
        await stack.StartServiceAsync();
        await stack.EverythingIsCommittedAsync(topic);

        var letters = stack.Kafka.ReadAll(stack.DeadLetterTopic)
            .OrderBy(letter => long.Parse(KafkaSide.Header(letter, DeadLetters.OffsetHeader)!, CultureInfo.InvariantCulture));
        Assert.Equal(mistakes, letters.Select(letter => (Encoding.UTF8.GetString(letter.Message.Value!), Reason(letter)!)));
        Assert.False(await stack.Database.KeyExistsAsync($"metrics:{name}:windows"));
    }

    [Fact]
    public void EverySectionWithARow_HasACase()
    {
        var written = Heading().Matches(Docs).Select(heading => heading.Groups["name"].Value).Where(name => Block(Section(name), "It writes:") is not null);

        Assert.Equal(Expected.Keys, written);
    }

    [Fact]
    public void EveryJsonBlock_IsJson()
    {
        var blocks = JsonBlock().Matches(Docs).Select(block => block.Groups["json"].Value).ToList();

        Assert.Equal(2 * Expected.Count, blocks.Count);
        Assert.All(blocks, block => JsonElement.Parse(block));
    }

    [Fact]
    public void Introduction_ShowsTheAnswerForTheFirstRow() => Assert.Contains(Answer(Expected.Keys.First()), Docs);

    private static async Task<InProcessStack> StackAsync(string type, string topic)
    {
        var stack = await InProcessStack.PrepareAsync(null, ("metric_types", $"[{type}]"));
        stack.Broker.CreateTopic(topic, partitions: 1);
        return stack;
    }

    private static (string Name, string Topic) NameAndTopic(string type)
    {
        var json = JsonElement.Parse(type);
        return (json.GetProperty("name").GetString()!, json.GetProperty("topics")[0].GetString()!);
    }

    private static string Answer(string system)
    {
        var (start, fields) = Expected[system];
        return $"{{\"window_start\":{start},{string.Join(',', fields.Select(field => $"\"{field.Key}\":{field.Value}"))}}}";
    }

    private static string? Reason(Confluent.Kafka.ConsumeResult<byte[]?, byte[]?> letter) => KafkaSide.Header(letter, DeadLetters.ReasonHeader);

    private static IEnumerable<KeyValuePair<string, string>> Sorted(Dictionary<string, string> fields) =>
        fields.OrderBy(field => field.Key, StringComparer.Ordinal);

    /// <summary>The text between a heading and the next one.</summary>
    private static string Section(string name) => Docs.Split($"\n## {name}\n")[1].Split("\n## ")[0];

    private static string Json(string section, string label)
    {
        var block = Block(section, label);
        Assert.True(block is not null, $"no ```json block follows '{label}'");
        return block;
    }

    /// <summary>The JSON block that follows a line; null if there is none.</summary>
    private static string? Block(string section, string label) =>
        section.Split($"\n{label}\n\n```json\n") is [_, var block] ? block.Split("\n```")[0] : null;

    [GeneratedRegex("^## (?<name>.+)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex("^```json\n(?<json>.+?)\n```$", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex JsonBlock();

    [GeneratedRegex(@"^\| `(?<row>\{[^`]+\})` \| `(?<reason>\w+)` \|", RegexOptions.Multiline)]
    private static partial Regex Mistake();
}
