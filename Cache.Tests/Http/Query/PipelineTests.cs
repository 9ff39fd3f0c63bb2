using System.Globalization;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Http.Query;

public sealed class PipelineTests
{
    [Fact]
    public async Task Pipeline_ReportsTheStateOfThisReplica()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1), "no row", Event(Window(2), "a", 1));
        await stack.Kafka.SendAsync(Performance, 1, Load(Window(1), "tv", 1), "[]");

        await Eventually.HoldsAsync(async () =>
        {
            var pipeline = await stack.GetAsync("/pipeline");
            Assert.True(pipeline.GetProperty("ready").GetBoolean());
            Assert.Empty(pipeline.GetProperty("reasons").EnumerateArray());
            Assert.Equal("""{"event_metrics":3,"performance_metrics":2}""", pipeline.GetProperty("rows").GetRawText());
            Assert.Equal("""{"rows":0,"most":5000}""", pipeline.GetProperty("queue").GetRawText());
            Assert.Equal(0, pipeline.GetProperty("pending").GetInt64());
            Assert.Equal(1, pipeline.GetProperty("dead_letters").GetProperty("not_json").GetInt64());
            Assert.Equal(1, pipeline.GetProperty("dead_letters").GetProperty("not_an_object").GetInt64());
            Assert.Equal(
                ["event_metrics/0", "event_metrics/1", "performance_metrics/0", "performance_metrics/1"],
                pipeline.GetProperty("lag").EnumerateArray().Select(partition => $"{partition.GetProperty("topic")}/{partition.GetProperty("partition")}"));
            Assert.All(pipeline.GetProperty("lag").EnumerateArray(), partition => Assert.Equal(0, partition.GetProperty("rows").GetInt64()));
            var flush = pipeline.GetProperty("last_flush");
            Assert.InRange(flush.GetProperty("rows").GetInt64(), 1, 5);
            Assert.InRange(flush.GetProperty("time").GetInt64(), pipeline.GetProperty("time").GetInt64() - 60_000, pipeline.GetProperty("time").GetInt64());
        });
    }

    [Fact]
    public async Task Pipeline_HasTheFreshnessOfEveryType_InTheOrderOfTheConfiguration()
    {
        const string Type = """[{ "name": "a_type", "topics": ["a"], "dimension": ["x"], "window_seconds": 60, "measures": [ { "name": "n", "field": "n", "kind": "count", "rollup": "sum" } ] }]""";
        await using var stack = await InProcessStack.PrepareAsync(null, ("metric_types", Type));
        stack.Broker.CreateTopic("a", partitions: 1);
        await stack.StartServiceAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(2), "a", 1), Event(Window(4), "a", 1));

        await Eventually.HoldsAsync(async () =>
        {
            var pipeline = await stack.GetAsync("/pipeline");
            var age = (pipeline.GetProperty("time").GetInt64() - Window(4)) / 1000m;
            Assert.Equal(
                string.Create(CultureInfo.InvariantCulture, $$"""[{"type":"event","newest":{{Window(4)}},"age_seconds":{{age:0.###}},"window_seconds":120,"fresh":false},""")
                + """{"type":"performance","newest":null,"age_seconds":null,"window_seconds":null,"fresh":false},"""
                + """{"type":"a_type","newest":null,"age_seconds":null,"window_seconds":60,"fresh":false}]""",
                pipeline.GetProperty("windows").GetRawText());
        });
    }

    [Fact]
    public async Task Pipeline_AndTheMetric_FollowReadiness()
    {
        // In its own process, because all services in a process share their instruments.
        await using var stack = await InProcessStack.PrepareAsync();
        await stack.StartProcessAsync();
        await Eventually.HoldsAsync(() => AssertReadyAsync(stack, true));

        stack.OwnRedis.Break();
        await Eventually.HoldsAsync(() => AssertReadyAsync(stack, false));
        Assert.Contains("Redis does not answer", (await stack.GetAsync("/pipeline")).GetProperty("reasons").EnumerateArray().Select(reason => reason.GetString()));

        stack.OwnRedis.Mend();
        await Eventually.HoldsAsync(() => AssertReadyAsync(stack, true));
    }

    private static async Task AssertReadyAsync(RunningStack stack, bool isReady)
    {
        Assert.Equal(isReady, (await stack.GetAsync("/pipeline")).GetProperty("ready").GetBoolean());
        var metrics = (await stack.AskAsync("/metrics")).Body.Split('\n');
        Assert.StartsWith(isReady ? "1" : "0", Assert.Single(metrics, line => line.StartsWith("cache_ready{", StringComparison.Ordinal)).Split("} ")[1]);
    }
}
