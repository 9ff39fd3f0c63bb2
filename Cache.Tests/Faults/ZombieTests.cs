using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Faults;

/// <summary>Processes that were frozen, and do not know that the group has moved on without them.</summary>
public sealed class ZombieTests
{
    // After a thaw, a process may learn of its lost partitions before it writes; out of several, some write first.
    private const int Zombies = 3;
    private static readonly TimeSpan Session = TimeSpan.FromSeconds(6);

    [Fact]
    [Trait("Category", "Long")]
    public async Task FrozenInMidWrite_AndThawedAfterAnotherTookOver_WriteNothing()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(
            redis.ConnectionString, ("cache_kafka_topics", Events), ("Kafka:session.timeout.ms", $"{Session.TotalMilliseconds}"));

        // All of them join in the group's first generation; if they joined one by one, the embedded Kafka would take long to settle.
        stack.Broker.SetInitialRebalanceDelay(Session / 2);
        stack.Broker.DeleteTopic(Events);
        stack.Broker.CreateTopic(Events, Zombies);
        var starting = Enumerable.Range(0, Zombies).Select(_ => ServiceProcess.StartAsync(stack.Settings)).ToList();
        try
        {
            var zombies = await Task.WhenAll(starting);
            await SendAsync(1);
            await stack.EverythingIsCommittedAsync(Events);

            // Each has a partition: a replica without one is not ready.
            await Eventually.HoldsAsync(async () =>
            {
                foreach (var zombie in zombies)
                {
                    using var ready = await zombie.Http.GetAsync("/readyz");
                    Assert.Equal(HttpStatusCode.OK, ready.StatusCode);
                }
            });

            // Each has a batch in flight that Redis does not accept, and is stuck there.
            await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "1");
            await SendAsync(2);
            await Task.WhenAll(zombies.Select(zombie => SaysAsync(zombie, "Redis did not accept a batch", 0)));

            // By now they retry rarely: one that was frozen at the very moment of sending would write late (and repair that).
            await Task.Delay(TimeSpan.FromSeconds(5), TestContext.Current.CancellationToken);
            Array.ForEach(zombies, zombie => zombie.Freeze());
            var said = Array.ConvertAll(zombies, zombie => zombie.Output.Length);

            await using var heir = await ServiceProcess.StartAsync(stack.Settings);
            await SendAsync(3);
            await stack.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "0");
            await stack.EverythingIsCommittedAsync(Events);
            await HoldsAsync(3);

            // Their pending writes are outdated by now. As a late write would soon be repaired, every command that Redis receives counts.
            using var monitor = await MonitorAsync(redis);
            foreach (var (zombie, before) in zombies.Zip(said))
            {
                zombie.Thaw();
                await SaysAsync(zombie, "partitions (lost|revoked)", before);
            }

            await Eventually.KeepsHoldingAsync(() => HoldsAsync(3), TimeSpan.FromSeconds(3));

            // They are normal members again.
            await SendAsync(4);
            await stack.EverythingIsCommittedAsync(Events);
            await HoldsAsync(4);
            var written = await monitor.SeenAsync("\"4\"");
            Assert.DoesNotContain(written, command => command.Contains("\"2\"", StringComparison.Ordinal));
        }
        finally
        {
            foreach (var zombie in starting.Where(zombie => zombie.IsCompletedSuccessfully))
            {
                await (await zombie).DisposeAsync();
            }
        }

        async Task SendAsync(int count)
        {
            for (var partition = 0; partition < Zombies; partition++)
            {
                await stack.Kafka.SendAsync(Events, partition, Event(Window(0), $"a{partition}", count));
            }
        }

        async Task HoldsAsync(int count) =>
            Assert.Equal(Enumerable.Range(0, Zombies).ToDictionary(partition => $"a{partition}.count", _ => $"{count}"), await stack.HashAsync("event", Window(0)));
    }

    private static Task SaysAsync(ServiceProcess process, string what, int from) =>
        Eventually.HoldsAsync(() => Assert.True(Regex.IsMatch(process.Output[from..], what), $"It did not say \"{what}\":\n{process.Output}"));

    private static async Task<RedisMonitor> MonitorAsync(RedisServer redis)
    {
        var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, redis.Port);
        await client.GetStream().WriteAsync("MONITOR\r\n"u8.ToArray());
        var lines = new StreamReader(client.GetStream());
        Assert.Equal("+OK", await lines.ReadLineAsync());
        return new(client, lines);
    }

    /// <summary>Sees every command that Redis executes.</summary>
    private sealed record RedisMonitor(TcpClient Client, StreamReader Lines) : IDisposable
    {
        /// <summary>The window writes so far, up to the first that contains a given text.</summary>
        public async Task<List<string>> SeenAsync(string last)
        {
            using var timeout = new CancellationTokenSource(Eventually.TestTimeout);
            var writes = new List<string>();
            while (await Lines.ReadLineAsync(timeout.Token) is { } line)
            {
                if (line.Contains("\"HSET\" \"metrics:event:", StringComparison.Ordinal) || line.Contains("\"HMSET\" \"metrics:event:", StringComparison.Ordinal))
                {
                    writes.Add(line);
                    if (line.Contains(last, StringComparison.Ordinal))
                    {
                        break;
                    }
                }
            }

            Assert.NotEmpty(writes);
            return writes;
        }

        public void Dispose()
        {
            Lines.Dispose();
            Client.Dispose();
        }
    }
}
