using System.Text.RegularExpressions;
using System.Xml.Linq;
using Cache.Service.Telemetry;
using Cache.Tests.EndToEnd;

namespace Cache.Tests.Telemetry;

/// <summary>The version is defined once, and reported identically everywhere.</summary>
public sealed class BuildInfoTests
{
    [Fact]
    public async Task Version_IsTheSameEverywhere()
    {
        // In a separate process: instruments are visible to every service in a process.
        await using var stack = await InProcessStack.PrepareAsync();
        await stack.StartProcessAsync();

        Assert.Equal(BuildInfo.Version, (await stack.GetAsync("/pipeline")).GetProperty("version").GetString());
        Assert.Equal(BuildInfo.Version, (await stack.GetAsync("/openapi/v1.json")).GetProperty("info").GetProperty("version").GetString());
        var metric = Assert.Single(
            (await stack.AskAsync("/metrics")).Body.Split('\n'), line => line.StartsWith("cache_build_info{", StringComparison.Ordinal));
        Assert.Contains($"version=\"{BuildInfo.Version}\"", metric);
        Assert.StartsWith("1", metric.Split("} ")[1]);
    }

    [Fact]
    public async Task VersionOption_OnlyPrintsTheVersion()
    {
        await using var service = ServiceProcess.Run(["--redis_db", "none", "--version"]);

        Assert.Equal(0, await service.ExitAsync(Eventually.TestTimeout));
        Assert.Equal(BuildInfo.Version, service.Output.TrimEnd());
        Assert.Empty(service.Errors);
    }

    [Fact]
    public void Version_IsDefinedOnce()
    {
        var root = Path.GetDirectoryName(Repository.File("Cache.sln"))!;
        string[] places = [.. Directory.GetFiles(root, "*.props"), .. Directory.GetDirectories(root, "Cache.*").SelectMany(folder => Directory.GetFiles(folder, "*.csproj"))];
        string[] names = ["Version", "VersionPrefix", "VersionSuffix", "AssemblyVersion", "FileVersion", "InformationalVersion"];

        var version = Assert.Single(places.SelectMany(place => XDocument.Load(place).Descendants()), element => names.Contains(element.Name.LocalName));

        Assert.Matches($@"^{Regex.Escape(version.Value)}(\+[0-9a-f]{{40}})?$", BuildInfo.Version);
    }
}
