using Cache.Embedded;
using Cache.Service.Partitions;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Consume;

public sealed class CommitTests
{
    [Fact]
    public async Task Commit_WhenRedisIsDown_DoesNotAdvance()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, 0, 10);
        await stack.EverythingIsCommittedAsync();

        stack.OwnRedis.Break();
        await SendAsync(stack, 10, 20);
        await Eventually.HoldsAsync(() => Assert.Equal(40, stack.Service.Get<Assignment>().Current.Sum(partition => partition.Next)));
        await Eventually.KeepsHoldingAsync(
            () => Task.Run(() =>
            {
                Assert.Equal([10, 0], stack.Kafka.Committed(Events));
                Assert.Equal([0, 10], stack.Kafka.Committed(Performance));
            }),
            TimeSpan.FromSeconds(1.5));

        stack.OwnRedis.Mend();
        await stack.EverythingIsCommittedAsync();
        await Eventually.HoldsAsync(async () =>
        {
            for (var minute = 0; minute < 20; minute++)
            {
                Assert.Equal(new() { ["a.count"] = $"{minute}" }, await stack.HashAsync("event", Window(minute)));
                Assert.Equal(new() { ["tv.avg_load_time"] = $"{minute}" }, await stack.HashAsync("perf", Window(minute)));
            }
        });

        static async Task SendAsync(InProcessStack stack, int from, int to)
        {
            var minutes = Enumerable.Range(from, to - from).ToList();
            await stack.Kafka.SendAsync(Events, 0, minutes.Select(minute => Event(Window(minute), "a", minute)));
            await stack.Kafka.SendAsync(Performance, 1, minutes.Select(minute => Load(Window(minute), "tv", minute)));
        }
    }

    [Fact]
    public async Task Batch_WhenRedisRefusesIt_IsWrittenAgainInOrder_AndNothingIsCommittedMeanwhile()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(redis.ConnectionString, ("redis_write_batch_size", "1"));
        var updates = await stack.SubscribeAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 0));
        await stack.EverythingIsCommittedAsync(Events);

        // Writes fail with OOM, reads still work: the first batch is retried, and the next ones wait behind it.
        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "1");
        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(1, 50).Select(count => Event(Window(count % 2), "a", count)));
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("Redis did not accept a batch", StringComparison.Ordinal)));
        await Eventually.KeepsHoldingAsync(
            () => Task.Run(() => Assert.Equal([1, 0], stack.Kafka.Committed(Events))), TimeSpan.FromSeconds(1));
        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "0");
        await stack.EverythingIsCommittedAsync(Events);

        Assert.Equal(new() { ["a.count"] = "50" }, await stack.HashAsync("event", Window(0)));
        Assert.Equal(new() { ["a.count"] = "49" }, await stack.HashAsync("event", Window(1)));
        await Eventually.HoldsAsync(() => Assert.Equal(50, Counts().LastOrDefault()));
        Assert.Equal(Counts().Order(), Counts());

        List<long> Counts() => [.. updates.Select(update => update.GetProperty("fields").GetProperty("a.count").GetInt64())];
    }

    [Fact]
    public async Task Commit_WhenKafkaRefusesIt_IsRetried()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.EverythingIsCommittedAsync();

        stack.Broker.PushRequestErrors(KafkaRequest.OffsetCommit, [.. Enumerable.Repeat(ErrorCode.GroupAuthorizationFailed, 3)]);
        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 1), Event(Window(1), "a", 1));

        await stack.EverythingIsCommittedAsync();
        Assert.Contains(stack.Service.Log, line => line.Contains("Commit failed, retrying at every interval", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Commit_IsDue_AfterSoManyRows_WithoutWaitingForTheInterval()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("kafka_commit_interval_ms", "600000"), ("kafka_commit_batch_size", "10"));
        await stack.ReadyAsync();

        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 9).Select(minute => Event(Window(minute), "a", 1)));
        await Eventually.HoldsAsync(async () => Assert.NotEmpty(await stack.HashAsync("event", Window(8))));
        Assert.Equal([0, 0], stack.Kafka.Committed(Events));

        await stack.Kafka.SendAsync(Events, 0, Event(Window(9), "a", 1));
        await Eventually.HoldsAsync(() => Assert.Equal([10, 0], stack.Kafka.Committed(Events)));
    }

    [Fact]
    public async Task SkippedRows_AreCommitted()
    {
        await using var stack = await InProcessStack.StartAsync();

        await stack.Kafka.SendAsync(Events, 0, [new Message<byte[]?, byte[]?> { Key = "gone"u8.ToArray() }, Message(Event(Window(0), "a", 1)), new()]);

        await stack.EverythingIsCommittedAsync();
        await stack.AnswersAsync("/metrics/event/windows", $$"""{"windows":[{"window_start":{{Window(0)}},"a.count":1}]}""");
        Assert.Empty(stack.Kafka.ReadAll(stack.DeadLetterTopic));
    }
}
