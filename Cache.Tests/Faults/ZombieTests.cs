using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Faults;

/// <summary>A process that was frozen, and does not know that the group went on without it.</summary>
public sealed class ZombieTests
{
    [Fact]
    public async Task FrozenInMidWrite_AndThawedAfterAnotherTookOver_WritesNothing()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString);
        await using var first = await ServiceProcess.StartAsync(stack.Settings);
        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 1));
        await stack.EverythingIsCommittedAsync();

        // A batch on its way that Redis does not take, and the process stops right there.
        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "1");
        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 2));
        await Eventually.HoldsAsync(() => Assert.Contains("Redis did not take a batch", first.Output));
        first.Freeze();

        await using var second = await ServiceProcess.StartAsync(stack.Settings);
        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 3));
        await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "0");
        await stack.EverythingIsCommittedAsync();
        Assert.Equal(new() { ["a.count"] = "3" }, await stack.HashAsync("event", Window(0)));

        // What it was about to write is old by now.
        first.Thaw();
        await Eventually.HoldsAsync(() => Assert.Contains("partitions lost", first.Output));
        await Eventually.KeepsHoldingAsync(
            async () => Assert.Equal(new() { ["a.count"] = "3" }, await stack.HashAsync("event", Window(0))), TimeSpan.FromSeconds(3));

        // It is a member like any other again.
        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 4));
        await stack.EverythingIsCommittedAsync();
        Assert.Equal(new() { ["a.count"] = "4" }, await stack.HashAsync("event", Window(0)));
    }
}
