using System.Net;
using System.Net.Sockets;
using Cache.Embedded;
using StackExchange.Redis;

namespace Cache.Tests.Embedded;

public sealed class EmbeddedRedisTests
{
    private static readonly TimeSpan Deadline = TestTimeout.Full;

    [Theory]
    [InlineData(RedisProtocol.Resp2)]
    [InlineData(RedisProtocol.Resp3)]
    public async Task Hashes_SetManyFieldsKeepTheOthersAndExpire(RedisProtocol protocol)
    {
        await using var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        await using var client = await ConnectAsync(redis, protocol);
        var db = client.GetDatabase();

        await db.HashSetAsync("h", [new("a", 1), new("b", "0.25")]);
        await db.HashSetAsync("h", [new("b", "0.5"), new("c", long.MaxValue)]);
        Assert.True(await db.KeyExpireAsync("h", TimeSpan.FromSeconds(100)));

        Assert.Equal(
            new Dictionary<string, string> { ["a"] = "1", ["b"] = "0.5", ["c"] = "9223372036854775807" },
            (await db.HashGetAllAsync("h")).ToStringDictionary());
        Assert.InRange((await db.KeyTimeToLiveAsync("h"))!.Value, TimeSpan.FromSeconds(90), TimeSpan.FromSeconds(100));
        Assert.Empty(await db.HashGetAllAsync("none"));
        Assert.False(await db.KeyExpireAsync("none", TimeSpan.FromSeconds(1)));
        Assert.True(await db.HashDeleteAsync("h", "a"));
    }

    [Fact]
    public async Task Expiry_RemovesTheKey()
    {
        await using var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        await using var client = await ConnectAsync(redis);
        var db = client.GetDatabase();
        await db.HashSetAsync("h", [new("a", 1)]);
        await db.KeyExpireAsync("h", TimeSpan.FromMilliseconds(50));

        await EventuallyAsync(async () => !await db.KeyExistsAsync("h"));

        Assert.Empty(await db.HashGetAllAsync("h"));
        await db.HashSetAsync("h", [new("b", 2)]);
        Assert.Null(await db.KeyTimeToLiveAsync("h"));
    }

    [Theory]
    [InlineData(RedisProtocol.Resp2)]
    [InlineData(RedisProtocol.Resp3)]
    public async Task SortedSets_RangeByRankAndScoreFromBothEnds(RedisProtocol protocol)
    {
        await using var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        await using var client = await ConnectAsync(redis, protocol);
        var db = client.GetDatabase();
        await db.SortedSetAddAsync("z", [.. Enumerable.Range(1, 9).Select(i => Entry(1710000000000 + (i * 60000)))]);
        Assert.False(await db.SortedSetAddAsync("z", 1710000060000, 1710000060000));

        Assert.Equal(9, await db.SortedSetLengthAsync("z"));
        AssertMembers([1710000060000, 1710000120000], await db.SortedSetRangeByRankAsync("z", 0, 1));
        AssertMembers([1710000540000, 1710000480000], await db.SortedSetRangeByRankAsync("z", 0, 1, Order.Descending));
        AssertMembers([1710000060000, 1710000120000], await db.SortedSetRangeByRankAsync("z", 0, -8));
        AssertMembers(
            [1710000420000, 1710000360000],
            await db.SortedSetRangeByScoreAsync("z", 1710000000001, 1710000480000, Exclude.None, Order.Descending, 1, 2));
        AssertMembers(
            [1710000180000],
            await db.SortedSetRangeByScoreAsync("z", 1710000120000, 1710000240000, Exclude.Both));
        AssertMembers(
            [1710000540000, 1710000480000],
            (RedisValue[])(await db.ExecuteAsync("ZRANGE", "z", "+inf", "-inf", "BYSCORE", "REV", "LIMIT", 0, 2))!);
        AssertMembers(
            [1710000540000, 1710000480000],
            (RedisValue[])(await db.ExecuteAsync("ZREVRANGEBYSCORE", "z", "+inf", "-inf", "LIMIT", 0, 2))!);
        var scored = await db.SortedSetRangeByRankWithScoresAsync("z", 0, 0, Order.Descending);
        Assert.Equal(1710000540000d, Assert.Single(scored).Score);
        Assert.Equal(2, await db.SortedSetRemoveAsync("z", [1710000060000, 1710000120000, 5]));
        Assert.Equal(2, await db.SortedSetRemoveRangeByRankAsync("z", 0, 1));
        Assert.Equal(1, await db.SortedSetRemoveRangeByScoreAsync("z", double.NegativeInfinity, 1710000300000));
        Assert.Equal(4, await db.SortedSetLengthAsync("z"));
        Assert.Empty(await db.SortedSetRangeByRankAsync("none", 0, -1, Order.Descending));
    }

    [Theory]
    [InlineData(RedisProtocol.Resp2)]
    [InlineData(RedisProtocol.Resp3)]
    public async Task Strings_SetWhenAbsentGetAppendDelete(RedisProtocol protocol)
    {
        await using var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        await using var client = await ConnectAsync(redis, protocol);
        var db = client.GetDatabase();

        Assert.True(await db.StringSetAsync("s", "one", when: When.NotExists));
        Assert.False(await db.StringSetAsync("s", "two", when: When.NotExists));
        Assert.Equal("one", await db.StringGetAsync("s"));
        Assert.Equal(5, await db.StringAppendAsync("s", "++"));
        Assert.Equal("one++", await db.StringGetAsync("s"));
        Assert.Equal(2, await db.StringAppendAsync("new", "ab"));
        Assert.Equal(2, await db.KeyDeleteAsync(["s", "new", "none"]));
        Assert.True((await db.StringGetAsync("s")).IsNull);
        Assert.True(await db.PingAsync() < Deadline);
    }

    [Theory]
    [InlineData(RedisProtocol.Resp2)]
    [InlineData(RedisProtocol.Resp3)]
    public async Task PublishedMessages_ReachSubscribersInOrder(RedisProtocol protocol)
    {
        await using var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        await using var publisher = await ConnectAsync(redis, protocol);
        await using var subscriber = await ConnectAsync(redis, protocol);
        var queue = await subscriber.GetSubscriber().SubscribeAsync(RedisChannel.Literal("cache:updates"));

        for (var i = 0; i < 10; i++)
        {
            Assert.Equal(1, await publisher.GetDatabase().PublishAsync(RedisChannel.Literal("cache:updates"), $"{{\"n\":{i}}}"));
        }

        for (var i = 0; i < 10; i++)
        {
            var message = await queue.ReadAsync(Cancelled).AsTask().WaitAsync(Deadline, Cancelled);
            Assert.Equal($"{{\"n\":{i}}}", message.Message);
        }
    }

    [Fact]
    public async Task WrongType_FailsThatCommandOnlyInAPipeline()
    {
        await using var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        await using var client = await ConnectAsync(redis);
        var db = client.GetDatabase();
        await db.StringSetAsync("s", "x");
        await db.HashSetAsync("h", [new("a", 1)]);
        await db.SortedSetAddAsync("z", "m", 1);

        var batch = db.CreateBatch();
        Task[] failing =
        [
            batch.HashSetAsync("s", [new("a", 1)]), batch.SortedSetAddAsync("h", "m", 1), batch.HashGetAllAsync("z"),
            batch.SortedSetRangeByRankAsync("h"),
        ];
        var good = batch.HashGetAllAsync("h");
        batch.Execute();

        foreach (var task in failing)
        {
            var e = await Assert.ThrowsAsync<RedisServerException>(() => task);
            Assert.StartsWith("WRONGTYPE", e.Message, StringComparison.Ordinal);
        }

        Assert.Single(await good);
    }

    [Fact]
    public async Task Hello3_AnswersWithRedisVersion7OrNewer()
    {
        await using var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        await using var client = await ConnectAsync(redis, RedisProtocol.Resp3);

        var server = client.GetServer(client.GetEndPoints()[0]);

        Assert.Equal(RedisProtocol.Resp3, server.Protocol);
        Assert.True(server.Version >= new Version(7, 0), $"{server.Version}");
        Assert.Equal(ServerType.Standalone, server.ServerType);
    }

    [Fact]
    public async Task FlushDatabase_EmptiesIt()
    {
        await using var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        await using var client = await ConnectAsync(redis, admin: true);
        var db = client.GetDatabase();
        await db.StringSetAsync("s", "x");

        await client.GetServer(client.GetEndPoints()[0]).FlushDatabaseAsync();

        Assert.False(await db.KeyExistsAsync("s"));
    }

    [Fact]
    public async Task Databases_AreApart()
    {
        await using var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        await using var client = await ConnectAsync(redis);

        await client.GetDatabase(3).StringSetAsync("s", "three");

        Assert.True((await client.GetDatabase(0).StringGetAsync("s")).IsNull);
        Assert.Equal("three", await client.GetDatabase(3).StringGetAsync("s"));
    }

    [Fact]
    public async Task Password_IsRequired()
    {
        await using var redis = await EmbeddedRedis.StartAsync(password: "s3cret word", cancellationToken: Cancelled);
        await using var client = await ConnectAsync(redis);
        await client.GetDatabase().StringSetAsync("s", "x");

        await Assert.ThrowsAnyAsync<RedisConnectionException>(
            async () => await ConnectionMultiplexer.ConnectAsync(
                $"127.0.0.1:{redis.Port},password=wrong,connectTimeout=1000,connectRetry=1"));
        using var bare = new TcpClient("127.0.0.1", redis.Port);
        await using var wire = bare.GetStream();
        await wire.WriteAsync("*2\r\n$3\r\nGET\r\n$1\r\ns\r\n"u8.ToArray(), Cancelled);
        using var reader = new StreamReader(wire);
        var answer = await reader.ReadLineAsync(Cancelled).AsTask().WaitAsync(Deadline, Cancelled);
        Assert.StartsWith("-NOAUTH", answer, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Break_CutsConnections_MendStartsEmptyOnTheSamePort()
    {
        await using var redis = await EmbeddedRedis.StartAsync(password: "pw", cancellationToken: Cancelled);
        var port = redis.Port;
        await using var client = await ConnectAsync(redis, failFast: true);
        var db = client.GetDatabase();
        await db.StringSetAsync("s", "x");

        for (var i = 0; i < 3; i++)
        {
            redis.Break();
            redis.Break();
            await Assert.ThrowsAnyAsync<Exception>(() => db.StringGetAsync("s"));
            Assert.Throws<SocketException>(() => new TcpClient("127.0.0.1", port).Dispose());

            redis.Mend();
            redis.Mend();
            Assert.Equal(port, redis.Port);
            await EventuallyAsync(async () => (await db.StringGetAsync("s")).IsNull);
            await db.StringSetAsync("s", "x");
        }
    }

    [Fact]
    public async Task PortInUse_IsRefusedWithThePortAndTheWayOut()
    {
        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        var port = ((IPEndPoint)other.LocalEndpoint).Port;

        var e = await Assert.ThrowsAsync<IOException>(() => EmbeddedRedis.StartAsync(port, cancellationToken: Cancelled));

        Assert.Contains($"Port {port} is in use", e.Message, StringComparison.Ordinal);
        Assert.Contains("--redis_port", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task PortOfAnotherEmbeddedRedis_IsRefused()
    {
        await using var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);

        await Assert.ThrowsAsync<IOException>(() => EmbeddedRedis.StartAsync(redis.Port, cancellationToken: Cancelled));
    }

    [Fact]
    public async Task TwoServers_KnowNothingOfEachOther()
    {
        await using var one = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        await using var other = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        await using var toOne = await ConnectAsync(one);
        await using var toOther = await ConnectAsync(other);

        await toOne.GetDatabase().StringSetAsync("s", "one");

        Assert.False(await toOther.GetDatabase().KeyExistsAsync("s"));
        one.Break();
        Assert.False(await toOther.GetDatabase().KeyExistsAsync("s"));
    }

    [Fact]
    public async Task ManyDeletedWindows_DoNotPushOutAKeyWrittenOnce()
    {
        await using var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        await using var client = await ConnectAsync(redis);
        var db = client.GetDatabase();
        await db.StringSetAsync("cache:epoch", "first");
        HashEntry[] fields = [.. Enumerable.Range(0, 50).Select(i => new HashEntry($"dimension-{i}.avg_load_time", "123.456"))];

        const int Windows = 60_000; // about 400 MB written, were nothing taken again
        const int Kept = 120;
        for (var i = 0; i < Windows; i += 500)
        {
            var batch = db.CreateBatch();
            var tasks = new List<Task>();
            for (var window = i; window < i + 500; window++)
            {
                tasks.Add(batch.HashSetAsync($"w:{window}", fields));
                tasks.Add(batch.KeyExpireAsync($"w:{window}", TimeSpan.FromHours(6)));
                tasks.Add(batch.KeyDeleteAsync($"w:{window - Kept}"));
            }

            batch.Execute();
            await Task.WhenAll(tasks);
        }

        Assert.Equal("first", await db.StringGetAsync("cache:epoch"));
        Assert.Equal(50, await db.HashLengthAsync($"w:{Windows - Kept}"));
    }

    [Fact]
    public async Task NoFilesAreLeftBehind()
    {
        var before = Directory.GetFileSystemEntries(Directory.GetCurrentDirectory());
        await using (var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled))
        {
            await using var client = await ConnectAsync(redis);
            await client.GetDatabase().StringSetAsync("s", "x");
        }

        Assert.Equal(before, Directory.GetFileSystemEntries(Directory.GetCurrentDirectory()));
    }

    [Fact]
    public async Task Dispose_IsSafeTwice_AndLaterCallsSaySo()
    {
        var redis = await EmbeddedRedis.StartAsync(cancellationToken: Cancelled);
        redis.Break();

        await redis.DisposeAsync();
        await redis.DisposeAsync();

        Assert.Throws<ObjectDisposedException>(redis.Mend);
        Assert.Throws<ObjectDisposedException>(redis.Break);
    }

    [Fact]
    public async Task ArgumentsOutOfRange_AreRefused()
    {
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => EmbeddedRedis.StartAsync(-1));
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => EmbeddedRedis.StartAsync(65536));
        await Assert.ThrowsAsync<ArgumentException>(() => EmbeddedRedis.StartAsync(password: "a,b"));
        await Assert.ThrowsAsync<ArgumentException>(() => EmbeddedRedis.StartAsync(password: ""));
    }

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    private static async Task<ConnectionMultiplexer> ConnectAsync(
        EmbeddedRedis redis, RedisProtocol protocol = RedisProtocol.Resp3, bool admin = false, bool failFast = false)
    {
        var options = ConfigurationOptions.Parse(redis.ConnectionString);
        options.Protocol = protocol;
        options.AllowAdmin = admin;
        options.ReconnectRetryPolicy = new LinearRetry(50);
        // When failing fast, the client may refuse to subscribe right after connecting.
        options.BacklogPolicy = failFast ? BacklogPolicy.FailFast : BacklogPolicy.Default;
        return await ConnectionMultiplexer.ConnectAsync(options);
    }

    private static SortedSetEntry Entry(long value) => new(value, value);

    private static void AssertMembers(long[] expected, RedisValue[] actual) =>
        Assert.Equal(expected, Array.ConvertAll(actual, static value => (long)value));

    private static async Task EventuallyAsync(Func<Task<bool>> condition)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(Cancelled);
        deadline.CancelAfter(Deadline);
        while (true)
        {
            try
            {
                if (await condition())
                {
                    return;
                }
            }
            catch (RedisException) when (!deadline.IsCancellationRequested)
            {
                // Not back yet.
            }

            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, deadline.Token);
        }
    }
}
