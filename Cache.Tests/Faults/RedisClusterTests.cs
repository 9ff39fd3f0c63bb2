namespace Cache.Tests.Faults;

/// <summary>A cluster of three nodes.</summary>
public sealed class RedisClusterTests
{
    [Fact]
    public Task NodeThatIsDownForAWhile_HoldsUpAndLosesNothing() => FaultAlone.BreaksNoPromiseAsync(
        new("a node is down for a while", FaultOf.Redis, 0, async (run, _) =>
        {
            run.Redis.Servers[1].Freeze();

            // The other nodes notice: until it is back, the cluster refuses everything.
            await EndToEnd.Eventually.HoldsAsync(async () => Assert.Contains(
                "cluster_state:fail", (await run.Redis.ExecuteAsync(run.Redis.Servers[0], "CLUSTER", "INFO")).ToString()));
            await Task.Delay(1000);
            run.Redis.Servers[1].Thaw();
            await run.Redis.ClusterIsOkAsync();
        }),
        seed: 3, RedisGroup.StartClusterAsync);

    [Theory]
    [InlineData("cache:epoch")]
    [InlineData("metrics:event:windows")]
    public Task SlotMovedToAnotherNode_HoldsUpAndLosesNothing(string key) => FaultAlone.BreaksNoPromiseAsync(
        new($"the slot of {key} moves", FaultOf.Redis, 0, async (run, _) =>
        {
            await Task.Delay(500);
            await run.Redis.MoveSlotAsync(key);
            await Task.Delay(500);
        }),
        seed: 4, RedisGroup.StartClusterAsync);

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    public Task NodeRestartedEmpty_GetsItsWindowsBack_WhicheverItIs(int node) => FaultAlone.BreaksNoPromiseAsync(
        new($"node {node} comes back empty", FaultOf.Redis, 0, (run, _) => run.LoseAsync(async () =>
        {
            await Task.Delay(500);
            run.Redis.Servers[node].Kill();
            await run.Redis.Servers[node].RestartFromDiskAsync();
            await run.Redis.ClusterIsOkAsync();
        })),
        seed: 5 + node, RedisGroup.StartClusterAsync);
}
