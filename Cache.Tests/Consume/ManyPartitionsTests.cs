using System.Diagnostics;
using Cache.Embedded;
using Cache.Service.Consume;
using Cache.Service.Partitions;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Consume;

/// <summary>Lookups cover all partitions at once, and the loop keeps running meanwhile.</summary>
public sealed class ManyPartitionsTests(ITestOutputHelper output)
{
    private const int Partitions = 200;

    [Fact]
    public async Task Rebuild_OfManyPartitionsWithoutARecentRow_TakesSeconds_AndHoldsUpNothing()
    {
        await using var redis = await EmbeddedRedis.StartAsync();

        // The client's default: a request behind a fetch waits this long.
        await using var stack = await InProcessStack.PrepareWithoutTopicsAsync(redis.ConnectionString, null, ("Kafka:fetch.wait.max.ms", "500"));
        stack.Broker.CreateTopic(Events, Partitions);
        stack.Broker.CreateTopic(Performance, 1);
        await stack.Kafka.SendAsync(Enumerable.Range(0, Partitions).Select(partition => (new TopicPartition(Events, partition), Old(partition))));
        await stack.StartServiceAsync();
        await stack.EverythingIsCommittedAsync();
        await CoveredAsync(stack);

        var started = Stopwatch.GetTimestamp();
        await stack.Database.KeyDeleteAsync("cache:epoch");
        var stoodStill = await LongestPauseAsync(
            stack, () => Assert.Contains(stack.Service.Log, line => line.Contains("partitions again, ", StringComparison.Ordinal)));
        var took = Stopwatch.GetElapsedTime(started);
        output.WriteLine($"rewound after {took.TotalSeconds:F2} s; the loop stood still for {stoodStill.TotalSeconds:F2} s");

        // Takes two seconds on an idle machine.
        Assert.True(took < TimeSpan.FromSeconds(10), $"Rewinding took {took.TotalSeconds:F1} s.");
        Assert.True(stoodStill < TimeSpan.FromSeconds(5), $"The loop stood still for {stoodStill.TotalSeconds:F1} s.");
        await CoveredAsync(stack);
    }

    [Fact]
    public async Task FirstStart_WithManyPartitions_OnASlowBroker_HoldsUpNothing()
    {
        await using var redis = await EmbeddedRedis.StartAsync();
        await using var stack = await InProcessStack.PrepareWithoutTopicsAsync(
            redis.ConnectionString, null, ("cache_consume_from", "latest"), ("Kafka:session.timeout.ms", "6000"), ("Kafka:heartbeat.interval.ms", "1000"));
        stack.Broker.CreateTopic(Events, Partitions);
        stack.Broker.CreateTopic(Performance, 1);
        await stack.Kafka.SendAsync(Events, 7, Event(Window(1), "before", 1));
        stack.Broker.SetRoundTrip(TimeSpan.FromMilliseconds(300));
        await stack.StartServiceAsync();

        var stoodStill = await LongestPauseAsync(stack, () => Assert.Equal(Partitions + 1, stack.Service.Get<Assignment>().Current.Count(partition => partition.Next >= 0)));
        output.WriteLine($"the loop stood still for {stoodStill.TotalSeconds:F2} s");

        Assert.True(stoodStill < TimeSpan.FromSeconds(20), $"The loop stood still for {stoodStill.TotalSeconds:F1} s.");
        stack.Broker.SetRoundTrip(TimeSpan.Zero);
        await stack.Kafka.SendAsync(Events, 7, Event(Window(2), "after", 1));
        await stack.EventuallyAnswersAsync("/metrics/event/windows", $$"""{"windows":[{"window_start":{{Window(2)}},"after.count":1}]}""");
    }

    private static Task CoveredAsync(InProcessStack stack) => Eventually.HoldsAsync(async () => Assert.Equal(
        Partitions + 1, (await stack.Database.StringGetAsync("cache:epoch")).ToString().Split(' ').Skip(1).Distinct().Count()));

    /// <summary>Waits for something to happen, and returns the longest time between heartbeats of the loop meanwhile.</summary>
    private static async Task<TimeSpan> LongestPauseAsync(InProcessStack stack, Action happened)
    {
        var loop = stack.Service.Get<ConsumeLoop>();
        var longest = TimeSpan.Zero;
        await Eventually.HoldsAsync(
            () =>
            {
                longest = loop.SinceLastHeartbeat > longest ? loop.SinceLastHeartbeat : longest;
                happened();
            },
            TimeSpan.FromMinutes(3));
        return longest;
    }

    private static Message<byte[]?, byte[]?> Old(int partition)
    {
        var row = Message(Event(Window(partition % 60), $"type {partition}", 1));
        row.Timestamp = new Timestamp(Window(0), TimestampType.CreateTime);
        return row;
    }
}
