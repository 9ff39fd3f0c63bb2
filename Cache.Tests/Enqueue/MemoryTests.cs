using Cache.Tests.EndToEnd;
using Confluent.Kafka;

namespace Cache.Tests.Enqueue;

/// <summary>Rows that wait for Redis hold a bounded amount of memory.</summary>
public sealed class MemoryTests
{
    private const int Megabyte = 1024 * 1024;

    [Fact]
    public async Task RejectedRowsWithLargeHeaders_AreHeldBack_WhileRedisDoesNotAnswer()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString);
        await stack.StartProcessAsync();
        await stack.Kafka.SendAsync(Rows.Events, 0, Rows.Event(Rows.Window(0), "a", 0));
        await stack.EverythingIsCommittedAsync(Rows.Events);
        redis.Freeze();

        // The batch that waits for Redis: nothing behind it is written.
        await stack.Kafka.SendAsync(Rows.Events, 0, Rows.Event(Rows.Window(1), "a", 1));
        var before = stack.Process.ResidentBytes;
        var most = before;
        for (var sent = 0; sent < 1200; sent += 8)
        {
            var row = new Message<byte[]?, byte[]?> { Value = "x"u8.ToArray(), Headers = [new Header("large", new byte[300_000])] };
            await stack.Kafka.SendAsync(Rows.Events, sent / 8 % 2, Enumerable.Repeat(row, 8));
            await Eventually.PaceAsync();
            most = Math.Max(most, stack.Process.ResidentBytes);
        }

        // 340 MB were sent: the queue holds 32 MB of them, two batches 8 MB each, and the client what it has prefetched.
        Assert.InRange((most - before) / Megabyte, 0, 170);
        TestContext.Current.TestOutputHelper?.WriteLine($"{before / Megabyte} MB, then {most / Megabyte} MB at most");
        redis.Thaw();
    }
}
