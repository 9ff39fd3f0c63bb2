using System.Text.Json;
using System.Text.RegularExpressions;
using YamlDotNet.RepresentationModel;

namespace Cache.Tests.GitHub;

/// <summary>What GitHub reads from this repository fits the repository. Whether GitHub can read it, actionlint says (.ci/run).</summary>
public sealed partial class WorkflowTests
{
    private const string Sample = """
        name: sample
        on: push
        permissions:
          contents: read
        jobs:
          check:
            runs-on: ubuntu-latest
            timeout-minutes: 5
            steps:
              - uses: actions/checkout@v5
              - run: bash .ci/run
              - run: dotnet test --filter "Category=Campaign&FullyQualifiedName~Faults"
                env:
                  CACHE_FAULT_SEEDS: "3"
              - run: dotnet run --project Cache.Benchmarks -- all
        """;

    public static TheoryData<string> Workflows => [.. Files("workflows")];

    public static TheoryData<string> Forms => [.. Files("ISSUE_TEMPLATE").Where(form => form != "config.yml")];

    [Theory]
    [MemberData(nameof(Workflows))]
    public void Workflow_IsComplete_AndNamesOnlyWhatIsThere(string name) =>
        Assert.Equal([], WorkflowCheck.Problems(File.ReadAllText(Repository.File(".github", "workflows", name))));

    [Theory]
    [InlineData("", "", null)]
    [InlineData("on: push\n", "", "the workflow has no on")]
    [InlineData("permissions:\n  contents: read\n", "", "the workflow has no permissions")]
    [InlineData("    runs-on: ubuntu-latest\n", "", "check has no runs-on")]
    [InlineData("    timeout-minutes: 5\n", "", "check has no timeout-minutes")]
    [InlineData("checkout@v5", "checkout@main", "step 1 of check uses actions/checkout@main, which names no version")]
    [InlineData("- run: bash", "- name: bash", "step 2 of check has to have either uses or run")]
    [InlineData(".ci/run", ".ci/runs", "no file .ci/runs")]
    [InlineData("Category=Campaign", "Category=Campaigns", "no test Category=Campaigns")]
    [InlineData("~Faults", "~Fautls", "no test FullyQualifiedName~Fautls")]
    [InlineData("FAULT_SEEDS", "FAULTS_SEEDS", "no test reads CACHE_FAULTS_SEEDS")]
    [InlineData("Cache.Benchmarks", "Cache.Benchmark", "no project Cache.Benchmark")]
    [InlineData("-- all", "-- al", "no benchmark al")]
    public void BrokenWorkflow_IsNoticed(string from, string to, string? problem)
    {
        var workflow = from.Length == 0 ? Sample : Sample.Replace(from, to, StringComparison.Ordinal);

        Assert.Equal(problem is null ? [] : [problem], WorkflowCheck.Problems(workflow));
    }

    [Theory]
    [InlineData("jobs: [")]
    [InlineData("- a list")]
    [InlineData("")]
    public void InvalidYaml_IsNoticed(string workflow) => Assert.Single(WorkflowCheck.Problems(workflow));

    [Fact]
    public void Nightly_MutatesTheFoldersOfStrykersConfiguration_AsTheDocsListThem()
    {
        var nightly = WorkflowCheck.Parse(File.ReadAllText(Repository.File(".github", "workflows", "nightly.yml")));
        var runs = WorkflowCheck.Items((YamlMappingNode)nightly["jobs"]["mutation"]["strategy"]["matrix"], "include").Select(run => run["arguments"].ToString()).Order().ToList();
        var folders = Mutated("stryker-config.json").Order().ToList();
        string[] own = ["stryker-config.access.json", "stryker-config.streaming.json"];
        Assert.Equal([.. own.Select(config => $"-f {config}"), .. folders.Select(pattern => $"-m '{pattern}'")], runs);

        var docs = File.ReadAllText(Repository.File("docs", "testing.md"));
        var table = docs[docs.IndexOf("| folder | mutants |", StringComparison.Ordinal)..].Split("\n\n")[0].Split('\n')[2..];
        Assert.Equal(
            folders.Concat(own.Select(config => Mutated(config).First())).Select(pattern => pattern.Split('/')[^3]).Order(),
            table.Select(row => FirstWord().Match(row).Value).Where(folder => folder != "all").Order());

        static IEnumerable<string> Mutated(string config)
        {
            var patterns = JsonElement.Parse(File.ReadAllText(Repository.File("Cache.Tests", config))).GetProperty("stryker-config").GetProperty("mutate");
            return patterns.EnumerateArray().Select(pattern => pattern.GetString()!);
        }
    }

    [Fact]
    public void Contributing_NamesOnlyWhatIsThere() => Assert.Equal([], CommandCheck.Missing(File.ReadAllText(Repository.File("CONTRIBUTING.md"))));

    [Theory]
    [MemberData(nameof(Forms))]
    public void Form_IsComplete(string name)
    {
        var form = WorkflowCheck.Parse(File.ReadAllText(Repository.File(".github", "ISSUE_TEMPLATE", name)));
        Assert.Equal([], WorkflowCheck.Lacks(form, name, "name", "description", "body"));
        var fields = WorkflowCheck.Items(form, "body").Cast<YamlMappingNode>().ToLookup(field => field["type"].ToString() is "markdown");
        Assert.All(fields[true], text => Assert.NotEmpty(text["attributes"]["value"].ToString()));
        Assert.All(fields[false], field =>
        {
            Assert.Contains(field["type"].ToString(), (string[])["input", "textarea", "dropdown", "checkboxes"]);
            Assert.NotEmpty(field["attributes"]["label"].ToString());
        });
        Assert.NotEmpty(fields[false]);
        Assert.Distinct(fields[false].Select(field => field["id"].ToString()));
    }

    [Fact]
    public void Dependabot_LooksWhereThereIsSomething()
    {
        var dependabot = WorkflowCheck.Parse(File.ReadAllText(Repository.File(".github", "dependabot.yml")));
        Assert.Equal("2", dependabot["version"].ToString());
        var updates = WorkflowCheck.Items(dependabot, "updates").Cast<YamlMappingNode>().ToList();
        Assert.Equal(["docker-compose", "github-actions", "npm", "nuget"], updates.Select(update => update["package-ecosystem"].ToString()).Order());
        Assert.All(updates, update =>
        {
            var folders = update.Children.TryGetValue("directories", out var several) ? ((YamlSequenceNode)several).Select(folder => folder.ToString()) : [update["directory"].ToString()];
            Assert.All(folders, folder => Assert.True(Directory.Exists(Repository.File(folder.TrimStart('/')))));
            Assert.Equal([], WorkflowCheck.Lacks(update, "an update", "schedule", "groups"));
        });
    }

    private static IEnumerable<string> Files(string folder) => Directory.GetFiles(Repository.File(".github", folder)).Select(file => Path.GetFileName(file)).Order();

    [GeneratedRegex(@"\w+")]
    private static partial Regex FirstWord();
}
