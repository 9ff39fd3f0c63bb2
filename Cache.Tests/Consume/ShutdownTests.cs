using System.Diagnostics;
using Cache.Service.Consume;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Consume;

public sealed class ShutdownTests
{
    [Fact]
    public async Task StopUnderLoad_WritesAndCommitsWhatWasEnqueued_WithinSeconds()
    {
        // Every row is a window of its own, so no more of them than can be written in the seconds that shutdown allows.
        const int Step = 200;
        await using var stack = await InProcessStack.StartAsync(
            null, ("window_retention_count", "1000000"), ("redis_queue_max_size", "1000000"), ("kafka_commit_interval_ms", "600000"), ("kafka_commit_batch_size", "1000000"));
        await stack.ReadyAsync();
        await using var load = Meanwhile.Start(async stop =>
        {
            for (var sent = 0; ; sent += Step)
            {
                if (stop.IsCancellationRequested)
                {
                    return sent;
                }

                await stack.Kafka.SendAsync(Enumerable.Range(sent, Step).Select(n => (new TopicPartition(Events, n % 2), Message(Event(Window(n), "a", n)))));
                await Eventually.PaceAsync();
            }
        });
        var metrics = stack.Service.Get<ConsumeMetrics>();
        await Eventually.HoldsAsync(() => Assert.True(metrics.Rows(Events).Value > 2000));

        // Some is committed: a partition's first position at once, and what precedes a write that needs proof of membership.
        Assert.True(stack.Kafka.Committed(Events).Sum() < metrics.Rows(Events).Value);

        var stopping = Stopwatch.GetTimestamp();
        await stack.StopServiceAsync();
        var took = Stopwatch.GetElapsedTime(stopping);
        var sent = await load.StopAsync();

        // Every committed row is written, every written row is committed, and every consumed row is both.
        var committed = stack.Kafka.Committed(Events);
        var starts = await stack.Database.SortedSetRangeByRankAsync("metrics:event:windows");
        var expected = Enumerable.Range(0, sent).Where(n => n / 2 < committed[n % 2]).Select(Window);
        Assert.Equal(expected, starts.Select(start => (long)start));
        Assert.Equal(metrics.Rows(Events).Value, committed.Sum());
        Assert.True(took < TimeSpan.FromSeconds(8), $"{took}");

        stack.Set("kafka_commit_interval_ms", "100");
        await stack.StartServiceAsync();
        await stack.EverythingIsCommittedAsync();
        await stack.AssertWindowsAsync(sent);
    }

    [Fact]
    public async Task StopWhileRedisIsDown_EndsInTime_AndCommitsNothingUnwritten()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 0));
        await stack.EverythingIsCommittedAsync();
        stack.OwnRedis.Break();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Redis did not accept a batch", StringComparison.Ordinal)));

        var stopping = Stopwatch.GetTimestamp();
        await stack.StopServiceAsync();

        Assert.True(Stopwatch.GetElapsedTime(stopping) < TimeSpan.FromSeconds(30));
        Assert.Equal([1, 0], stack.Kafka.Committed(Events));
    }

    [Fact]
    public async Task StopWhileTheBrokersAreDown_EndsInTime()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("kafka_commit_interval_ms", "600000"));
        await stack.ReadyAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 0));
        await Eventually.HoldsAsync(() => stack.AssertWindowsAsync(1));
        stack.Broker.BreakAllBrokers();

        var stopping = Stopwatch.GetTimestamp();
        await stack.StopServiceAsync();

        Assert.True(Stopwatch.GetElapsedTime(stopping) < TimeSpan.FromSeconds(35), $"{Stopwatch.GetElapsedTime(stopping)}");
        stack.Broker.MendAllBrokers();
    }
}
