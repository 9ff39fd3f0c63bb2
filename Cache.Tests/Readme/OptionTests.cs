using System.Text.RegularExpressions;
using Cache.Embedded;
using Cache.Producer.Simulator;

namespace Cache.Tests.Readme;

/// <summary>The options in the README and the docs are accepted, as printed, by the programs that they are shown for.</summary>
public sealed partial class OptionTests
{
    private static readonly string Running = File.ReadAllText(Repository.File("docs", "running.md"));
    private static readonly string Configuration = File.ReadAllText(Repository.File("docs", "configuration.md"));

    [Fact]
    public void Simulator_AcceptsItsCommandLine()
    {
        var lines = SimulatorLine().Matches(File.ReadAllText(Repository.File("README.md"))).Concat(SimulatorLine().Matches(Running)).ToList();

        Assert.True(lines.Count >= 3);
        Assert.All(lines, line => Assert.Empty(SimulatorCommand.Read(line.Groups[1].Value.Split(' ')).Errors));
    }

    [Fact]
    public void EmbeddedStack_AcceptsItsOptions()
    {
        var options = Option().Matches(Running.Split("## In one process")[1].Split("\n## ")[0]).Select(option => option.Groups[1].Value).ToList();

        Assert.Contains("--no-simulator", options);
        Assert.All(options, option => Assert.Empty(StackOptions.Arguments(option.Split(' ')).Errors));
    }

    [Fact]
    public void EmbeddedStack_AcceptsEveryKeyOfTheConfiguration()
    {
        var cells = Configuration.Split('\n').Where(line => line.StartsWith("| `", StringComparison.Ordinal)).Select(line => line.Split('|')[1]);
        var keys = cells.SelectMany(cell => Code().Matches(cell)).Select(key => key.Groups[1].Value).ToList();

        Assert.Contains("window_retention_count", keys);
        Assert.All(keys, key => Assert.Empty(StackOptions.Arguments([$"--{key}", "value"]).Errors));
    }

    [GeneratedRegex("dotnet run --project Cache.Producer.Simulator -- (.+)")]
    private static partial Regex SimulatorLine();

    [GeneratedRegex("`(--[^`]+)`")]
    private static partial Regex Option();

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Code();
}
