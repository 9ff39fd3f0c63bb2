using System.Net;
using System.Net.Sockets;
using System.Text;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.EndToEnd;

/// <summary>The process stops on SIGTERM, at any moment, whatever clients, Kafka and Redis are doing.</summary>
public sealed class StopTests
{
    // Orchestrators kill after 30 s, and on a busy machine a process itself takes some time.
    private static readonly TimeSpan Most = TestTimeout.Full;

    /// <summary>Unfinished requests, and responses that nobody reads.</summary>
    public static TheoryData<string, int> HeldConnections => new()
    {
        { "GET / HTTP/1.1\r\nHost", 1 },
        { "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 300 },
        { "GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n", 1 },
    };

    [Theory]
    [MemberData(nameof(HeldConnections))]
    public async Task ClientThatHoldsItsConnection_TakesNoTimeFromTheLastFlushAndCommit(string request, int times)
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("window_retention_count", "1000000"));
        await stack.StartProcessAsync();
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, stack.Http.BaseAddress!.Port, TestContext.Current.CancellationToken);
        await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(string.Concat(Enumerable.Repeat(request, times))), TestContext.Current.CancellationToken);
        await using var load = Meanwhile.Start(async stop =>
        {
            for (var sent = 0; sent < 50_000 && !stop.IsCancellationRequested; sent += 100)
            {
                await stack.Kafka.SendAsync(Enumerable.Range(sent, 100).Select(n => (new Confluent.Kafka.TopicPartition(Events, n % 2), Message(Event(Window(n), "a", n)))));
                await Eventually.PaceAsync();
            }
        });
        await Eventually.HoldsAsync(() => Assert.True(stack.Kafka.Committed(Events).Sum() > 500));

        stack.Process.Terminate();

        Assert.Equal(0, await stack.Process.ExitAsync(Most));
        Assert.Empty(stack.Process.Errors);
        Assert.DoesNotContain("did not stop", stack.Process.Output, StringComparison.Ordinal);
        await load.StopAsync();
        Assert.Equal(stack.Kafka.Committed(Events).Sum(), await stack.Database.SortedSetLengthAsync("metrics:event:windows"));
    }

    [Fact]
    [Trait("Category", "Long")]
    public async Task SignalledAtAnyMomentOfItsStart_EndsWithZero()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        var moments = Enumerable.Range(1, 20).Select(moment => TimeSpan.FromMilliseconds(100 * moment)).ToList();
        foreach (var group in moments.Chunk(4))
        {
            await Task.WhenAll(group.Select(async moment =>
            {
                await using var service = ServiceProcess.Launch([new("urls", "http://127.0.0.1:0"), .. stack.Settings]);
                await Task.Delay(moment, TestContext.Current.CancellationToken);
                service.Terminate();
                var exit = await service.ExitAsync(Most);

                // Before the first line of the program, nothing handles signals yet.
                Assert.True(exit == 0 || (exit == 128 + ChildProcess.SigTerm && service.Output.Length == 0), $"{moment}: {exit}\n{service.Output}\n{service.Errors}");
                Assert.Empty(service.Errors);
                Assert.DoesNotContain("   at ", service.Output, StringComparison.Ordinal);
            }));
        }
    }

    [Fact]
    public async Task SignalledWhileKafkaDoesNotAnswer_EndsWithZero()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        await stack.StartProcessAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1), "rejected");
        await stack.EverythingIsCommittedAsync();

        // Every request of the client from now on, leaving the group included, is answered much too late.
        stack.Broker.SetRoundTrip(TimeSpan.FromMinutes(2));
        stack.Process.Terminate();

        Assert.Equal(0, await stack.Process.ExitAsync(TimeSpan.FromSeconds(40)));
        Assert.Empty(stack.Process.Errors);
        stack.Broker.SetRoundTrip(TimeSpan.Zero);
    }

    [Fact]
    public async Task SignalledRepeatedlyWhileStopping_EndsWithZero_AndWhatIsWrittenIsCommitted()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        await stack.StartProcessAsync();
        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 100).Select(n => Event(Window(n), "a", n)));
        await Eventually.HoldsAsync(() => Assert.True(stack.Kafka.Committed(Events)[0] > 0));

        stack.Process.Terminate();
        var exit = stack.Process.ExitAsync(Most);
        try
        {
            // To the very end: a signal must not kill a process that is about to report how it ended.
            while (!exit.IsCompleted)
            {
                stack.Process.Terminate();
                await Task.Delay(1, TestContext.Current.CancellationToken);
            }
        }
        catch (Exception exception) when (exception is InvalidOperationException or System.ComponentModel.Win32Exception)
        {
            // It has exited.
        }

        Assert.Equal(0, await exit);
        Assert.Empty(stack.Process.Errors);
        Assert.Equal(stack.Kafka.Committed(Events)[0], await stack.Database.SortedSetLengthAsync("metrics:event:windows"));
    }

    [Fact]
    public async Task SignalledWhileRedisDoesNotAnswer_EndsWithZero_AndNothingIsCommitted()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString);
        await stack.StartProcessAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.EverythingIsCommittedAsync(Events);
        redis.Freeze();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(2), "a", 1));
        await Eventually.HoldsAsync(() => Assert.Contains("Redis did not accept a batch", stack.Process.Output, StringComparison.Ordinal));

        stack.Process.Terminate();

        Assert.Equal(0, await stack.Process.ExitAsync(TestTimeout.Full));
        Assert.Empty(stack.Process.Errors);
        Assert.Equal(1, stack.Kafka.Committed(Events)[0]);
        redis.Thaw();
    }

    [Fact]
    public async Task SubscriptionThatGetsNoReply_IsRetried_AndTheServiceContinues()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var proxy = new TcpProxy(redis.Port);
        var withheld = 0;
        proxy.Lets = (connection, fromServer) =>
        {
            var isReply = fromServer && connection.Said.Contains("SUBSCRIBE", StringComparison.Ordinal);
            withheld += isReply ? 1 : 0;
            return !isReply;
        };
        await using var stack = await InProcessStack.PrepareAsync($"127.0.0.1:{proxy.Port},syncTimeout=1000,asyncTimeout=1000");
        await stack.StartProcessAsync();

        await Eventually.HoldsAsync(() => Assert.InRange(withheld, 2, int.MaxValue));

        Assert.False(stack.Process.HasExited, stack.Process.Output);
        await stack.EventuallyAnswersAsync("/readyz", """{"status":"ready"}""");
    }

    [Fact]
    public async Task DatabaseThatRedisDoesNotHave_EndsTheServiceWithOne()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString, ("redis_db", "999"));
        await using var service = ServiceProcess.Launch([new("urls", "http://127.0.0.1:0"), .. stack.Settings]);

        Assert.Equal(1, await service.ExitAsync(Eventually.TestTimeout));
        Assert.Contains("999", service.Output + service.Errors, StringComparison.Ordinal);
        Assert.Contains("exit code 1", service.Output, StringComparison.Ordinal);
    }
}
