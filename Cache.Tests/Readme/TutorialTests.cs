using System.Text.Json;
using System.Text.RegularExpressions;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Readme;

/// <summary>What docs/tutorial.md shows is true: rows as its jobs write them are taken, and answer as it says.</summary>
public sealed partial class TutorialTests
{
    private static readonly string Tutorial = File.ReadAllText(Repository.File("docs", "tutorial.md"));

    private static List<string> Json => [.. JsonBlock().Matches(Tutorial).Select(block => block.Groups[1].Value.Trim())];

    [Fact]
    public async Task EveryRow_IsTaken_AndAnswersAsShown()
    {
        var rows = Json.Where(json => json.Contains("event_count", StringComparison.Ordinal)).ToList();
        var answer = Assert.Single(Json, json => json.Contains("click.count", StringComparison.Ordinal));
        Assert.Equal(4, rows.Count);
        await using var stack = await InProcessStack.StartAsync();
        foreach (var row in rows)
        {
            // A row that is not taken leaves what the next one replaces.
            await stack.Kafka.SendAsync(Events, 0, row.Replace("41", "1", StringComparison.Ordinal), row);
            await stack.EverythingIsCommittedAsync(Events);
            await Eventually.HoldsAsync(async () => Assert.Equal(answer, (await stack.GetAsync("/metrics/event/latest")).GetRawText()));
        }

        Assert.Empty(stack.Kafka.ReadAll(stack.DeadLetterTopic));
    }

    [Fact]
    public void Jobs_WriteTheFieldsOfTheirRows_AndReadThoseOfTheSource()
    {
        var view = Fields(Json[0]);
        var row = Fields(Json.First(json => json.Contains("event_count", StringComparison.Ordinal)));

        Assert.Equal(view, Columns("page_views"));
        Assert.Equal(row, Columns("event_metrics"));
        var ksql = Code("## With ksqlDB");
        Assert.All(row, field => Assert.Contains($"AS `{field}`", ksql, StringComparison.Ordinal));
        Assert.All(view, field => Assert.Contains(field, ksql, StringComparison.Ordinal));
        var spark = Code("## With Spark");
        Assert.All(row, field => Assert.Contains($"\"{field}\"", spark, StringComparison.Ordinal));
        Assert.All(view, field => Assert.Contains(field, spark, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Spark_IsPython()
    {
        var python = Requirement.Program("python3", "python3");
        using var parser = ChildProcess.Start(python, "-c", "import ast, sys; ast.parse(sys.argv[1])", Code("## With Spark"));
        await parser.WaitForExitAsync(TestContext.Current.CancellationToken);
        Assert.True(parser.ExitCode == 0, await parser.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken));
    }

    private static List<string> Fields(string json) => [.. JsonElement.Parse(json).EnumerateObject().Select(field => field.Name)];

    private static List<string> Columns(string table) =>
        [.. Column().Matches(Regex.Match(Tutorial, $@"CREATE TABLE {table} \((.*?)\n\) WITH", RegexOptions.Singleline).Groups[1].Value).Select(column => column.Groups[1].Value)];

    private static string Code(string heading) => Tutorial.Split(heading)[1].Split("```")[1].Split('\n', 2)[1];

    [GeneratedRegex("```json\n(.*?)\n```", RegexOptions.Singleline)]
    private static partial Regex JsonBlock();

    [GeneratedRegex(@"^  ([a-z_]+) [A-Z]", RegexOptions.Multiline)]
    private static partial Regex Column();
}
