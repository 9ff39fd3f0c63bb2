using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Faults;

/// <summary>Unusually large input.</summary>
public sealed class InputTests
{
    [Fact]
    public async Task TenThousandDimensionsInOneWindow_AreWritten_AndServed()
    {
        const int Dimensions = 10_000;
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(redis.ConnectionString);

        for (var partition = 0; partition < 2; partition++)
        {
            await stack.Kafka.SendAsync(Events, partition,
                Enumerable.Range(0, Dimensions).Where(n => n % 2 == partition).Select(n => Event(Window(0), $"dimension {n}", n, 1)));
        }

        await stack.EverythingIsCommittedAsync();
        var hash = await stack.HashAsync("event", Window(0));
        Assert.Equal(2 * Dimensions, hash.Count);
        Assert.All(Enumerable.Range(0, Dimensions), n => Assert.Equal($"{n}", hash[$"dimension {n}.count"]));

        // A busy machine may take longer than the second that a read has.
        await Eventually.HoldsAsync(async () => Assert.Equal((2 * Dimensions) + 1, (await stack.GetAsync("/metrics/event/latest")).EnumerateObject().Count()));
        await stack.ReadyAsync();
    }

    [Fact]
    [Trait("Category", "Long")]
    public async Task BacklogOfAMillionRows_IsCaughtUp()
    {
        const int Partitions = 24;
        const int RowsAPartition = 1_000_000 / Partitions;
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString, ("cache_kafka_topics", "event_metrics"));
        stack.Broker.DeleteTopic(Events);
        stack.Broker.CreateTopic(Events, Partitions);
        for (var partition = 0; partition < Partitions; partition++)
        {
            // About a quarter at a time, which fits into the producer's queue.
            for (var from = 0; from < RowsAPartition; from += 10_000)
            {
                await stack.Kafka.SendAsync(Events, partition, Enumerable.Range(from, Math.Min(10_000, RowsAPartition - from))
                    .Select(n => Event(Window(n % 100), $"{partition}", n)));
            }
        }

        await stack.StartServiceAsync();
        await Eventually.HoldsAsync(() => Assert.Equal(Enumerable.Repeat((long)RowsAPartition, Partitions), stack.Kafka.Committed(Events)), TimeSpan.FromMinutes(10));

        Assert.Equal(100, await stack.Database.SortedSetLengthAsync("metrics:event:windows"));
        for (var window = 0; window < 100; window++)
        {
            var last = RowsAPartition - 1 - ((RowsAPartition - 1 - window) % 100);
            Assert.Equal(
                Enumerable.Range(0, Partitions).Select(partition => ($"{partition}.count", $"{last}")).Order(),
                (await stack.HashAsync("event", Window(window))).Select(field => (field.Key, field.Value)).Order());
        }
    }
}
