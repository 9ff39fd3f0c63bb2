using Cache.Embedded;
using Cache.Service.Consume;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Tests.EndToEnd;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

public sealed class LagMonitorTests
{
    [Fact]
    public void OpenTransaction_IsLoggedOnce_AndWhenItEnds()
    {
        var time = new FakeTimeProvider();
        var log = new LogCapture();
        using var loggers = new LoggerFactory([log]);
        using var monitor = new LagMonitor(new Assignment(), null!, new CacheOptions(), time, null!, loggers.CreateLogger<LagMonitor>());
        var (busy, hanging) = (TestRows.Partition(0), TestRows.Partition(1));
        for (var seconds = 0; seconds < 300; seconds++)
        {
            // One producer with many short transactions, and one that hangs.
            busy.HighWatermarkSeen(seconds + 10);
            monitor.Seen(busy, seconds);
            hanging.HighWatermarkSeen(5 + seconds);
            monitor.Seen(hanging, 5);
            Assert.Equal(seconds >= 90 ? 1 : 0, log.Lines.Count);
            time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.Contains("A transaction has been open in event_metrics/1 for a while", Assert.Single(log.Lines), StringComparison.Ordinal);
        Assert.Equal((10, TimeSpan.FromSeconds(1)), (busy.HeldBackRows, busy.HeldBackFor(time.GetUtcNow())));
        Assert.Equal((299, TimeSpan.FromSeconds(300)), (hanging.HeldBackRows, hanging.HeldBackFor(time.GetUtcNow())));

        monitor.Seen(hanging, 400);
        Assert.Contains("The open transaction in event_metrics/1 has ended", log.Lines.Last(), StringComparison.Ordinal);
        Assert.Equal((0, TimeSpan.Zero), (hanging.HeldBackRows, hanging.HeldBackFor(time.GetUtcNow())));
        Assert.Equal(2, log.Lines.Count);
    }

    [Fact]
    public async Task Ends_AreRequestedEverySecond_AndAFailureToReportThemIsKnown()
    {
        await using var broker = await EmbeddedKafka.StartAsync(brokers: 1);
        broker.CreateTopic(Rows.Events, partitions: 2);
        broker.CreateTopic(Rows.Performance, partitions: 1);
        using var kafka = new KafkaSide(broker.BootstrapServers, "cache-tests");
        await kafka.SendAsync(Rows.Events, 1, "a", "b", "c");
        var time = new FakeTimeProvider();
        var options = new CacheOptions
        {
            KafkaBootstrapServers = broker.BootstrapServers,
            KafkaProperties = new Dictionary<string, string> { ["reconnect.backoff.max.ms"] = "100" },
        };
        var assignment = new Assignment();
        var log = new LogCapture();
        using var loggers = new LoggerFactory([log]);
        using var monitor = new LagMonitor(assignment, new Topics(null!, null!, options, null!, null!, time, null!), options, time, null!, loggers.CreateLogger<LagMonitor>());
        await monitor.StartAsync(TestContext.Current.CancellationToken);

        // No partition is assigned yet.
        time.Advance(TimeSpan.FromSeconds(1));
        Assert.Null(monitor.Failure);

        var (empty, filled) = (TestRows.Partition(0), TestRows.Partition(1));
        assignment.Assign(empty);
        assignment.Assign(filled);
        filled.StartAt(1);
        await HoldsAsync(() => Assert.Equal((0, 3, 2), (empty.LogEnd, filled.LogEnd, filled.LagRows)));
        Assert.Null(monitor.Failure);
        await kafka.SendAsync(Rows.Events, 0, "d");
        await HoldsAsync(() => Assert.Equal(1, empty.LogEnd));

        broker.BreakAllBrokers();
        await HoldsAsync(() => Assert.StartsWith("Kafka does not report the ends of the partitions: ", monitor.Failure, StringComparison.Ordinal));
        Assert.Equal((1, 3), (empty.LogEnd, filled.LogEnd));
        time.Advance(TimeSpan.FromSeconds(1));
        broker.MendAllBrokers();
        await HoldsAsync(() => Assert.Null(monitor.Failure));
        Assert.Contains("not ready until it does", Assert.Single(log.Lines), StringComparison.Ordinal);

        await monitor.StopAsync(TestContext.Current.CancellationToken);
        Assert.True(monitor.ExecuteTask!.IsCompletedSuccessfully);

        Task HoldsAsync(Action assertions) => Eventually.HoldsAsync(() =>
        {
            time.Advance(TimeSpan.FromSeconds(1));
            assertions();
        });
    }
}
