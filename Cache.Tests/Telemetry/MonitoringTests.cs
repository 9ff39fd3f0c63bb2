using System.Text.Json;
using System.Text.RegularExpressions;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Telemetry;

/// <summary>Everything that the dashboard, the alerts and the documentation refer to has to exist.</summary>
public sealed partial class MonitoringTests
{
    [Fact]
    public async Task EveryMetricOfTheDashboard_TheAlertsAndTheDocs_Exists()
    {
        // In a separate process: instruments are visible to every service in a process.
        await using var stack = await InProcessStack.PrepareAsync(null, ("window_retention_count", "2"));
        await stack.StartProcessAsync();
        await stack.ReadyAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1), Event(Window(2), "a", 1), Event(Window(3), "a", 1), "no row");
        await stack.EverythingIsCommittedAsync();

        var docs = await File.ReadAllTextAsync(Repository.File("docs", "operations.md"));
        docs = docs[docs.IndexOf("## Metrics", StringComparison.Ordinal)..docs.IndexOf("## Dead letters", StringComparison.Ordinal)];
        var dashboard = await File.ReadAllTextAsync(Repository.File("docs", "grafana", "cache.json"));
        var alerts = await File.ReadAllTextAsync(Repository.File("docs", "grafana", "alerts.yaml"));
        string[] named = [.. Names(docs, "`"), .. Names(dashboard, ""), .. Names(alerts, "")];
        Assert.True(named.Length > 40, string.Join(", ", named));

        await Eventually.HoldsAsync(async () =>
        {
            var there = (await stack.AskAsync("/metrics")).Body.Split('\n').Select(line => line.Split('{', ' ')[0]).ToHashSet();
            Assert.Equal([], named.Distinct().Where(name => !there.Contains(name) && !there.Contains($"{name}_count")));
        });

        // And the docs have every one there is.
        var scrape = (await stack.AskAsync("/metrics")).Body.Split('\n');
        Assert.Equal([], scrape.Where(line => line.StartsWith("# TYPE cache_", StringComparison.Ordinal)).Select(line => line.Split(' ')[2]).Except(Names(docs, "`")));

        // Buckets below a millisecond tell a fast Redis, or an answer from memory, from a slow one.
        Assert.All(["cache_redis_batch_latency_seconds", "http_server_request_duration_seconds"], name => Assert.All(["0.0001", "0.0005", "0.001"], bound =>
            Assert.Contains(scrape, line => line.StartsWith($"{name}_bucket{{", StringComparison.Ordinal) && line.Contains($"le=\"{bound}\"", StringComparison.Ordinal))));
    }

    [Fact]
    public void Dashboard_HasAQueryInEveryPanel_AndNoDuplicateIds()
    {
        var panels = JsonElement.Parse(File.ReadAllText(Repository.File("docs", "grafana", "cache.json"))).GetProperty("panels").EnumerateArray().ToList();

        Assert.All(panels, panel => Assert.All(
            panel.GetProperty("targets").EnumerateArray(), target => Assert.Matches("cache_|http_server_|dotnet_", target.GetProperty("expr").GetString())));
        Assert.All(panels, panel => Assert.NotEmpty(panel.GetProperty("fieldConfig").GetProperty("defaults").GetProperty("unit").GetString()!));
        Assert.Equal(panels.Count, panels.Select(panel => panel.GetProperty("id").GetInt32()).Distinct().Count());
    }

    [Fact]
    public async Task AlertRules_AreComplete_AndAsTheDocsListThem()
    {
        var text = await File.ReadAllTextAsync(Repository.File("docs", "grafana", "alerts.yaml"));
        var lines = text.Split('\n').SkipWhile(line => line.StartsWith('#')).ToList();
        Assert.Equal(["groups:", "  - name: cache", "    rules:"], lines[..3]);

        // All rules are written the same way, so that their structure can be checked without a YAML parser.
        var rules = string.Join('\n', lines[3..]).TrimEnd('\n').Split("\n\n").Select(rule => Rule().Match(rule) is { Success: true } match ? match.Groups : throw new FormatException(rule)).ToList();
        Assert.All(rules, rule => Assert.Equal(rule["expr"].Value.Count(c => c is '('), rule["expr"].Value.Count(c => c is ')')));

        // Everything that has to wake somebody has a rule.
        Assert.All(
            ["cache_kafka_lag_rows", "cache_kafka_lag_seconds", "cache_ready == 0", "absent(cache_ready)", "cache_dead_letters_total", "cache_rebuilds_total", "cache_window_fresh"],
            expression => Assert.Contains(rules, rule => rule["expr"].Value.Contains(expression, StringComparison.Ordinal)));

        var docs = await File.ReadAllTextAsync(Repository.File("docs", "operations.md"));
        var headings = docs.Split('\n').Where(line => line.StartsWith("### Cache", StringComparison.Ordinal)).Select(line => line[4..]).ToList();
        Assert.Equal(rules.Select(rule => rule["alert"].Value), headings);
        Assert.All(rules, rule => Assert.Equal(rule["alert"].Value.ToLowerInvariant(), rule["runbook"].Value));
        var table = docs[docs.IndexOf("| alert | when |", StringComparison.Ordinal)..].Split("\n\n")[0];
        Assert.Equal(Alert().Matches(table).Select(match => match.Value).Order(), rules.Select(rule => rule["alert"].Value).Order());
    }

    private static IEnumerable<string> Names(string text, string before) =>
        Metric().Matches(text).Where(match => text[..match.Index].EndsWith(before, StringComparison.Ordinal)).Select(match => match.Value);

    [GeneratedRegex(@"\bcache_[a-z_]+[a-z]\b")]
    private static partial Regex Metric();

    [GeneratedRegex(
        """
        ^      - alert: (?<alert>[A-Z]\w+)
                expr: (?<expr>[a-z][^#]*)
                for: \d+m
                labels:
                  severity: (warning|critical)
                annotations:
                  summary: "[^"\\]+"
                  description: "[^"\\]+"
                  runbook_url: "docs/operations\.md#(?<runbook>[a-z]+)"$
        """)]
    private static partial Regex Rule();

    [GeneratedRegex(@"\bCache[A-Z]\w+")]
    private static partial Regex Alert();
}
