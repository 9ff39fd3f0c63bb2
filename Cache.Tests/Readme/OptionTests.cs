using System.Text.RegularExpressions;
using Cache.Embedded;
using Cache.Producer.Simulator;

namespace Cache.Tests.Readme;

/// <summary>The options in the README are accepted, as printed, by the programs it shows them for.</summary>
public sealed partial class OptionTests
{
    private static readonly string Readme = File.ReadAllText(Repository.File("README.md"));

    [Fact]
    public void Simulator_AcceptsItsCommandLine()
    {
        var lines = SimulatorLine().Matches(Readme);

        Assert.NotEmpty(lines);
        Assert.All(lines, line => Assert.Empty(SimulatorCommand.Read(line.Groups[1].Value.Split(' ')).Errors));
    }

    [Fact]
    public void EmbeddedStack_AcceptsItsOptions()
    {
        var options = Option().Matches(Section("### In one process")).Select(option => option.Groups[1].Value).ToList();

        Assert.Contains("--no-simulator", options);
        Assert.All(options, option => Assert.Empty(StackOptions.Arguments(option.Split(' ')).Errors));
    }

    [Fact]
    public void EmbeddedStack_AcceptsEveryKeyOfTheConfiguration()
    {
        var cells = Section("## Configuration").Split('\n').Where(line => line.StartsWith("| `", StringComparison.Ordinal)).Select(line => line.Split('|')[1]);
        var keys = cells.SelectMany(cell => Code().Matches(cell)).Select(key => key.Groups[1].Value).ToList();

        Assert.Contains("window_retention_count", keys);
        Assert.All(keys, key => Assert.Empty(StackOptions.Arguments([$"--{key}", "value"]).Errors));
    }

    private static string Section(string heading) => Readme.Split(heading)[1].Split("\n#")[0];

    [GeneratedRegex("dotnet run --project Cache.Producer.Simulator -- (.+)")]
    private static partial Regex SimulatorLine();

    [GeneratedRegex("`(--[^`]+)`")]
    private static partial Regex Option();

    [GeneratedRegex("`([^`]+)`")]
    private static partial Regex Code();
}
