using Cache.Embedded;

namespace Cache.Tests.EndToEnd;

/// <summary>Using the tests' Kafka client after disposal throws an exception, rather than crashing the test process.</summary>
public sealed class KafkaSideTests : IAsyncLifetime
{
    private const string Topic = "rows";

    private EmbeddedKafka _broker = null!;
    private KafkaSide _kafka = null!;

    public async ValueTask InitializeAsync()
    {
        _broker = await EmbeddedKafka.StartAsync(brokers: 1);
        _broker.CreateTopic(Topic, partitions: 1);
        _kafka = New();
    }

    public async ValueTask DisposeAsync()
    {
        _kafka.Dispose();
        await _broker.DisposeAsync();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Call_AfterDispose_Throws(bool wasUsed)
    {
        if (wasUsed)
        {
            await _kafka.SendAsync(Topic, 0, "a");
            Assert.Equal([1], _kafka.Ends(Topic));
        }

        _kafka.Dispose();
        _kafka.Dispose();

        await Assert.ThrowsAsync<ObjectDisposedException>(() => _kafka.SendAsync(Topic, 0, "b"));
        Assert.Throws<ObjectDisposedException>(() => _kafka.Partitions(Topic));
        Assert.Throws<ObjectDisposedException>(() => _kafka.Ends(Topic));
        Assert.Throws<ObjectDisposedException>(() => _kafka.Committed(Topic));
        Assert.Throws<ObjectDisposedException>(() => _kafka.ReadAll(Topic));
    }

    [Fact]
    public async Task Dispose_WhileOthersSendAndAsk_LetsTheirCallsEnd()
    {
        for (var round = 0; round < 10; round++)
        {
            var kafka = New();
            var sent = 0;
            var users = Enumerable.Range(0, 3).Select(_ => Task.Run(() => kafka.SendAsync(Topic, 0, Endless()))).Append(Task.Run(() =>
            {
                while (true)
                {
                    kafka.Ends(Topic);
                }
            })).ToList();
            await Eventually.HoldsAsync(() => Assert.True(sent > 1000));

            kafka.Dispose();

            foreach (var user in users)
            {
                await Assert.ThrowsAsync<ObjectDisposedException>(() => user);
            }

            // Endless, so that there is always a call in progress.
            IEnumerable<string> Endless()
            {
                while (true)
                {
                    Interlocked.Increment(ref sent);
                    yield return "row";
                }
            }
        }
    }

    [Fact]
    public async Task Dispose_EndsTheWaitForWhatIsNotAcknowledged()
    {
        await _kafka.SendAsync(Topic, 0, "a");
        _broker.BreakAllBrokers();
        var sending = _kafka.SendAsync(Topic, 0, "b");

        _kafka.Dispose();

        await Assert.ThrowsAsync<ObjectDisposedException>(() => sending);
    }

    private KafkaSide New() => new(_broker.BootstrapServers, "cache-tests");
}
