using Cache.Tests.EndToEnd;

namespace Cache.Tests.Faults;

/// <summary>A primary with a replica, and a service that knows both addresses.</summary>
public sealed class RedisFailoverTests
{
    [Fact]
    public Task ReplicaPromotedInPlannedFailover_IsWrittenTo() => FaultAlone.BreaksNoPromiseAsync(
        new("the replica takes over in good order", FaultOf.Redis, 0, (run, _) => run.LoseAsync(async () =>
        {
            var (primary, replica) = (run.Redis.Servers[0], run.Redis.Servers[1]);
            await run.Redis.ExecuteAsync(primary, "FAILOVER", "TO", "127.0.0.1", $"{replica.Port}");
            await Eventually.HoldsAsync(async () =>
            {
                Assert.Contains("role:master", await run.Redis.InfoAsync(replica));
                Assert.Contains("role:slave", await run.Redis.InfoAsync(primary));
            });
        })),
        seed: 1, RedisGroup.StartPairAsync);

    [Fact]
    public Task PrimaryKilledAndReplicaPromoted_HasInTheEndWhatTheReplicaHadNotGotYet() => FaultAlone.BreaksNoPromiseAsync(
        new("the primary dies, the replica takes over", FaultOf.Redis, 0, (run, _) => run.LoseAsync(async () =>
        {
            var (primary, replica) = (run.Redis.Servers[0], run.Redis.Servers[1]);

            // For a while the replica is disconnected, and the service keeps writing.
            await run.Redis.ExecuteAsync(replica, "REPLICAOF", "127.0.0.1", "1");
            await Task.Delay(500);
            primary.Kill();
            await run.Redis.PromoteAsync(replica);
            await Task.Delay(500);
            await primary.RestartFromDiskAsync("--replicaof", "127.0.0.1", $"{replica.Port}");
        })),
        seed: 3, RedisGroup.StartPairAsync);
}
