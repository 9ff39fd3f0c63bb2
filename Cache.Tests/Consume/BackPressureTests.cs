using System.Net;
using Cache.Service.Consume;
using Cache.Service.Enqueue;
using Cache.Service.Partitions;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Consume;

public sealed class BackPressureTests
{
    [Fact]
    public async Task FullQueue_PausesAndPollsOn_StaysInTheGroup_AndLosesNothing()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(
            redis.ConnectionString, ("redis_queue_max_size", "50"), ("redis_write_batch_size", "20"), ("window_retention_count", "2000"),
            ("Kafka:max.poll.interval.ms", "6000"));
        await stack.ReadyAsync();
        await stack.EverythingIsCommittedAsync();

        redis.Freeze();
        await SendAsync(0, 1000);
        await Eventually.HoldsAsync(() => Assert.True(Logged("partitions are paused")));
        var assigned = stack.Service.Log.Count(line => line.Contains("partitions assigned", StringComparison.Ordinal));

        // Longer than max.poll.interval.ms.
        await Eventually.KeepsHoldingAsync(
            async () =>
            {
                Assert.InRange(stack.Service.Get<RowQueue>().Count, 0, 50);

                // Rows in the queue, on the wire, in the batch being filled, and held back: as many as are taken from the client at once.
                Assert.InRange(stack.Service.Get<Assignment>().Current.Sum(partition => partition.Next), 0, 50 + 20 + 20 + 50);
                Assert.InRange(stack.Service.Get<ConsumeLoop>().SinceLastHeartbeat, TimeSpan.Zero, TimeSpan.FromSeconds(3));
                Assert.Equal(HttpStatusCode.OK, (await stack.AskAsync("/alive")).Status);
                Assert.Equal([0, 0], stack.Kafka.Committed(Events));
            },
            TimeSpan.FromSeconds(8));

        redis.Thaw();
        await stack.EverythingIsCommittedAsync();
        Assert.True(Logged("partitions are resumed"));
        Assert.False(Logged("revoked") || Logged("lost") || Logged("Application maximum poll interval"), stack.Log);
        Assert.Equal(assigned, stack.Service.Log.Count(line => line.Contains("partitions assigned", StringComparison.Ordinal)));
        await stack.AssertWindowsAsync(1000);

        bool Logged(string text) => stack.Service.Log.Any(line => line.Contains(text, StringComparison.Ordinal));

        Task SendAsync(int from, int to) => Task.WhenAll(Enumerable.Range(0, 2).Select(partition => stack.Kafka.SendAsync(
            Events, partition, Enumerable.Range(from, to - from).Where(n => n % 2 == partition).Select(n => Event(Window(n), "a", n)))));
    }

    [Fact]
    public async Task PartitionRevokedWhilePaused_ResumesWhenItComesBack()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(
            redis.ConnectionString, ("redis_queue_max_size", "50"), ("redis_write_batch_size", "20"), ("window_retention_count", "2000"));
        await stack.ReadyAsync();

        // Redis refuses writes, so the queue fills up and partitions are paused.
        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "1");
        foreach (var partition in new[] { 0, 1 })
        {
            await stack.Kafka.SendAsync(Events, partition, Enumerable.Range(0, 300).Select(n => Event(Window((2 * n) + partition), "a", (2 * n) + partition)));
        }

        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("partitions are paused", StringComparison.Ordinal)));
        await using (var second = await stack.StartAnotherServiceAsync())
        {
            // The loop is blocked in the revocation, which waits for Redis; it resumes nothing there.
            await Eventually.HoldsAsync(() => Assert.True(stack.Service.Get<ConsumeLoop>().SinceLastHeartbeat > TimeSpan.FromSeconds(0.7)));
            await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "0");
            await Eventually.HoldsAsync(() => Assert.Equal(2, second.Get<Assignment>().Current.Count));
            await stack.EverythingIsCommittedAsync();
        }

        // The second replica has left: the first has all partitions again, and none is paused.
        await Eventually.HoldsAsync(() => Assert.Equal(4, stack.Service.Get<Assignment>().Current.Count));
        foreach (var partition in new[] { 0, 1 })
        {
            await stack.Kafka.SendAsync(Events, partition, Enumerable.Range(300, 100).Select(n => Event(Window((2 * n) + partition), "a", (2 * n) + partition)));
        }

        await stack.EverythingIsCommittedAsync();
        await stack.AssertWindowsAsync(800);
    }
}
