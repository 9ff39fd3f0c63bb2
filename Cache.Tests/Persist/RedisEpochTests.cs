using Cache.Service.Partitions;
using StackExchange.Redis;

namespace Cache.Tests.Persist;

/// <summary>The epoch, which shows whether Redis still holds what was written: created, kept, lost, rebuilt.</summary>
public sealed class RedisEpochTests(RedisServers servers)
{
    // Its own id, and the run id of the server.
    private const string NewEpoch = "^[0-9a-f]{32}:[0-9a-f]{40}$";

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task MissingEpoch_IsCreated_AndPartitionsWithoutCommittedOffsetsNeedNoRebuild(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        var partition = Fresh(redis, 0);

        await redis.Epoch.CheckAsync();

        var id = Assert.Single(await NamesAsync(redis));
        Assert.Matches(NewEpoch, id);
        Assert.Equal(id, partition.CoveredEpoch);
        Assert.Null(redis.Rebuilds.Take());
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Name_IsAppendedOnce_AndOnlyAfterItsFirstCommit(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        var (first, second) = (Fresh(redis, 0), Fresh(redis, 1));
        await redis.Epoch.CheckAsync();
        Assert.Single(await NamesAsync(redis));

        first.Committed = 7;
        await redis.Epoch.CheckAsync();
        await redis.Epoch.CheckAsync();
        Assert.Equal(["event_metrics/0"], (await NamesAsync(redis))[1..]);

        second.Committed = 0;
        await redis.Epoch.CheckAsync();
        await redis.Epoch.CheckAsync();
        Assert.Equal(["event_metrics/0", "event_metrics/1"], (await NamesAsync(redis))[1..]);
        Assert.Null(redis.Rebuilds.Take());
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Name_IsNotAdded_ToAnEpochOtherThanTheOneChecked(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        var partition = Fresh(redis, 0);
        await redis.Epoch.CheckAsync();
        var seen = (await NamesAsync(redis))[0];
        partition.Committed = 7;

        // Redis has lost everything since, and another replica noticed first.
        await redis.Database.StringSetAsync(redis.Keys.Epoch, "another");
        await redis.Epoch.ObserveAsync(seen);

        Assert.Equal(["another"], await NamesAsync(redis));
        await redis.Epoch.CheckAsync();
        Assert.Equal([partition], redis.Rebuilds.Take()!.Partitions);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Name_OfAPartitionThatOthersMayOwn_IsNotAdded(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        Fresh(redis, 0).Committed = 7;
        redis.Membership.Proved(-1);
        await redis.Epoch.CheckAsync();
        Assert.Single(await NamesAsync(redis));

        redis.Membership.Proved(TimeProvider.System.GetTimestamp());
        await redis.Epoch.CheckAsync();
        Assert.Equal(["event_metrics/0"], (await NamesAsync(redis))[1..]);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task PartitionWithACommittedOffset_IsRebuilt_UnlessTheEpochListsIt(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        await redis.Database.StringSetAsync(redis.Keys.Epoch, "id event_metrics/1");
        var (unknown, covered) = (Resumed(redis, 0), Resumed(redis, 1));

        await redis.Epoch.CheckAsync();

        var request = redis.Rebuilds.Take();
        Assert.Equal("id", request!.Epoch);
        Assert.Equal([unknown], request.Partitions);
        Assert.Equal("id", covered.CoveredEpoch);
        Assert.Null(redis.Rebuilds.Take());

        // Every check requests it again until the partition is rewound.
        await redis.Epoch.CheckAsync();
        Assert.Equal([unknown], redis.Rebuilds.Take()!.Partitions);

        // Rewound, with its new start committed.
        redis.Assignment.Assign(new AssignedPartition(unknown.TopicPartition, unknown.Records) { CoveredEpoch = "id", Committed = 3 });
        await redis.Epoch.CheckAsync();
        await redis.Epoch.CheckAsync();
        Assert.Null(redis.Rebuilds.Take());
        Assert.Equal(["id", "event_metrics/1", "event_metrics/0"], await NamesAsync(redis));
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task DeletedEpoch_RebuildsEveryPartition_AndThoseAssignedLater(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        var (first, second) = (Fresh(redis, 0), Fresh(redis, 1));
        (first.Committed, second.Committed) = (1, 1);
        await redis.Epoch.CheckAsync();
        await redis.Epoch.CheckAsync();
        var before = await NamesAsync(redis);
        Assert.Equal(3, before.Length);

        await redis.Database.KeyDeleteAsync(redis.Keys.Epoch);
        await redis.Epoch.CheckAsync();

        var after = await NamesAsync(redis);
        Assert.NotEqual(before[0], Assert.Single(after));
        var request = redis.Rebuilds.Take()!;
        Assert.Equal((after[0], 2), (request.Epoch, request.Partitions.Count));
        var later = Resumed(redis, 2);
        await redis.Epoch.CheckAsync();
        Assert.Equal([first, second, later], redis.Rebuilds.Take()!.Partitions);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task ChangedEpoch_RebuildsExactlyThePartitionsItDoesNotList(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        var partitions = Enumerable.Range(0, 3).Select(number => Fresh(redis, number)).ToList();
        partitions.ForEach(partition => partition.Committed = 1);
        await redis.Epoch.CheckAsync();
        await redis.Epoch.CheckAsync();

        // Another replica has replaced the epoch and rebuilt one of them.
        await redis.Database.StringSetAsync(redis.Keys.Epoch, "another event_metrics/1");
        await redis.Epoch.CheckAsync();

        var request = redis.Rebuilds.Take()!;
        Assert.Equal("another", request.Epoch);
        Assert.Equal([partitions[0], partitions[2]], request.Partitions);
    }

    [Theory]
    [InlineData(RedisKind.Embedded, "")]
    [InlineData(RedisKind.Embedded, " event_metrics/0")]
    [InlineData(RedisKind.Real, "")]
    [InlineData(RedisKind.Real, " event_metrics/0")]
    public async Task InvalidEpoch_IsReplaced(RedisKind kind, string value)
    {
        var redis = await servers.StagesAsync(kind);
        var partition = Resumed(redis, 0);
        await redis.Database.StringSetAsync(redis.Keys.Epoch, value);

        await redis.Epoch.CheckAsync();

        var id = Assert.Single(await NamesAsync(redis));
        Assert.Matches(NewEpoch, id);
        Assert.Equal([partition], redis.Rebuilds.Take()!.Partitions);
    }

    // Not on the embedded server, which sometimes mistakes a key of another type for a missing one.
    [Fact]
    public async Task KeyOfAnotherTypeInItsPlace_IsReplacedWithTheNextWrite()
    {
        var redis = await servers.StagesAsync(RedisKind.Real);
        await redis.Epoch.CheckAsync();
        var partition = Resumed(redis, 0);
        await redis.Database.StringSetAsync(redis.Keys.Epoch, "another event_metrics/0");
        await redis.Epoch.CheckAsync();
        await redis.Database.KeyDeleteAsync(redis.Keys.Epoch);
        await redis.Database.ListLeftPushAsync(redis.Keys.Epoch, "somebody else's");

        await redis.Epoch.ObserveAsync((await redis.WriteAsync(TestRows.Event(1, "a", count: 1))).Epoch);

        Assert.Single(await NamesAsync(redis));
        Assert.Equal([partition], redis.Rebuilds.Take()!.Partitions);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task ValueReadBeforeAPartitionWasAssigned_DoesNotApplyToIt(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        await redis.Epoch.CheckAsync();
        var read = (await NamesAsync(redis))[0];

        // Its previous owner adds it after the read, and releases it.
        await redis.Database.StringSetAsync(redis.Keys.Epoch, $"{read} event_metrics/0");
        var partition = Resumed(redis, 0);
        await redis.Epoch.ObserveAsync(read);

        Assert.Null(redis.Rebuilds.Take());
        Assert.Null(partition.CoveredEpoch);
        Assert.True(redis.Epoch.IsStale);
        await redis.Epoch.CheckAsync();
        Assert.Null(redis.Rebuilds.Take());
        Assert.Equal(read, partition.CoveredEpoch);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task EpochThatAnotherReplicaCreatedMeanwhile_IsKept(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        Fresh(redis, 0);
        await redis.Database.StringSetAsync(redis.Keys.Epoch, "theirs");

        // We read the epoch before theirs was created.
        Assert.False(await redis.Epoch.ObserveAsync(RedisValue.Null));

        Assert.Equal(["theirs"], await NamesAsync(redis));
        Assert.Null(redis.Rebuilds.Take());
        Assert.True(redis.Epoch.IsStale);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task EpochOfAServerThatIsGone_IsReplaced_AndEveryPartitionRebuilt(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        await redis.Database.StringSetAsync(redis.Keys.Epoch, $"id:{new string('a', 40)} event_metrics/0");
        var partition = Resumed(redis, 0);

        await redis.Epoch.CheckAsync();

        Assert.Matches(NewEpoch, Assert.Single(await NamesAsync(redis)));
        Assert.Equal([partition], redis.Rebuilds.Take()!.Partitions);
    }

    [Fact]
    public async Task EpochOfAServerWithoutARunId_IsOnlyAnId()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString + ",allowAdmin=true");
        await client.GetDatabase().ExecuteAsync("ACL", "SETUSER", "default", "-info", "-script");
        var redis = new RedisStages(client);
        Fresh(redis, 0).Committed = 1;

        await redis.Epoch.CheckAsync();
        await redis.Epoch.CheckAsync();

        var names = await NamesAsync(redis);
        Assert.Matches("^[0-9a-f]{32}$", names[0]);
        Assert.Equal(["event_metrics/0"], names[1..]);
        Assert.True(await redis.Epoch.ObserveAsync(string.Join(' ', names)));
    }

    [Fact]
    public async Task EpochOfAServerThatHidesItsRunId_HasAScriptCacheMark_ThatEveryReplicaFinds()
    {
        await using var server = await RedisServer.StartAsync();
        await using var client = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString + ",allowAdmin=true");
        await client.GetDatabase().ExecuteAsync("ACL", "SETUSER", "default", "-info");
        var redis = new RedisStages(client, prefix: "");
        Fresh(redis, 0).Committed = 1;
        await redis.Epoch.CheckAsync();
        var epoch = (await NamesAsync(redis))[0];
        Assert.Matches("^[0-9a-f]{32}:[0-9a-f]{32}$", epoch);

        var other = new RedisStages(client, prefix: "");
        var partition = Resumed(other, 0);
        await other.Epoch.CheckAsync();
        Assert.Equal((epoch, "script_cache"), ((await NamesAsync(other))[0], other.Epoch.RestartsSeenBy));
        other.Rebuilds.Take();

        // An earlier epoch says nothing about this run; neither does this one once the scripts are gone.
        foreach (var old in new[] { "before event_metrics/0", (string?)await client.GetDatabase().StringGetAsync("cache:epoch") })
        {
            await client.GetDatabase().StringSetAsync("cache:epoch", old);
            await client.GetDatabase().ExecuteAsync("SCRIPT", "FLUSH");
            other = new RedisStages(client, prefix: "");
            partition = Resumed(other, 0);
            await other.Epoch.CheckAsync();
            await other.Epoch.CheckAsync();
            Assert.Equal([partition], other.Rebuilds.Take()?.Partitions);
            Assert.NotEqual(epoch, (await NamesAsync(other))[0]);
        }
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task RenewedEpoch_RebuildsEveryPartition_Once(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        var partition = Fresh(redis, 0);
        partition.Committed = 1;
        await redis.Epoch.CheckAsync();
        await redis.Epoch.CheckAsync();
        var before = await NamesAsync(redis);
        Assert.False(redis.Epoch.IsStale);

        redis.Epoch.Renew();
        Assert.True(redis.Epoch.IsStale);
        await redis.Epoch.CheckAsync();

        Assert.NotEqual(before[0], Assert.Single(await NamesAsync(redis)));
        Assert.Equal([partition], redis.Rebuilds.Take()!.Partitions);
        Assert.False(redis.Epoch.IsStale);
    }

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task Epoch_IsStale_UntilItIsChecked_AndAfterEachRebalance(RedisKind kind)
    {
        var redis = await servers.StagesAsync(kind);
        Assert.True(redis.Epoch.IsStale);
        await redis.Epoch.CheckAsync();
        Assert.False(redis.Epoch.IsStale);

        Fresh(redis, 0);
        Assert.True(redis.Epoch.IsStale);
        await redis.Epoch.CheckAsync();
        Assert.False(redis.Epoch.IsStale);
    }

    /// <summary>A partition that started without a committed offset.</summary>
    private static AssignedPartition Fresh(RedisStages redis, int number) => Taken(redis, number, AssignedPartition.AnyEpoch);

    /// <summary>A partition that resumed from a committed offset.</summary>
    private static AssignedPartition Resumed(RedisStages redis, int number) => Taken(redis, number, null);

    private static AssignedPartition Taken(RedisStages redis, int number, string? epoch)
    {
        var partition = TestRows.Partition(number);
        partition.CoveredEpoch = epoch;
        redis.Assignment.Assign(partition);
        return partition;
    }

    private static async Task<string[]> NamesAsync(RedisStages redis) =>
        (await redis.Database.StringGetAsync(redis.Keys.Epoch)).ToString().Split(' ');
}
