using Cache.Embedded;
using Cache.Service.Consume;
using Cache.Service.Enqueue;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Persist;

public sealed class RebuildTests
{
    [Fact]
    public async Task FlushedRedis_GetsItsWindowsBack_EvenIfNothingNewArrives_EachTime()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(redis.ConnectionString);
        await SendAsync(stack, 0, 100);
        await stack.EverythingIsCommittedAsync();
        await stack.CoveredAsync();

        for (var times = 0; times < 3; times++)
        {
            await stack.Database.ExecuteAsync("FLUSHALL");
            await Eventually.HoldsAsync(() => stack.AssertWindowsAsync(100));
            await stack.EverythingIsCommittedAsync();
        }

        // Flushed again before the last rebuild is complete.
        for (var times = 0; times < 10; times++)
        {
            await stack.Database.ExecuteAsync("FLUSHALL");
            await Eventually.HoldsAsync(async () => Assert.True(await stack.Database.KeyExistsAsync("cache:epoch")));
        }

        await Eventually.HoldsAsync(() => stack.AssertWindowsAsync(100));
        await SendAsync(stack, 100, 110);
        await Eventually.HoldsAsync(() => stack.AssertWindowsAsync(110));
        await stack.EverythingIsCommittedAsync();
    }

    [Fact]
    public async Task RedisRestartedEmpty_GetsItsWindowsBack()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, 0, 50);
        await stack.EverythingIsCommittedAsync();

        stack.OwnRedis.Break();
        stack.OwnRedis.Mend();

        await Eventually.HoldsAsync(() => stack.AssertWindowsAsync(50));
    }

    [Fact]
    public async Task RedisEmptiedWhileTheServiceIsDown_GetsItsWindowsBack()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, 0, 50);
        await stack.EverythingIsCommittedAsync();
        await stack.CoveredAsync();
        await stack.StopServiceAsync();

        stack.OwnRedis.Break();
        stack.OwnRedis.Mend();
        await SendAsync(stack, 50, 60);
        await stack.StartServiceAsync();

        await Eventually.HoldsAsync(() => stack.AssertWindowsAsync(60));
        await stack.EverythingIsCommittedAsync();
    }

    [Fact]
    public async Task ServiceStoppedRightAfterRedisWasFlushed_WritesTheWindowsAgainAtItsNextStart()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(redis.ConnectionString, ("window_retention_count", "2000"));
        await SendAsync(stack, 0, 200);
        await stack.EverythingIsCommittedAsync();
        await stack.CoveredAsync();

        // Flushed, and nothing can be written back before the shutdown, although the committed offsets look complete.
        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "1");
        await stack.Database.ExecuteAsync("FLUSHALL");
        await stack.StopServiceAsync();
        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "0");
        await stack.StartServiceAsync();

        await Eventually.HoldsAsync(() => stack.AssertWindowsAsync(200));
        await stack.EverythingIsCommittedAsync();
    }

    [Fact]
    public async Task PlainRestart_WithRedisIntact_ReadsNothingAgain()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, 0, 50);
        await stack.EverythingIsCommittedAsync();
        await stack.CoveredAsync();
        await stack.StopServiceAsync();

        await stack.StartServiceAsync();
        await stack.ReadyAsync();
        await SendAsync(stack, 50, 51);
        await stack.EverythingIsCommittedAsync();
        await Eventually.KeepsHoldingAsync(
            () => Task.Run(() => Assert.Equal(1, stack.Service.Get<ConsumeMetrics>().Rows(Events).Value)), TimeSpan.FromSeconds(0.5));

        Assert.DoesNotContain(stack.Service.Log, line => line.Contains("Redis lost its windows", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Rebuild_ReachesBackAsFarAsTheLookback()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(redis.ConnectionString, ("redis_rebuild_lookback_seconds", "3600"));
        var old = Message(Event(Window(0), "old", 1));
        old.Timestamp = new Timestamp(TimeProvider.System.GetUtcNow().AddHours(-2));
        await stack.Kafka.SendAsync(Events, 0, [old]);
        await stack.Kafka.SendAsync(Events, 1, Event(Window(1), "young", 1));
        await stack.EverythingIsCommittedAsync();
        Assert.NotEmpty(await stack.HashAsync("event", Window(0)));

        await stack.Database.ExecuteAsync("FLUSHALL");
        await Eventually.HoldsAsync(async () => Assert.NotEmpty(await stack.HashAsync("event", Window(1))));
        await stack.EverythingIsCommittedAsync();

        await stack.AnswersAsync("/metrics/event/windows", $$"""{"windows":[{"window_start":{{Window(1)}},"young.count":1}]}""");
    }

    [Fact]
    public async Task FlushedRedis_WhileTheQueueIsFullAndPartitionsArePaused_EndsWithEverything()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(
            redis.ConnectionString, ("redis_queue_max_size", "50"), ("redis_write_batch_size", "20"), ("window_retention_count", "2000"));
        await SendAsync(stack, 0, 200);
        await stack.EverythingIsCommittedAsync();

        // On a busy machine, the queue may have been full before.
        var pauses = Pauses();
        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "1");
        await SendAsync(stack, 200, 600);
        await Eventually.HoldsAsync(() => Assert.True(Pauses() > pauses));
        Assert.InRange(stack.Service.Get<RowQueue>().Count, 1, 50);
        await stack.Database.ExecuteAsync("FLUSHALL");
        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "0");

        await Eventually.HoldsAsync(() => stack.AssertWindowsAsync(600));
        await stack.EverythingIsCommittedAsync();

        int Pauses() => stack.Service.Log.Count(line => line.Contains("partitions are paused", StringComparison.Ordinal));
    }

    [Fact]
    public async Task SecondMember_JoiningAnOldGroupOnAFlushedRedis_RebuildsItsShare()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(redis.ConnectionString);
        await SendAsync(stack, 0, 100);
        await stack.EverythingIsCommittedAsync();
        await stack.CoveredAsync();
        await using var second = await stack.StartAnotherServiceAsync();
        await Eventually.HoldsAsync(() => Assert.Equal(2, second.Get<Service.Partitions.Assignment>().Current.Count));

        await stack.Database.ExecuteAsync("FLUSHALL");

        await Eventually.HoldsAsync(() => stack.AssertWindowsAsync(100));
        await stack.CoveredAsync();
    }

    [Fact]
    public async Task RewoundPartition_IsNotNamedInTheEpoch_BeforeItsStartIsCommitted()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.StartAsync(redis.ConnectionString);
        await SendAsync(stack, 0, 50);
        await stack.EverythingIsCommittedAsync();
        await stack.CoveredAsync();

        // A new owner would now resume from the end: if the epoch listed the partition, it would never read the rows again.
        stack.Broker.PushRequestErrors(KafkaRequest.OffsetCommit, [.. Enumerable.Repeat(ErrorCode.GroupAuthorizationFailed, 10_000)]);
        await stack.Database.ExecuteAsync("FLUSHALL");
        await Eventually.HoldsAsync(() => stack.AssertWindowsAsync(50));
        await Eventually.KeepsHoldingAsync(
            async () => Assert.DoesNotContain(' ', (await stack.Database.StringGetAsync("cache:epoch")).ToString()), TimeSpan.FromSeconds(0.5));

        stack.Broker.ClearRequestErrors(KafkaRequest.OffsetCommit);
        await stack.CoveredAsync();
        await stack.EverythingIsCommittedAsync();
    }

    [Fact]
    public async Task EpochOfAnotherType_IsReplaced_AndHoldsUpNothing()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString);
        await stack.Database.HashSetAsync("cache:epoch", [new("not", "an epoch")]);
        await stack.StartServiceAsync();

        await SendAsync(stack, 0, 10);
        await stack.EverythingIsCommittedAsync();
        await stack.AssertWindowsAsync(10);
        await stack.CoveredAsync();

        // At once: the service replaces an epoch that is gone as well.
        var replacement = stack.Database.CreateTransaction();
        var deleted = replacement.KeyDeleteAsync("cache:epoch");
        var set = replacement.HashSetAsync("cache:epoch", [new("not", "an epoch")]);
        Assert.True(await replacement.ExecuteAsync());
        await Task.WhenAll(deleted, set);
        await stack.CoveredAsync();
    }

    /// <summary>Rows of consecutive windows, round-robin over the partitions.</summary>
    private static async Task SendAsync(InProcessStack stack, int from, int to) => await stack.Kafka.SendAsync(
        Enumerable.Range(from, to - from).Select(n => (new TopicPartition(Events, n % 2), Message(Event(Window(n), "a", n)))));
}
