using Cache.Embedded;
using Cache.Service.Consume;
using Cache.Service.Partitions;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Consume;

public sealed class RebalanceTests
{
    [Fact]
    public async Task SecondMember_JoiningAndLeavingUnderLoad_LosesNothing()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("window_retention_count", "100000"));
        await stack.ReadyAsync();
        await using var load = Meanwhile.Start(stop => SendUntilAsync(stack, stop));

        await using (var second = await stack.StartAnotherServiceAsync())
        {
            await Eventually.HoldsAsync(() =>
            {
                Assert.Equal(2, second.Get<Assignment>().Current.Count);
                Assert.Equal(2, stack.Service.Get<Assignment>().Current.Count);
                Assert.True(second.Get<ConsumeMetrics>().Rows(Events).Value + second.Get<ConsumeMetrics>().Rows(Performance).Value > 100);
            });
            Assert.Contains(stack.Service.Log, line => line.Contains("2 partitions revoked", StringComparison.Ordinal));
        }

        await Eventually.HoldsAsync(() => Assert.Equal(4, stack.Service.Get<Assignment>().Current.Count));
        var sent = await load.StopAsync();
        await stack.EverythingIsCommittedAsync();

        await stack.AssertWindowsAsync(sent);

        // Revoked, not lost. (Unlike real brokers, the embedded Kafka refuses commits while any member joins, so a row may have
        // been read twice.)
        Assert.DoesNotContain(stack.Service.Log, line => line.Contains("lost", StringComparison.Ordinal));
    }

    [Fact]
    public async Task LostPartitions_AreNotCommitted_AndTheirRowsAreReadAgain()
    {
        await using var stack = await InProcessStack.StartAsync(
            null, ("kafka_commit_interval_ms", "600000"), ("kafka_commit_batch_size", "1000000"));
        await stack.ReadyAsync();
        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 10).Select(minute => Event(Window(minute), "a", minute)));
        await Eventually.HoldsAsync(() => stack.AssertWindowsAsync(10));
        Assert.Equal([0, 0], stack.Kafka.Committed(Events));

        // The group reports to the member that it is no longer one.
        stack.Broker.PushRequestErrors(KafkaRequest.Heartbeat, ErrorCode.UnknownMemberId);
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("partitions lost", StringComparison.Ordinal)));
        await Eventually.HoldsAsync(() => Assert.Equal(20, stack.Service.Get<ConsumeMetrics>().Rows(Events).Value));
        Assert.Equal([0, 0], stack.Kafka.Committed(Events));

        // No commit was even attempted; one that Kafka refused would not do.
        Assert.DoesNotContain(stack.Service.Log, line => line.Contains("Commit failed", StringComparison.Ordinal));

        await stack.StopServiceAsync();
        Assert.Equal([10, 0], stack.Kafka.Committed(Events));
        await stack.AssertWindowsAsync(10);
    }

    [Theory]
    [InlineData(ErrorCode.UnknownMemberId)]
    [InlineData(ErrorCode.IllegalGeneration)]
    public async Task RowsInFlight_OfLostPartitions_AreNotWritten_ByWhoLostThem(ErrorCode fencing)
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(redis.ConnectionString);
        await stack.EverythingIsCommittedAsync();

        // A batch is in flight, and Redis refuses it for now.
        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "1");
        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 10).Select(minute => Event(Window(minute), "a", minute)));
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Redis did not accept a batch", StringComparison.Ordinal)));

        // The member is removed from the group, and cannot rejoin for now.
        stack.Broker.PushRequestErrors(KafkaRequest.JoinGroup, [.. Enumerable.Repeat(ErrorCode.GroupCoordinatorNotAvailable, 10_000)]);
        stack.Broker.PushRequestErrors(KafkaRequest.Heartbeat, fencing);
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("partitions lost", StringComparison.Ordinal)));
        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "0");

        // Longer than the delay between retries.
        await Eventually.KeepsHoldingAsync(
            async () =>
            {
                Assert.False(await stack.Database.KeyExistsAsync("metrics:event:windows"));
                Assert.Equal([0, 0], stack.Kafka.Committed(Events));
            },
            TimeSpan.FromSeconds(3.5));

        stack.Broker.ClearRequestErrors(KafkaRequest.JoinGroup);
        await stack.EverythingIsCommittedAsync();
        await stack.AssertWindowsAsync(10);
    }

    /// <summary>Sends rows of consecutive windows, round-robin over the partitions, until cancelled.</summary>
    private static async Task<int> SendUntilAsync(InProcessStack stack, CancellationToken enough)
    {
        var sent = 0;
        while (!enough.IsCancellationRequested)
        {
            await stack.Kafka.SendAsync(Enumerable.Range(sent, 20).Select(n => (new TopicPartition(Events, n % 2), Message(Event(Window(n), "a", n)))));
            await stack.Kafka.SendAsync(Enumerable.Range(sent, 20).Select(n => (new TopicPartition(Performance, n % 2), Message(Load(Window(n), "tv", n)))));
            await Eventually.PaceAsync();
            sent += 20;
        }

        return sent;
    }
}
