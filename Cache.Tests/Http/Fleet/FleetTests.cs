using System.Diagnostics;
using System.Text.Json;
using Cache.Embedded;
using Cache.Service.Http.Fleet;
using Cache.Service.Telemetry;
using Cache.Tests.EndToEnd;
using Cache.Tests.Persist;
using StackExchange.Redis;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Http.Fleet;

/// <summary>What replicas tell of themselves, from the outside.</summary>
public sealed class FleetTests(ITestOutputHelper output)
{
    private static readonly string[] AllPartitions = ["event_metrics/0", "event_metrics/1", "performance_metrics/0", "performance_metrics/1"];

    // Much less than the TTL of what was published.
    private static readonly TimeSpan Soon = TestTimeout.Full;

    [Fact]
    public async Task EveryReplica_TellsOfAll_PartitionsMoveWithARebalance_AndOneThatStopsIsGoneAtOnce()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await Eventually.HoldsAsync(async () => Assert.Equal(AllPartitions, Owned(Assert.Single(Replicas(await FleetAsync(stack.Service))))));
        var before = Assert.Single(Replicas(await FleetAsync(stack.Service))).GetProperty("partitions");

        string secondId;
        await using (var second = await stack.StartAnotherServiceAsync())
        {
            secondId = Id(second);
            foreach (var service in new[] { stack.Service, second })
            {
                await Eventually.HoldsAsync(async () =>
                {
                    var fleet = await FleetAsync(service);
                    var replicas = Replicas(fleet);
                    Assert.True(fleet.GetProperty("complete").GetBoolean());
                    Assert.Equal(service.Get<ThisReplica>().Id, fleet.GetProperty("self").GetString());
                    Assert.Equal(new[] { Id(stack.Service), Id(second) }.Order(StringComparer.Ordinal), replicas.Select(replica => replica.GetProperty("id").GetString()));
                    Assert.All(replicas, replica => Assert.Equal(2, replica.GetProperty("partitions").GetArrayLength()));
                    Assert.Equal(AllPartitions, replicas.SelectMany(Owned).Order(StringComparer.Ordinal));
                    Assert.All(replicas, replica => Assert.True(replica.GetProperty("ready").GetBoolean(), replica.ToString()));
                    Assert.All(replicas, replica => Assert.Equal(JsonValueKind.Null, replica.GetProperty("revocation").ValueKind));
                    Assert.All(replicas, replica => Assert.Equal(BuildInfo.Version, replica.GetProperty("version").GetString()));
                    Assert.All(replicas.SelectMany(replica => replica.GetProperty("partitions").EnumerateArray()), partition => Assert.Equal((0, 0.0), (partition.GetProperty("rows").GetInt64(), partition.GetProperty("seconds").GetDouble())));
                });
            }

            // Those that stayed are as old as before; those that moved are younger.
            var replicas = Replicas(await FleetAsync(second));
            Assert.All(Of(stack.Service).EnumerateArray(), partition => Assert.Contains(before.EnumerateArray(), old => old.GetRawText() == partition.GetRawText()));
            Assert.All(Of(second).EnumerateArray(), partition => Assert.True(partition.GetProperty("since").GetInt64() > before[0].GetProperty("since").GetInt64()));
            Assert.Equal(Id(second), (await JsonOfAsync(second, "/pipeline")).GetProperty("instance").GetString());

            JsonElement Of(ServiceInProcess service) => replicas.Single(replica => replica.GetProperty("id").GetString() == Id(service)).GetProperty("partitions");
        }

        await Eventually.HoldsAsync(async () => Assert.Equal(Id(stack.Service), Assert.Single(Replicas(await FleetAsync(stack.Service))).GetProperty("id").GetString()), TimeSpan.FromSeconds(3));
        Assert.Equal([Id(stack.Service)], (await stack.Database.SortedSetRangeByRankAsync("cache:replicas")).ToStringArray());
        Assert.False(await stack.Database.KeyExistsAsync($"cache:replica:{secondId}"));
        await Eventually.HoldsAsync(async () => Assert.Equal(AllPartitions, Owned(Assert.Single(Replicas(await FleetAsync(stack.Service))))));
    }

    [Fact]
    public async Task ReplicaThatIsKilled_IsGoneWithinItsTtl_AndLeavesTheIndex()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("redis_key_prefix", "p:"));
        await stack.StartProcessAsync();
        await Eventually.HoldsAsync(async () => Assert.Equal(2, Replicas(await FleetAsync(stack.Service)).Count));

        await stack.Process.KillAsync();
        var killed = Stopwatch.GetTimestamp();
        await Eventually.HoldsAsync(async () => Assert.Single(Replicas(await FleetAsync(stack.Service))), ReplicaStore.Ttl + Soon);
        output.WriteLine($"gone after {Stopwatch.GetElapsedTime(killed).TotalSeconds:F1} s");

        await Eventually.HoldsAsync(async () => Assert.Equal([Id(stack.Service)], (await stack.Database.SortedSetRangeByRankAsync("p:cache:replicas")).ToStringArray()));
        Assert.All(stack.Redis.GetServers()[0].Keys().Select(key => key.ToString()), key => Assert.StartsWith("p:", key, StringComparison.Ordinal));
        Assert.InRange((await stack.Database.KeyTimeToLiveAsync($"p:cache:replica:{Id(stack.Service)}"))!.Value, TimeSpan.Zero, ReplicaStore.Ttl);
        Assert.NotNull(await stack.Database.KeyTimeToLiveAsync("p:cache:replicas"));
    }

    [Fact]
    public async Task RedisDown_LeavesOnlyTheReplicaThatAnswers_QuicklyAndSilently_UntilItIsBack()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await using var second = await stack.StartAnotherServiceAsync();
        await Eventually.HoldsAsync(async () => Assert.Equal(2, Replicas(await FleetAsync(stack.Service)).Count));

        stack.OwnRedis.Break();
        await Eventually.HoldsAsync(async () =>
        {
            var asked = Stopwatch.GetTimestamp();
            var fleet = await FleetAsync(stack.Service);
            Assert.True(Stopwatch.GetElapsedTime(asked) < TimeSpan.FromSeconds(2));
            Assert.False(fleet.GetProperty("complete").GetBoolean());
            var self = Assert.Single(Replicas(fleet));
            Assert.Equal(fleet.GetProperty("self").GetString(), self.GetProperty("id").GetString());
            Assert.Equal(["Redis does not answer"], self.GetProperty("reasons").EnumerateArray().Select(reason => reason.GetString()));
        });

        // Longer than the interval of publications.
        await Task.Delay(TimeSpan.FromSeconds(7), TestContext.Current.CancellationToken);
        Assert.DoesNotContain(stack.Service.Log, line => line.Contains("replica", StringComparison.OrdinalIgnoreCase) || line.Contains(nameof(ReplicaPublisher), StringComparison.Ordinal));

        stack.OwnRedis.Mend();
        await Eventually.HoldsAsync(async () =>
        {
            var fleet = await FleetAsync(stack.Service);
            Assert.True(fleet.GetProperty("complete").GetBoolean());
            Assert.Equal(2, Replicas(fleet).Count);
        });
    }

    [Fact]
    public async Task Revocation_ThatWaitsForItsRows_IsSeen_AndWhatItWaitsFor()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();

        stack.OwnRedis.Break();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.Kafka.SendAsync(Events, 1, Event(Window(2), "a", 2));
        await using var second = await stack.StartAnotherServiceAsync();
        await Eventually.HoldsAsync(async () =>
        {
            var self = Assert.Single(Replicas(await FleetAsync(stack.Service)));
            var revocation = self.GetProperty("revocation");
            Assert.Equal("flush", revocation.GetProperty("waits_for").GetString());
            Assert.NotEmpty(revocation.GetProperty("partitions").EnumerateArray());
            Assert.InRange(self.GetProperty("seen").GetInt64() - revocation.GetProperty("since").GetInt64(), 0, 20_000);

            // Not released yet.
            Assert.Equal(AllPartitions, Owned(self));
        });

        stack.OwnRedis.Mend();
        await Eventually.HoldsAsync(async () =>
        {
            var replicas = Replicas(await FleetAsync(second));
            Assert.Equal(2, replicas.Count);
            Assert.Equal(AllPartitions, replicas.SelectMany(Owned).Order(StringComparer.Ordinal));
            Assert.All(replicas, replica => Assert.Equal(JsonValueKind.Null, replica.GetProperty("revocation").ValueKind));
        });
    }

    [Fact]
    public async Task OwnEntry_IsCurrent_WithRateAndLag()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await using var load = Meanwhile.Start(async stop =>
        {
            for (var row = 0; !stop.IsCancellationRequested; row++)
            {
                await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", row));
                await Eventually.PaceAsync();
            }
        });

        await Eventually.HoldsAsync(async () => Assert.InRange(Assert.Single(Replicas(await FleetAsync(stack.Service))).GetProperty("rows_per_second").GetDouble(), 1, 60));
        stack.OwnRedis.Break();
        await Eventually.HoldsAsync(async () =>
        {
            var partition = Assert.Single(Replicas(await FleetAsync(stack.Service))).GetProperty("partitions")[0];
            Assert.True(partition.GetProperty("rows").GetInt64() > 10);
            Assert.True(partition.GetProperty("seconds").GetDouble() > 1);
        });
        await load.StopAsync();
        await Eventually.HoldsAsync(async () => Assert.Equal(0, Assert.Single(Replicas(await FleetAsync(stack.Service))).GetProperty("rows_per_second").GetDouble()));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task ForeignContentOfAnyKind_BreaksNothing(RedisKind kind)
    {
        await using var redis = kind == RedisKind.Real ? await RedisServer.StartAsync() : null;
        await using var stack = await InProcessStack.StartAsync(redis?.ConnectionString);
        await stack.ReadyAsync();
        var good = PublishedReplica.Encode(PublishedReplicaTests.State(3) with { Id = "good", Reasons = ["<b>\u2028 \"quoted\"\n"] });
        await PlantAsync(stack.Database, "good", good);
        await PlantAsync(stack.Database, "garbage", "PING"u8.ToArray());
        await PlantAsync(stack.Database, "huge", [.. good, .. new byte[3 * 1024 * 1024]]);
        await PlantAsync(stack.Database, new string('x', 5000), good);
        await stack.Database.HashSetAsync("cache:replica:hash", "a", 1);
        await stack.Database.SortedSetAddAsync("cache:replicas", [new("hash", double.PositiveInfinity), new("gone", 1e18), new(new byte[] { 0xff, 0, 10 }, 2e18)]);

        await Eventually.HoldsAsync(async () =>
        {
            var fleet = await FleetAsync(stack.Service);
            Assert.Equal(new[] { "good", Id(stack.Service) }.Order(StringComparer.Ordinal), Replicas(fleet).Select(replica => replica.GetProperty("id").GetString()));
            Assert.False(fleet.GetProperty("complete").GetBoolean());
            Assert.Equal("<b>\u2028 \"quoted\"\n", Replicas(fleet).Single(replica => replica.GetProperty("id").GetString() == "good").GetProperty("reasons")[0].GetString());
            var index = (await stack.Database.SortedSetRangeByRankAsync("cache:replicas")).Select(id => id.ToString()).ToList();
            Assert.DoesNotContain("gone", index);
            Assert.Contains(Id(stack.Service), index);
        });

        // Not even publishing.
        await stack.Database.KeyDeleteAsync("cache:replicas");
        await stack.Database.StringSetAsync("cache:replicas", "a text");
        await Eventually.HoldsAsync(async () => Assert.False((await FleetAsync(stack.Service)).GetProperty("complete").GetBoolean()));
        await Task.Delay(TimeSpan.FromSeconds(6), TestContext.Current.CancellationToken);
        await stack.ReadyAsync();
        await stack.Database.KeyDeleteAsync("cache:replicas");
        await Eventually.HoldsAsync(async () => Assert.Equal([Id(stack.Service)], (await stack.Database.SortedSetRangeByRankAsync("cache:replicas")).ToStringArray()), Soon);
    }

    [Fact]
    public async Task ReadersShareARead_AndMoreThanTheMaximumIsLeftOut()
    {
        await using var redis = await EmbeddedRedis.StartAsync();
        await using var client = await ConnectionMultiplexer.ConnectAsync(redis.ConnectionString);
        var watched = new Cache.Tests.Http.Query.WatchedRedis(client);
        var options = new Service.Options.CacheOptions();
        var store = new ReplicaStore(Service.Persist.RedisConnection.Over(watched.Client, options), new(options), TimeProvider.System);
        for (var number = 0; number <= ReplicaStore.MaxReplicas; number++)
        {
            await store.WriteAsync($"r{number:D3}", PublishedReplicaTests.State(2), TestContext.Current.CancellationToken);
        }

        var all = await store.ReadOthersAsync("r000");
        Assert.Equal((ReplicaStore.MaxReplicas, false), (all.Found.Count, all.Complete));
        await store.RemoveAsync("r007", TestContext.Current.CancellationToken);
        all = await store.ReadOthersAsync("r000");
        Assert.Equal((ReplicaStore.MaxReplicas - 1, true), (all.Found.Count, all.Complete));

        // Too many partitions in total.
        for (var number = 1; number <= 6; number++)
        {
            await store.WriteAsync($"r{number:D3}", PublishedReplicaTests.State(20_000), TestContext.Current.CancellationToken);
        }

        all = await store.ReadOthersAsync("r000");
        Assert.False(all.Complete);
        Assert.InRange(all.Found.Sum(replica => replica.Partitions.Count), 1, ReplicaStore.MaxPartitions);
    }

    [Fact]
    public async Task StateThatIsTooLarge_IsNotPublished()
    {
        await using var redis = await EmbeddedRedis.StartAsync();
        await using var client = await ConnectionMultiplexer.ConnectAsync(redis.ConnectionString);
        var options = new Service.Options.CacheOptions();
        var store = new ReplicaStore(Service.Persist.RedisConnection.Over(client, options), new(options), TimeProvider.System);

        await store.WriteAsync("r", PublishedReplicaTests.State(15_000, isBehind: true), TestContext.Current.CancellationToken);
        Assert.True(await client.GetDatabase().KeyExistsAsync("cache:replica:r"));
        await store.WriteAsync("s", PublishedReplicaTests.State(50_000, isBehind: true), TestContext.Current.CancellationToken);
        Assert.False(await client.GetDatabase().KeyExistsAsync("cache:replica:s"));
    }

    private static async Task PlantAsync(IDatabase database, string id, byte[] value)
    {
        await database.StringSetAsync($"cache:replica:{id}", value);
        await database.SortedSetAddAsync("cache:replicas", id, 3e18);
    }

    private static string Id(ServiceInProcess service) => service.Get<ThisReplica>().Id;

    private static Task<JsonElement> FleetAsync(ServiceInProcess service) => JsonOfAsync(service, "/fleet");

    private static async Task<JsonElement> JsonOfAsync(ServiceInProcess service, string route) => JsonElement.Parse(await service.Http.GetStringAsync(route));

    private static List<JsonElement> Replicas(JsonElement fleet) => [.. fleet.GetProperty("replicas").EnumerateArray()];

    private static IEnumerable<string> Owned(JsonElement replica) =>
        replica.GetProperty("partitions").EnumerateArray().Select(partition => $"{partition.GetProperty("topic")}/{partition.GetProperty("partition")}");
}
