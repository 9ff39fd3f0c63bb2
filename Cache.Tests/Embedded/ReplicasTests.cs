using Cache.Embedded;
using Cache.Service.Partitions;
using Cache.Tests.EndToEnd;

namespace Cache.Tests.Embedded;

/// <summary>Two services in one group on an embedded Kafka, configured with <see cref="EmbeddedKafka.ClientSettings"/>.</summary>
public sealed class ReplicasTests
{
    // With the client's default session of 45 s, every rebalance would take 44 s, and the first step here takes two.
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task SecondReplica_HasItsShareSoon_AndLeavesItSoon()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(cancellationToken: TestContext.Current.CancellationToken);
        await using var redis = await EmbeddedRedis.StartAsync(cancellationToken: TestContext.Current.CancellationToken);
        Array.ForEach([Rows.Events, Rows.Performance], topic => kafka.CreateTopic(topic));
        KeyValuePair<string, string>[] settings =
        [
            new("ConnectionStrings:kafka", kafka.BootstrapServers), new("ConnectionStrings:redis", redis.ConnectionString),
            .. EmbeddedKafka.ClientSettings.Select(setting => KeyValuePair.Create($"Kafka:{setting.Key}", setting.Value)),
        ];

        await using var first = await ServiceInProcess.StartAsync(settings);
        await HasAsync(first, 12);
        await Task.Delay(TimeSpan.FromSeconds(2), TestContext.Current.CancellationToken);

        await using (var second = await ServiceInProcess.StartAsync(settings))
        {
            await HasAsync(second, 6);
            await HasAsync(first, 6);
        }

        await HasAsync(first, 12);
    }

    private static Task HasAsync(ServiceInProcess replica, int partitions) =>
        Eventually.HoldsAsync(() => Assert.Equal(partitions, replica.Get<Assignment>().Current.Count), Soon);
}
