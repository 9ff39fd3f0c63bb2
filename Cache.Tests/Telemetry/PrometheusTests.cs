using System.Diagnostics;
using System.Text.Json;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Telemetry;

/// <summary>Dashboard and alerts, as a real Prometheus sees them.</summary>
public sealed class PrometheusTests
{
    private const string Key = "0123456789abcdef";

    private static readonly string Alerts = Repository.File("docs", "grafana", "alerts.yaml");

    [Fact]
    public async Task EveryQueryOfTheDashboardAndTheAlerts_Runs_OverAScrapeOfTheService()
    {
        PrometheusServer.Require();

        // In a process of its own: instruments are visible to every service in a process.
        await using var stack = await InProcessStack.PrepareAsync(null, ("window_retention_count", "2"), ("api_keys", Key), ("rate_limit_per_second", "5"));
        await stack.StartProcessAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1), Event(Window(2), "a", 1), Event(Window(3), "a", 1), "no row");
        await stack.ReadyAsync();
        await stack.EverythingIsCommittedAsync();
        await using var prometheus = await PrometheusServer.StartAsync(Alerts, stack.Http.BaseAddress!.Authority);

        // With every answer that the dashboard tells apart, but few enough rows and connections that nothing is cut off.
        var queries = DashboardQueries();
        Assert.True(queries.Count >= 48, $"{queries.Count} queries");
        await Eventually.HoldsAsync(async () =>
        {
            await AskAsync("/metrics/event/latest", null);
            await AskAsync("/metrics/event/windows?limit=x", Key);
            for (var i = 0; i < 8; i++)
            {
                await AskAsync("/metrics/overview", Key);
            }

            foreach (var query in queries)
            {
                Assert.True((await prometheus.QueryAsync(query)).Count > 0, $"no samples: {query}");
            }
        });

        var statuses = await prometheus.QueryAsync("""sum by (http_response_status_code) (http_server_request_duration_seconds_count{http_route=~"/metrics/.+"})""");
        Assert.Superset(new HashSet<string?> { "200", "400", "401", "429" }, statuses.Select(status => status.GetProperty("metric").GetProperty("http_response_status_code").GetString()).ToHashSet());
        await Eventually.HoldsAsync(async () =>
        {
            var rules = await prometheus.RulesAsync();
            Assert.All(rules, rule => Assert.Equal("ok", rule.GetProperty("health").GetString()));
            Assert.Equal(["CacheDeadLetters"], rules.Where(rule => rule.GetProperty("state").GetString() != "inactive").Select(rule => rule.GetProperty("name").GetString()!));
        });

        async Task AskAsync(string route, string? key)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, route);
            if (key is not null)
            {
                request.Headers.Add("X-Api-Key", key);
            }

            (await stack.Http.SendAsync(request)).Dispose();
        }
    }

    [Fact]
    public async Task Promtool_HasNothingToSay_OfOurMetrics()
    {
        PrometheusServer.Require();
        await using var stack = await InProcessStack.PrepareAsync(null, ("window_retention_count", "2"));
        await stack.StartProcessAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1), Event(Window(2), "a", 1), Event(Window(3), "a", 1), "no row");
        await stack.ReadyAsync();
        await stack.EverythingIsCommittedAsync();

        var (_, output) = await PromtoolAsync((await stack.AskAsync("/metrics")).Body, "check", "metrics");

        Assert.DoesNotContain("parse", output, StringComparison.OrdinalIgnoreCase);
        Assert.Equal([], output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(line => !line.StartsWith("dotnet_", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("a replica that is not ready", "CacheNotReady", """cache_ready{job="c",instance="a"} 0x20""", """cache_spare{job="c",instance="a"} 0x20""", """up{job="c",instance="a"} 1x20""")]
    [InlineData("a spare", "", """cache_ready{job="c",instance="a"} 0x20""", """cache_spare{job="c",instance="a"} 1x20""", """up{job="c",instance="a"} 1x20""")]
    [InlineData("a replica not ready beside a spare", "CacheNotReady",
        """cache_ready{job="c",instance="a"} 0x20""", """cache_spare{job="c",instance="a"} 0x20""", """cache_ready{job="c",instance="b"} 0x20""", """cache_spare{job="c",instance="b"} 1x20""")]
    [InlineData("both there", "", """cache_ready{job="c",instance="a"} 1x20""", """cache_ready{job="c",instance="b"} 1x20""", """up{job="c",instance="a"} 1x20""", """up{job="c",instance="b"} 1x20""")]
    [InlineData("one of two cannot be scraped", "CacheMissing",
        """cache_ready{job="c",instance="a"} 1x20""", """cache_ready{job="c",instance="b"} 1x8 stale""", """up{job="c",instance="a"} 1x20""", """up{job="c",instance="b"} 1x8 0x11""")]
    [InlineData("one of two is no longer discovered", "CacheMissing",
        """cache_ready{job="c",instance="a"} 1x20""", """cache_ready{job="c",instance="b"} 1x12 stale""", """up{job="c",instance="a"} 1x20""", """up{job="c",instance="b"} 1x12 stale""")]
    [InlineData("one of two has just become unreachable", "CacheMissing",
        """cache_ready{job="c",instance="a"} 1x20""", """cache_ready{job="c",instance="b"} 1x12 stale""", """up{job="c",instance="a"} 1x20""", """up{job="c",instance="b"} 1x12 0x7""")]
    [InlineData("another job cannot be scraped", "", """cache_ready{job="c",instance="a"} 1x20""", """up{job="c",instance="a"} 1x20""", """up{job="other",instance="b"} 0x20""")]
    [InlineData("a replica replaced by another", "",
        """cache_ready{job="c",instance="a"} 1x9 stale""", """cache_ready{job="c",instance="b"} _x10 1x10""", """up{job="c",instance="b"} _x10 1x10""")]
    [InlineData("none at all", "CacheMissing", """up{job="other",instance="a"} 1x20""")]
    [InlineData("a stalled upstream", "CacheStale",
        """cache_ready{job="c",instance="a"} 1x20""", """cache_window_fresh{job="c",instance="a",type="event"} 1x10 0x10""", """cache_window_fresh{job="c",instance="a",type="performance"} 1x20""")]
    [InlineData("a type that nobody uses", "", """cache_ready{job="c",instance="a"} 1x20""", """cache_window_fresh{job="c",instance="a",type="event"} 0x20""")]
    [InlineData("rows lost to retention", "CacheRowsMissed", """cache_ready{job="c",instance="a"} 1x20""", """cache_kafka_records_missed_total{job="c",instance="a",topic="t"} 0x15 500x4""")]
    [InlineData("rows lost to retention before the first scrape", "CacheRowsMissed", """cache_ready{job="c",instance="a"} 1x20""", """cache_kafka_records_missed_total{job="c",instance="a",topic="t"} _x15 500x4""")]
    [InlineData("no rows lost", "", """cache_ready{job="c",instance="a"} 1x20""", """cache_kafka_records_missed_total{job="c",instance="a",topic="t"} _x15 0x4""")]
    [InlineData("a rebuild as it starts", "CacheRebuild", """cache_ready{job="c",instance="a"} 1x20""", """cache_rebuilds_total{job="c",instance="a"} _x15 6x4""")]
    [InlineData("a topic a minute behind", "CacheBehind", """cache_ready{job="c",instance="a"} 1x20""", """cache_kafka_lag_seconds{job="c",instance="a",topic="t",partition="0"} 61x20""")]
    [InlineData("a topic 5,001 rows behind", "CacheLag",
        """cache_ready{job="c",instance="a"} 1x20""", """cache_kafka_lag_rows{job="c",instance="a",topic="t",partition="0"} 5000x20""", """cache_kafka_lag_rows{job="c",instance="b",topic="t",partition="1"} 1x20""")]
    [InlineData("the first rejected row", "CacheDeadLetters", """cache_ready{job="c",instance="a"} 1x20""", """cache_dead_letters_total{job="c",instance="a",reason="not_json"} _x15 1x4""")]
    [InlineData("Redis refuses", "CacheRedisErrors", """cache_ready{job="c",instance="a"} 1x20""", """cache_redis_batch_errors_total{job="c",instance="a"} 0+10x20""")]
    public async Task Alerts_Fire_ForWhatTheyAreFor(string what, string firing, params string[] series)
    {
        PrometheusServer.Require();
        var file = Path.GetTempFileName();
        try
        {
            await File.WriteAllTextAsync(file, $"""
                rule_files: ["{Alerts}"]
                evaluation_interval: 1m
                tests:
                  - interval: 1m
                    input_series:
                {string.Join('\n', series.Select(line => $"      - {{ series: '{line[..(line.IndexOf('}') + 1)]}', values: '{line[(line.IndexOf('}') + 2)..]}' }}"))}
                    promql_expr_test:
                      - expr: count by (alertname) (ALERTS)
                        eval_time: 19m
                        exp_samples: [{(firing.Length == 0 ? "" : $"{{ labels: '{{alertname=\"{firing}\"}}', value: 1 }}")}]
                """);

            var (code, output) = await PromtoolAsync("", "test", "rules", file);

            Assert.True(code == 0, $"{what}: {output}");
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static List<string> DashboardQueries()
    {
        var dashboard = JsonElement.Parse(File.ReadAllText(Repository.File("docs", "grafana", "cache.json")));
        var panels = dashboard.GetProperty("panels").EnumerateArray().SelectMany(panel => panel.GetProperty("targets").EnumerateArray());
        return [.. panels.Concat(dashboard.GetProperty("annotations").GetProperty("list").EnumerateArray().Take(1)).Select(target => target.GetProperty("expr").GetString()!
            .Replace("$job", "cache", StringComparison.Ordinal).Replace("$instance", ".*", StringComparison.Ordinal)
            .Replace("$__rate_interval", "30s", StringComparison.Ordinal).Replace("$__interval", "5m", StringComparison.Ordinal))];
    }

    private static async Task<(int Code, string Output)> PromtoolAsync(string input, params string[] arguments)
    {
        Requirement.Started();
        using var promtool = ChildProcess.Start(new ProcessStartInfo(Requirement.Program("promtool", "prometheus"), arguments) { RedirectStandardInput = true });
        var output = new[] { promtool.StandardOutput.ReadToEndAsync(), promtool.StandardError.ReadToEndAsync() };
        await promtool.StandardInput.WriteAsync(input);
        promtool.StandardInput.Close();
        var text = string.Concat(await Task.WhenAll(output));
        await promtool.WaitForExitAsync();
        return (promtool.ExitCode, text);
    }
}
