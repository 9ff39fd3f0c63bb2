using System.Globalization;

namespace Cache.Tests.Faults;

/// <summary>
/// Many faults at once, drawn from a seed. A short campaign by default; <c>CACHE_FAULT_SEEDS=200</c>, or <c>120..140</c>,
/// selects another, and <c>CACHE_FAULT_SEED=17</c> repeats a single seed.
/// </summary>
[Trait("Category", "Campaign")]
[Trait("Category", "Long")]
public sealed class CampaignTests
{
    private const int ShortCampaign = 6;
    private const int SideBySide = 2;

    [Fact]
    public async Task Campaign_LosesNothing_InventsNothing_AndCommitsNothingEarly()
    {
        RedisServer.Require();
        var seeds = Seeds();
        var folder = Directory.CreateDirectory(Path.Combine(Repository(), "artifacts", "campaign"));
        await using var progress = new CampaignProgress(Path.Combine(folder.FullName, "progress.log"));
        var results = new List<CampaignResult>();
        await Parallel.ForEachAsync(seeds, new ParallelOptions { MaxDegreeOfParallelism = SideBySide }, async (seed, _) =>
        {
            var result = await CampaignRun.RunAsync(seed);
            var log = Path.Combine(folder.FullName, $"seed-{seed}.log");
            File.Delete(log);
            if (result.Findings.All.Count > 0 || seeds.Count == 1)
            {
                await File.WriteAllTextAsync(log, result.Log, CancellationToken.None);
            }

            lock (results)
            {
                results.Add(result);
                progress.Say(string.Create(CultureInfo.InvariantCulture,
                    $"campaign: {results.Count}/{seeds.Count}, seed {seed}: {result.Faults} faults, {result.Kills} kills, {result.Rows} rows, {result.Looks} looks, {result.Took.TotalSeconds:F1} s, {(result.Findings.All.Count == 0 ? "well" : $"{result.Findings.All.Count} FINDINGS, {log}")}"));
            }
        });

        foreach (var failed in results.Where(result => result.Findings.All.Count > 0).OrderBy(result => result.Seed))
        {
            progress.Say($"seed {failed.Seed}; again with: CACHE_FAULT_SEED={failed.Seed} dotnet test --filter Category=Campaign\n{failed.Findings}");
        }

        int Sum(Func<CampaignResult, int> of) => results.Sum(of);
        int Count(Breach breach) => Sum(result => result.Findings.Count(breach));
        var end = string.Create(CultureInfo.InvariantCulture,
            $"campaign: {results.Count} seeds, {Sum(result => result.Faults)} faults, {Sum(result => result.Rows)} rows, {Count(Breach.Lost)} lost, {Count(Breach.Invented)} invented, {Count(Breach.Regressed)} regressed, {Count(Breach.CommittedEarly)} early commits");
        progress.Say($"campaign: {Sum(result => result.Kills)} times kill -9, {Sum(result => result.Looks)} looks, {Count(Breach.Unavailable)} times unavailable");
        progress.Say(end);
        Assert.True(results.TrueForAll(result => result.Findings.All.Count == 0), progress.ToString());
    }

    private static List<int> Seeds()
    {
        if (Environment.GetEnvironmentVariable("CACHE_FAULT_SEED") is { Length: > 0 } one)
        {
            return [int.Parse(one, CultureInfo.InvariantCulture)];
        }

        var range = (Environment.GetEnvironmentVariable("CACHE_FAULT_SEEDS") ?? $"{ShortCampaign}").Split("..");
        var (first, last) = range.Length == 1 ? ("1", range[0]) : (range[0], range[1]);
        var from = int.Parse(first, CultureInfo.InvariantCulture);
        return [.. Enumerable.Range(from, int.Parse(last, CultureInfo.InvariantCulture) - from + 1)];
    }

    private static string Repository()
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(Path.Combine(folder.FullName, "Cache.sln")))
        {
            folder = folder.Parent;
        }

        return folder?.FullName ?? AppContext.BaseDirectory;
    }
}

/// <summary>Reports the progress of the campaign, on the console and in a file.</summary>
internal sealed class CampaignProgress(string file) : IAsyncDisposable
{
    private readonly StreamWriter _file = new(file) { AutoFlush = true };
    private readonly List<string> _lines = [];

    public void Say(string line)
    {
        _lines.Add(line);
        _file.WriteLine(line);
        TestContext.Current.SendDiagnosticMessage(line);
        TestContext.Current.TestOutputHelper?.WriteLine(line);
    }

    public override string ToString() => string.Join('\n', _lines);

    public ValueTask DisposeAsync() => _file.DisposeAsync();
}
