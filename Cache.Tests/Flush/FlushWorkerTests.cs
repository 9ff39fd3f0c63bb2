using System.Text;
using Cache.Embedded;
using Cache.Metrics;
using Cache.Service.Consume;
using Cache.Service.Enqueue;
using Cache.Service.Flush;
using Cache.Service.Hosting;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Service.Telemetry;
using Cache.Tests.Consume;
using Cache.Tests.EndToEnd;
using Cache.Tests.Http.Query;
using Cache.Tests.Persist;
using Cache.Tests.Simulation;
using Confluent.Kafka;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;
using StackExchange.Redis;
using Proxy = Cache.Tests.Simulation.Proxy;

namespace Cache.Tests.Flush;

/// <summary>The worker between its queue and Redis, by a clock that the test moves. (Faults in every order: the simulation.)</summary>
public sealed class FlushWorkerTests(RedisServers servers)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    // Long enough for the worker to do what it should not.
    private static readonly TimeSpan Aside = TimeSpan.FromMilliseconds(100);

    [Fact]
    public async Task RowsInTheQueue_AreWritten_ThoughNoTimePasses()
    {
        await using var flush = await StartAsync();
        var partition = flush.Take(0);
        partition.StartAt(5);
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(partition, 5), TestRows.Event(2, "a", count: 2).At(partition, 6), Row.Skip.At(partition, 9));

        await flush.DrainedAsync();

        Assert.Equal(10, partition.Written);
        Assert.Equal(new() { ["a.count"] = "2" }, await flush.Redis.HashAsync(2));
        Assert.Equal((3, 2), (flush.Metrics.LastFlush!.Rows, flush.Metrics.LastFlush.Windows));
        Assert.Equal(0, flush.Counters["cache.redis.batch.errors"]);
    }

    [Fact]
    public async Task RowsAtHand_AreAwaited_AndWrittenTogether()
    {
        await using var flush = await StartAsync();
        var partition = flush.Take(0);
        flush.Enqueue(moreComes: true, TestRows.Event(1, "a", count: 1).At(partition, 0));
        await flush.HoldsAsync(() => Assert.Equal(0, flush.Waiting), advances: false);

        flush.Enqueue(moreComes: false, TestRows.Event(1, "a", count: 2).At(partition, 1));
        await flush.HoldsAsync(() => Assert.Equal(2, partition.Written), advances: false);

        Assert.Equal(2, flush.Metrics.LastFlush!.Rows);
    }

    [Fact]
    public async Task RowsAtHand_ThatDoNotCome_AreAwaitedOnlyBriefly()
    {
        await using var flush = await StartAsync();
        var partition = flush.Take(0);
        flush.Enqueue(moreComes: true, TestRows.Event(1, "a", count: 1).At(partition, 0));

        await flush.HoldsAsync(() => Assert.Equal(1, partition.Written));
    }

    [Fact]
    public async Task Moment_IsTenMilliseconds()
    {
        await using var flush = await StartAsync();
        var partition = flush.Take(0);
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(partition, 0));
        await flush.DrainedAsync();

        flush.Enqueue(moreComes: true, TestRows.Event(1, "a", count: 2).At(partition, 1));
        await flush.HoldsAsync(() => Assert.Equal(0, flush.Waiting), advances: false);
        await Task.Delay(Aside);
        flush.Time.Advance(TimeSpan.FromMilliseconds(9));
        await Task.Delay(Aside);
        Assert.Equal(1, partition.Written);

        flush.Time.Advance(TimeSpan.FromMilliseconds(1));
        await flush.HoldsAsync(() => Assert.Equal(2, partition.Written), advances: false);
    }

    [Fact]
    public async Task RowsAtHand_AreNotAwaited_OnceTheQueueIsComplete()
    {
        await using var flush = await StartAsync();
        var partition = flush.Take(0);
        flush.Enqueue(moreComes: true, TestRows.Event(1, "a", count: 1).At(partition, 0));
        await flush.HoldsAsync(() => Assert.Equal(0, flush.Waiting), advances: false);

        await flush.EndsAsync();

        Assert.Equal(1, partition.Written);
    }

    [Fact]
    public async Task BatchThatIsDue_TakesNoMoreRows_WhileAnotherIsOnTheWire()
    {
        await using var flush = await StartOnServerAsync();
        var partition = flush.Take(0);
        flush.Enqueue(TestRows.Event(1, "a", count: 0).At(partition, 0));
        await flush.DrainedAsync();
        flush.Server.Freeze();
        for (var offset = 1; offset <= 2; offset++)
        {
            flush.Enqueue(TestRows.Event(1, "a", count: offset).At(partition, offset));
            await flush.HoldsAsync(() => Assert.Equal(0, flush.Waiting), advances: false);
            await Task.Delay(Aside);
        }

        // The worker wakes for the third row, and takes it; the fourth stays.
        flush.Time.Advance(TimeSpan.FromMilliseconds(flush.Redis.Options.CommitIntervalMs));
        flush.Enqueue(TestRows.Event(1, "a", count: 3).At(partition, 3));
        await flush.HoldsAsync(() => Assert.Equal(0, flush.Waiting), advances: false);
        await Task.Delay(Aside);
        flush.Enqueue(TestRows.Event(1, "a", count: 4).At(partition, 4));
        await Task.Delay(Aside);
        Assert.Equal(1, flush.Waiting);

        flush.Server.Thaw();
        await flush.HoldsAsync(() => Assert.Equal(5, partition.Written), advances: false);
    }

    [Fact]
    public async Task BatchThatIsDueWhileRowsStreamIn_IsCutThere()
    {
        await using var flush = await StartAsync();
        var partition = flush.Take(0);
        flush.Enqueue(TestRows.Event(1, "a", count: 0).At(partition, 0));
        await flush.DrainedAsync();

        // The clock is read when the worker comes to the rows, and with each 256 of them.
        flush.Time.JumpAtRead(2, TimeSpan.FromMilliseconds(flush.Redis.Options.CommitIntervalMs));
        flush.Enqueue(Enumerable.Range(1, 1000).Select(offset => TestRows.Event(1, "a", count: offset).At(partition, offset)));
        await flush.HoldsAsync(() => Assert.Equal(1001, partition.Written), advances: false);

        Assert.Equal(1000 - 256, flush.Metrics.LastFlush!.Rows);
    }

    [Fact]
    public async Task SessionsAlone_AreWrittenToo()
    {
        await using var flush = await StartAsync();
        var end = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        flush.Enqueue(TestRows.Session("s", end).At(flush.Take(0), 0));

        await flush.DrainedAsync();

        Assert.Equal(end, (long)await flush.Redis.Database.HashGetAsync(flush.Redis.Keys.Session("s"), "end_time"));
        Assert.Equal((1, 0), (flush.Metrics.LastFlush!.Rows, flush.Metrics.LastFlush.Windows));
    }

    [Fact]
    public async Task RowsWithoutAWindow_DoNotCountAsAWrite_AndAreCompletedAllTheSame()
    {
        await using var flush = await StartAsync();
        var partition = flush.Take(0);
        flush.Enqueue(Row.Skip.At(partition, 0), Row.Skip.At(partition, 1));

        await flush.DrainedAsync();

        Assert.Equal(2, partition.Written);
        Assert.Null(flush.Metrics.LastFlush);
    }

    [Fact]
    public async Task FullCommitBatch_IsCommitted_WhenItIsWritten()
    {
        await using var flush = await StartAsync();
        var partition = flush.Take(0);
        var rows = flush.Redis.Options.CommitBatchSize;
        flush.Enqueue(Enumerable.Range(0, rows).Select(offset => TestRows.Event(1, "a", count: offset).At(partition, offset)));

        // The clock stands still: only the number of rows can be the reason.
        await flush.HoldsAsync(() => Assert.Equal(rows, partition.Committed), advances: false);
    }

    [Fact]
    public async Task RefusedBatch_IsRetriedAndCounted_AndCountsAsWrittenOnlyOnceItIs()
    {
        await using var flush = await StartOnServerAsync();
        var partition = flush.Take(0);
        partition.StartAt(0);
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(partition, 0));
        await flush.DrainedAsync();

        await flush.Redis.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "1");
        flush.Enqueue(TestRows.Event(1, "a", count: 2).At(partition, 1));
        await flush.HoldsAsync(() => Assert.InRange(flush.Counters["cache.redis.batch.errors"], 3, int.MaxValue));
        Assert.Equal((1, 1), (partition.Written, flush.Metrics.LastFlush!.Rows));
        Assert.Equal((1, 0), (flush.Logged("Redis did not accept a batch: OOM"), flush.Logged("Redis accepted the batch")));
        flush.Enqueue(TestRows.Event(1, "b", count: 1).At(partition, 2), TestRows.Event(1, "b", count: 2).At(partition, 3));

        await flush.Redis.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "0");
        await flush.HoldsAsync(() => Assert.Equal(4, partition.Written));
        Assert.Equal(new() { ["a.count"] = "2", ["b.count"] = "2" }, await flush.Redis.HashAsync(1));

        // What came meanwhile was one batch.
        Assert.Equal(2, flush.Metrics.LastFlush!.Rows);
        Assert.Equal((4, 3), (flush.Counters["cache.batch.rows"], flush.Counters["cache.batch.windows"]));
        Assert.Equal((1, 1), (flush.Logged("Redis did not accept a batch"), flush.Logged($"Redis accepted the batch after {flush.Counters["cache.redis.batch.errors"]} failures")));
    }

    [Fact]
    public async Task WaitingBatch_IsLoggedEvery30Seconds_AndThenMakesTheServiceNotReady()
    {
        await using var flush = await StartOnServerAsync();
        var partition = flush.Take(0);
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(partition, 0));
        await flush.DrainedAsync();
        await flush.Redis.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "1");
        flush.Enqueue(TestRows.Event(1, "a", count: 2).At(partition, 1));
        await flush.HoldsAsync(() => Assert.Equal(1, flush.Logged("Redis did not accept a batch: OOM")), advances: false);
        Assert.Null(flush.Retry.Obstacle);

        await flush.HoldsAsync(() => Assert.Equal(2, flush.Logged("Redis has not accepted a batch for")));
        Assert.Equal(1, flush.Logged("Redis did not accept a batch"));
        Assert.StartsWith("Redis has not accepted a batch for ", flush.Retry.Obstacle, StringComparison.Ordinal);
        Assert.Contains("s: OOM", flush.Retry.Obstacle, StringComparison.Ordinal);

        await flush.Redis.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "0");
        await flush.HoldsAsync(() => Assert.Equal(2, partition.Written));
        Assert.Null(flush.Retry.Obstacle);
        Assert.False(flush.IsStopped);
    }

    [Fact]
    public async Task UnknownReply_IsRetried_AndMakesTheServiceNotReadyAtOnce()
    {
        var redis = new WatchedRedis(await servers.ConnectAsync(RedisKind.Embedded));
#pragma warning disable CS0618 // The client alone is to make one; a test has to.
        redis.Before(nameof(IDatabase.StringGetAsync), () => throw new RedisServerException("ERR something that nobody knows"));
#pragma warning restore CS0618
        await using var flush = await StartAsync(redis.Client);
        var partition = flush.Take(0);
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(partition, 0));

        await flush.HoldsAsync(() => Assert.Contains("ERR something that nobody knows", flush.Retry.Obstacle, StringComparison.Ordinal), advances: false);
        await flush.HoldsAsync(() => Assert.Equal(1, flush.Logged("Redis did not accept a batch because of an unknown error: ERR something that nobody knows")), advances: false);

        redis.Before(nameof(IDatabase.StringGetAsync), () => Task.CompletedTask);
        await flush.HoldsAsync(() => Assert.Equal(1, partition.Written));
        Assert.Null(flush.Retry.Obstacle);
        Assert.False(flush.IsStopped);
    }

    [Fact]
    public async Task DefectOfTheService_StopsIt_WithItsStack_AndIsNotRetried()
    {
        var redis = new WatchedRedis(await servers.ConnectAsync(RedisKind.Embedded));
        redis.Before(nameof(IDatabase.StringGetAsync), () => throw new InvalidCastException("planted"));
        await using var flush = await StartAsync(redis.Client);
        var partition = flush.Take(0);
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(partition, 0));

        await flush.HoldsAsync(() => Assert.True(flush.IsStopped), advances: false);

        Assert.Equal((1, -1), (flush.Fatal.ExitCode, partition.Written));
        Assert.Equal(1, flush.Logged("The flush worker failed; the service stops with exit code 1. System.InvalidCastException: planted"));
        Assert.Equal(0, flush.Logged("Redis did not accept a batch"));
    }

    [Fact]
    public async Task WrittenBatch_WhoseEpochCannotBeCreated_IsNotWrittenAgain()
    {
        await using var flush = await StartOnServerAsync();
        var partition = flush.Take(0);
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(partition, 0));
        await flush.DrainedAsync();
        await flush.Redis.Database.KeyDeleteAsync(flush.Redis.Keys.Epoch);
        await flush.Redis.Database.ExecuteAsync("ACL", "SETUSER", "default", "-set");

        flush.Enqueue(TestRows.Event(1, "a", count: 2).At(partition, 1));
        await flush.DrainedAsync();

        Assert.Equal(2, partition.Written);
        Assert.Equal(0, flush.Counters["cache.redis.batch.errors"]);
    }

    [Fact]
    public async Task RejectedRows_AreAwaited_UntilTheyAreInTheDeadLetters()
    {
        await using var flush = await StartAsync();
        var partition = flush.Take(0);
        partition.StartAt(0);
        flush.RefusesDeadLetters = true;
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(partition, 0), TestRows.Rejected().At(partition, 1));
        await flush.HoldsAsync(() => Assert.InRange(flush.Counters["cache.redis.batch.errors"], 2, int.MaxValue));
        Assert.Equal(0, partition.Written);
        Assert.Empty(flush.DeadLetters);
        Assert.Equal(1, flush.Logged("The dead-letter topic did not accept a batch"));

        flush.RefusesDeadLetters = false;
        await flush.HoldsAsync(() => Assert.Equal(2, partition.Written));
        Assert.Equal(["1"], flush.DeadLetters.Select(letter => Header(letter, DeadLetters.OffsetHeader)));
    }

    [Fact]
    public async Task RejectedRows_OfARevokedPartition_AreNoLongerAwaited()
    {
        await using var flush = await StartAsync();
        var (gone, kept) = (flush.Take(0), flush.Take(1));
        gone.StartAt(0);
        flush.RefusesDeadLetters = true;
        flush.Enqueue(TestRows.Rejected().At(gone, 0), TestRows.Rejected().At(kept, 0));
        await flush.HoldsAsync(() => Assert.InRange(flush.Counters["cache.redis.batch.errors"], 1, int.MaxValue));
        flush.Redis.Assignment.Revoke([gone.TopicPartition]);

        flush.RefusesDeadLetters = false;
        await flush.HoldsAsync(() => Assert.Equal(1, kept.Written));

        Assert.Equal(["1"], flush.DeadLetters.Select(letter => Header(letter, DeadLetters.PartitionHeader)));
        Assert.Equal(0, gone.Written);
    }

    [Fact]
    public async Task Rows_OfRevokedPartitions_AreNotRetried()
    {
        await using var flush = await StartOnServerAsync();
        var (gone, kept) = (flush.Take(0), flush.Take(1));
        await flush.Redis.Database.ExecuteAsync("CONFIG", "SET", "maxmemory", "1");
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(gone, 0), TestRows.Rejected().At(gone, 1));
        await flush.HoldsAsync(() => Assert.InRange(flush.Counters["cache.redis.batch.errors"], 1, int.MaxValue));

        flush.Redis.Assignment.Revoke([gone.TopicPartition]);
        flush.Enqueue(Row.Skip.At(kept, 0));
        await flush.HoldsAsync(() => Assert.Equal(1, kept.Written));

        Assert.Null(flush.Metrics.LastFlush);
        Assert.Empty(flush.DeadLetters);
        Assert.Equal(-1, gone.Written);
        Assert.Equal(0, flush.Logged("Redis accepted the batch"));
    }

    [Fact]
    public async Task PartitionThatGoesWhileMembershipIsProved_IsNotWritten()
    {
        await using var flush = await StartAsync();
        var (gone, kept) = (flush.Take(0), flush.Take(1));
        flush.Enqueue(Row.Skip.At(gone, 0), Row.Skip.At(kept, 0));
        await flush.DrainedAsync();
        flush.Redis.Membership.Proved(-1);
        flush.Committing = () => flush.Redis.Assignment.Revoke([gone.TopicPartition]);

        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(gone, 1), TestRows.Event(2, "a", count: 2).At(kept, 1));
        await flush.DrainedAsync();

        Assert.Empty(await flush.Redis.HashAsync(1));
        Assert.Equal(new() { ["a.count"] = "2" }, await flush.Redis.HashAsync(2));
        Assert.Equal((1, 2), (gone.Written, kept.Written));
        Assert.Equal((2, 1), (flush.Metrics.LastFlush!.Rows, flush.Metrics.LastFlush.Windows));
    }

    [Fact]
    public async Task PartitionThatGoesWhileMembershipIsProved_AndIsTheOnlyOne_LeavesNothingToWrite()
    {
        await using var flush = await StartAsync();
        var gone = flush.Take(0);
        flush.Redis.Membership.Proved(-1);
        flush.Committing = () => flush.Redis.Assignment.Revoke([gone.TopicPartition]);

        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(gone, 1));
        await flush.DrainedAsync();

        Assert.Empty(await flush.Redis.HashAsync(1));
        Assert.Null(flush.Metrics.LastFlush);
    }

    [Fact]
    public async Task KafkaThatDoesNotProveMembership_HoldsUpTheWrite_AndTheLogNamesTheGroup()
    {
        await using var flush = await StartAsync();
        var partition = flush.Take(0);
        flush.Redis.Membership.Proved(-1);
        flush.Committing = () => throw new KafkaException(ErrorCode.Local_TimedOut);

        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(partition, 0));
        await flush.HoldsAsync(() => Assert.Equal(1, flush.Logged("The consumer group did not accept a batch")));
        Assert.Empty(await flush.Redis.HashAsync(1));

        flush.Committing = () => { };
        await flush.HoldsAsync(() => Assert.Equal(1, partition.Written));
        Assert.Equal(new() { ["a.count"] = "1" }, await flush.Redis.HashAsync(1));
    }

    [Fact]
    public async Task DimensionsThatAWindowHasNoRoomFor_AreDeadLetters()
    {
        await using var broker = await EmbeddedKafka.StartAsync(brokers: 1);
        broker.CreateTopic(Rows.Events, partitions: 1);
        using var kafka = new KafkaSide(broker.BootstrapServers, "cache-tests");
        string[] values = [Rows.Event(Rows.Window(1), "a", 1), Rows.Event(Rows.Window(1), "b", 2), Rows.Event(Rows.Window(1), "c", 3)];
        await kafka.SendAsync(Rows.Events, 0, values);
        await using var flush = await StartAsync(kafka: broker.BootstrapServers, dimensions: 2);
        var partition = flush.Take(0);

        flush.Enqueue(
            TestRows.Event(Rows.Window(1), "a", count: 1).At(partition, 0), TestRows.Event(Rows.Window(1), "b", count: 2).At(partition, 1), TestRows.Event(Rows.Window(1), "c", count: 3).At(partition, 2));
        await flush.DrainedAsync();

        Assert.Equal(new() { ["a.count"] = "1", ["b.count"] = "2" }, await flush.Redis.HashAsync(Rows.Window(1)));
        Assert.Equal([values[2]], flush.DeadLetters.Select(letter => Encoding.UTF8.GetString(letter.Value!)));
        Assert.Equal(0, flush.Logged("A key in Redis has the wrong type"));
    }

    [Fact]
    public async Task RowsThatRedisNeverAccepts_AndThatCannotBeReread_HoldUpOnlyTheirPartitions()
    {
        await using var broker = await EmbeddedKafka.StartAsync(brokers: 1);
        broker.CreateTopic(Rows.Events, partitions: 2);
        broker.SetTopicError(Rows.Events, ErrorCode.TopicAuthorizationFailed);
        await using var flush = await StartAsync(kafka: broker.BootstrapServers);
        await flush.Redis.Database.StringSetAsync(flush.Redis.Keys.Window(MetricType.Event, 1), "somebody else's");
        var (gone, kept) = (flush.Take(0), flush.Take(1));
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(gone, 0));
        await flush.HoldsAsync(() => Assert.InRange(flush.Counters["cache.redis.batch.errors"], 1, int.MaxValue));
        Assert.Equal(1, flush.Logged("Kafka did not accept a batch"));

        flush.Redis.Assignment.Revoke([gone.TopicPartition]);
        flush.Enqueue(TestRows.Event(2, "a", count: 2).At(kept, 0));
        await flush.HoldsAsync(() => Assert.Equal(1, kept.Written));

        Assert.Equal((0, false), (flush.Fatal.ExitCode, flush.IsStopped));
        Assert.Equal((-1, 1), (gone.Written, flush.Logged("A key in Redis has the wrong type")));
    }

    [Fact]
    public async Task WrittenRows_AreReported_AndTheirPartitionsNamed_ThoughNoTimePasses()
    {
        await using var flush = await StartAsync();
        var partition = flush.Take(0);
        partition.StartAt(0);
        var told = new System.Collections.Concurrent.ConcurrentQueue<string>();
        await flush.Redis.Subscriber.SubscribeAsync(flush.Redis.Keys.Updates, (_, message) => told.Enqueue(message!));
        var rows = flush.Redis.Options.CommitBatchSize;
        flush.Enqueue(Enumerable.Range(0, rows).Select(offset => TestRows.Event(7, "a", count: 1).At(partition, offset)));
        await flush.HoldsAsync(() => Assert.Equal(rows, partition.Committed), advances: false);
        var epoch = await flush.Redis.Database.StringGetAsync(flush.Redis.Keys.Epoch);
        Assert.DoesNotContain("/", epoch.ToString(), StringComparison.Ordinal);

        flush.Enqueue(TestRows.Event(8, "a", count: 1).At(partition, rows));
        await flush.DrainedAsync();

        Assert.Equal($"{epoch} {partition}", await flush.Redis.Database.StringGetAsync(flush.Redis.Keys.Epoch));
        await flush.HoldsAsync(() => Assert.Contains(told, message => message.Contains('8', StringComparison.Ordinal)), advances: false);
    }

    [Fact]
    public async Task Epoch_IsReadWithEachWrite_AndNotBesides()
    {
        await using var flush = await StartOnServerAsync();
        var partition = flush.Take(0);
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(partition, 0));
        await flush.DrainedAsync();
        var before = await ReadsAsync();

        for (var offset = 1; offset <= 10; offset++)
        {
            flush.Enqueue(TestRows.Event(1, "a", count: offset).At(partition, offset));
            await flush.HoldsAsync(() => Assert.Equal(offset + 1, partition.Written), advances: false);
        }

        await Task.Delay(Aside);
        Assert.Equal(before + 10, await ReadsAsync());

        async Task<long> ReadsAsync()
        {
            var statistics = await flush.Redis.Database.Multiplexer.GetServers()[0].InfoAsync("commandstats");
            var reads = statistics.SelectMany(group => group).Single(line => line.Key == "cmdstat_get").Value;
            return long.Parse(reads.Split(',')[0]["calls=".Length..], System.Globalization.CultureInfo.InvariantCulture);
        }
    }

    [Fact]
    public async Task FailedAttempts_AreOnTheSpanOfTheFlush_TheFirstOfThem()
    {
        await using var flush = await StartAsync();
        var spans = new System.Collections.Concurrent.ConcurrentQueue<System.Diagnostics.Activity>();
        using var listener = new System.Diagnostics.ActivityListener
        {
            ShouldListenTo = source => source.Name == Tracing.SourceName,
            Sample = (ref _) => System.Diagnostics.ActivitySamplingResult.AllData,
            ActivityStopped = spans.Enqueue,
        };
        System.Diagnostics.ActivitySource.AddActivityListener(listener);
        var partition = flush.Take(0);
        flush.RefusesDeadLetters = true;
        flush.Enqueue(TestRows.Rejected().At(partition, 4242));
        await flush.HoldsAsync(() => Assert.InRange(flush.Counters["cache.redis.batch.errors"], 2, int.MaxValue));
        flush.RefusesDeadLetters = false;
        await flush.HoldsAsync(() => Assert.Equal(4243, partition.Written));

        // Other tests may flush at the same time; theirs do not fail so.
        await flush.HoldsAsync(() => Assert.Single(spans, span => span.Events.Any(@event => @event.Name == "exception"
            && @event.Tags.Any(tag => $"{tag.Value}".Contains("timed out", StringComparison.Ordinal)))));
    }

    [Fact]
    public async Task RowsThatRedisNeverAccepts_BecomeDeadLetters_WithTheirBytesFromKafka()
    {
        await using var broker = await EmbeddedKafka.StartAsync(brokers: 1);
        broker.CreateTopic(Rows.Events, partitions: 1);
        using var kafka = new KafkaSide(broker.BootstrapServers, "cache-tests");
        string[] values = [Rows.Event(Rows.Window(1), "a", 1), Rows.Event(Rows.Window(2), "a", 2), "bad", Rows.Event(Rows.Window(1), "b", 3)];
        var messages = values.Select((value, offset) => Rows.Message(value, $"key {offset}")).Append(new() { Key = "gone"u8.ToArray() }).ToList();
        messages[3].Headers = [new Header("mine", "1"u8.ToArray())];
        messages[3].Timestamp = new Timestamp(1_735_689_600_123, TimestampType.CreateTime);
        await kafka.SendAsync(Rows.Events, 0, messages);
        await using var flush = await StartAsync(kafka: broker.BootstrapServers);
        await flush.Redis.Database.StringSetAsync(flush.Redis.Keys.Window(MetricType.Event, Rows.Window(1)), "somebody else's");
        var partition = flush.Take(0);

        flush.Enqueue(
            TestRows.Event(Rows.Window(1), "a", count: 1).At(partition, 0), TestRows.Event(Rows.Window(2), "a", count: 2).At(partition, 1), TestRows.Rejected().At(partition, 2),
            TestRows.Event(Rows.Window(1), "b", count: 3).At(partition, 3), Row.Skip.At(partition, 4));
        await flush.DrainedAsync();

        Assert.Equal(
            [("0", "wrong_key_type", "key 0", values[0]), ("2", "not_json", "", "\0\0\0"), ("3", "wrong_key_type", "key 3", values[3])],
            flush.DeadLetters.Select(letter => (
                Header(letter, DeadLetters.OffsetHeader)!, Header(letter, DeadLetters.ReasonHeader)!,
                Encoding.UTF8.GetString(letter.Key ?? []), Encoding.UTF8.GetString(letter.Value!))).Order());
        var last = flush.DeadLetters.Single(letter => Header(letter, DeadLetters.OffsetHeader) == "3");
        Assert.Equal(("1", "1735689600123"), (Header(last, "mine"), Header(last, DeadLetters.TimestampHeader)));
        Assert.Equal(5, partition.Written);

        // The window that was not written is none of those that were.
        Assert.Equal((5, 1), (flush.Metrics.LastFlush!.Rows, flush.Metrics.LastFlush.Windows));
        Assert.Equal(1, flush.Logged($"A key in Redis has the wrong type; cannot write event {Rows.Window(1)}."));
    }

    [Fact]
    public async Task SessionsThatRedisNeverAccepts_AreNamed()
    {
        await using var broker = await EmbeddedKafka.StartAsync(brokers: 1);
        broker.CreateTopic(Rows.Events, partitions: 1);
        using var kafka = new KafkaSide(broker.BootstrapServers, "cache-tests");
        await kafka.SendAsync(Rows.Events, 0, Rows.Event(Rows.Window(1), "a", 1));
        await using var flush = await StartAsync(kafka: broker.BootstrapServers);
        await flush.Redis.Database.StringSetAsync(flush.Redis.Keys.Session("s"), "somebody else's");
        var partition = flush.Take(0);

        flush.Enqueue(TestRows.Session("s", TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds()).At(partition, 0));
        await flush.DrainedAsync();

        Assert.Equal(1, flush.Logged("A key in Redis has the wrong type; cannot write session s."));
        Assert.Equal(1, partition.Written);
    }

    [Fact]
    public async Task Epoch_IsCheckedEveryInterval_EvenWithoutRows()
    {
        await using var flush = await StartAsync();
        flush.Take(0);
        for (var times = 0; times < 2; times++)
        {
            await flush.HoldsAsync(async () => Assert.True(await flush.Redis.Database.KeyExistsAsync(flush.Redis.Keys.Epoch)));
            await flush.Redis.Database.KeyDeleteAsync(flush.Redis.Keys.Epoch);
        }
    }

    [Fact]
    public async Task RowsInTheQueueAtTheEnd_AreWritten_BeforeTheWorkerEnds()
    {
        await using var flush = await StartAsync();
        var partition = flush.Take(0);
        flush.Enqueue(Enumerable.Range(0, 500).Select(offset => TestRows.Event(offset, "a", count: offset).At(partition, offset)));

        await flush.EndsAsync();

        Assert.Equal(500, partition.Written);
    }

    [Fact]
    public async Task WorkerThatFails_StopsTheService()
    {
        var broken = Proxy.Of<IConnectionMultiplexer>((method, _) => method.StartsWith("add_", StringComparison.Ordinal) ? null : throw new NotSupportedException(method));
        await using var flush = await StartAsync(broken);
        Assert.Equal(0, flush.Fatal.ExitCode);

        await flush.HoldsAsync(() => Assert.Equal((1, true), (flush.Fatal.ExitCode, flush.IsStopped)));
    }

    [Fact]
    public async Task BatchThatIsFullWhileAnotherIsOnTheWire_FollowsAtOnce()
    {
        await using var flush = await StartOnServerAsync();
        var partition = flush.Take(0);
        flush.Server.Freeze();
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(partition, 0));
        await flush.HoldsAsync(() => Assert.Equal(0, flush.Queue.Count), advances: false);
        flush.Enqueue(TestRows.Event(1, "a", count: 2).At(partition, 1));

        // The marker is the last of the second batch; neither a row nor time comes behind it.
        var drained = flush.DrainedAsync();
        await flush.HoldsAsync(() => Assert.Equal(0, flush.Queue.Count), advances: false);
        flush.Server.Thaw();

        await drained;
        Assert.Equal(2, partition.Written);
    }

    [Fact]
    public async Task WriteInDoubt_RenewsTheEpoch_IfItsPartitionMoved()
    {
        await using var flush = await StartOnServerAsync();
        var (gone, kept) = (flush.Take(0), flush.Take(1));
        await WriteWithoutProofAsync(flush, TestRows.Event(1, "a", count: 1).At(gone, 0));
        var epoch = await flush.EpochAsync();
        flush.Redis.Assignment.Revoke([gone.TopicPartition]);

        // The clock stands still: the writes have to see to it themselves.
        for (var offset = 0; offset < 3; offset++)
        {
            flush.Enqueue(TestRows.Event(1, "b", count: 1).At(kept, offset));
            await flush.DrainedAsync();
        }

        Assert.NotEqual(epoch, await flush.EpochAsync());
    }

    [Fact]
    public async Task WriteInDoubt_RenewsTheEpoch_AlsoOnShutdown()
    {
        await using var flush = await StartOnServerAsync();
        await WriteWithoutProofAsync(flush, TestRows.Event(1, "a", count: 1).At(flush.Take(0), 0));
        var epoch = await flush.EpochAsync();
        flush.Redis.Assignment.RevokeAll();

        await flush.EndsAsync();

        Assert.NotEqual(epoch, await flush.EpochAsync());
    }

    [Fact]
    public async Task WriteInDoubt_RenewsNoEpoch_IfItsPartitionStayed()
    {
        await using var flush = await StartOnServerAsync();
        var (rewound, kept) = (flush.Take(0), flush.Take(1));
        await WriteWithoutProofAsync(flush, TestRows.Event(1, "a", count: 1).At(rewound, 0));
        flush.Redis.Membership.Proved(flush.Time.GetTimestamp());
        await WriteWithoutProofAsync(flush, TestRows.Event(1, "a", count: 1).At(kept, 0));
        var epoch = await flush.EpochAsync();

        // What is read again writes over it anyway; and of what was committed since, Kafka has said whose it was.
        flush.Take(0);
        Assert.False(rewound.Owned);
        kept.CommitTaken(2, flush.Time.GetTimestamp());
        flush.Redis.Assignment.Revoke([kept.TopicPartition]);
        await flush.EndsAsync();

        Assert.Equal(epoch, await flush.EpochAsync());
    }

    [Fact]
    public async Task WriteThatWasNeverSent_IsRetried_AndRenewsNoEpoch()
    {
        var promises = new Promises(retention: 120);
        var redis = promises.Redis = new SimulatedRedis(promises);
        var connection = new ImmediateConnection(redis);
        await using var flush = await StartAsync(connection.Multiplexer);
        var (gone, kept) = (flush.Take(0), flush.Take(1));
        flush.Enqueue(Row.Skip.At(gone, 0), TestRows.Event(1, "a", count: 1).At(kept, 0));
        await flush.DrainedAsync();
        var epoch = await flush.EpochAsync();

        // With the connection the last proof of membership goes, and a partition.
        connection.Before = ("HSET", LoseProofAndPartition);
        flush.Enqueue(TestRows.Event(1, "b", count: 1).At(gone, 1), TestRows.Event(1, "c", count: 2).At(kept, 1));
        await flush.HoldsAsync(() => Assert.Equal(2, kept.Written));
        await flush.EndsAsync();

        Assert.Equal(1, flush.Logged("Redis did not accept a batch"));
        Assert.Equal(new() { ["a.count"] = "1", ["c.count"] = "2" }, redis.Data.Hashes[$"{flush.Redis.Keys.Window(MetricType.Event, 1)}"].Fields);
        Assert.Equal(epoch, await flush.EpochAsync());

        bool LoseProofAndPartition()
        {
            flush.Redis.Membership.Proved(-1);
            flush.Redis.Assignment.Revoke([gone.TopicPartition]);
            return false;
        }
    }

    [Fact]
    public async Task WriteThatCameInTime_RenewsNoEpoch()
    {
        await using var flush = await StartAsync();
        var (gone, kept) = (flush.Take(0), flush.Take(1));
        flush.Enqueue(TestRows.Event(1, "a", count: 1).At(gone, 0));
        await flush.DrainedAsync();
        var epoch = await flush.EpochAsync();
        flush.Redis.Assignment.Revoke([gone.TopicPartition]);
        flush.Enqueue(TestRows.Event(1, "b", count: 1).At(kept, 0));
        await flush.DrainedAsync();

        await flush.EndsAsync();

        Assert.Equal(epoch, await flush.EpochAsync());
    }

    [Fact]
    public async Task RedisThatGoesDownWhileIdle_IsLogged_AndSoIsItsReturn()
    {
        await using var flush = await StartOnServerAsync();
        flush.Take(0);
        for (var times = 1; times <= 2; times++)
        {
            await flush.Redis.Database.ExecuteAsync("ACL", "SETUSER", "default", "-get");
            await flush.HoldsAsync(() => Assert.Equal(times, Outages()));
            for (var intervals = 0; intervals < 5; intervals++)
            {
                await flush.HoldsAsync(() => { });
            }

            Assert.Equal((times, times - 1), (Outages(), flush.Logged("Redis is up")));
            await flush.Redis.Database.ExecuteAsync("ACL", "SETUSER", "default", "+get");
            await flush.HoldsAsync(() => Assert.Equal(times, flush.Logged("Redis is up")));
        }

        // Reminders tell how long it has lasted so far.
        int Outages() => flush.Logged("Waiting for Redis", but: "so far");
    }

    private async Task<Running> StartAsync(IConnectionMultiplexer? redis = null, string kafka = "", string kafkaProperty = "fetch.wait.max.ms", int dimensions = 10_000)
    {
        var time = new Clock(TimeProvider.System.GetUtcNow());
        return new(new RedisStages(redis ?? await servers.ConnectAsync(RedisKind.Embedded), dimensions: dimensions, kafka: kafka, kafkaProperty: kafkaProperty, time: time), time);
    }

    /// <summary>As <see cref="StartAsync"/>, on a redis-server of its own.</summary>
    private async Task<Running> StartOnServerAsync()
    {
        var server = await RedisServer.StartAsync();
        var client = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString + ",allowAdmin=true");
        var flush = await StartAsync(client);
        flush.Owns(server, client);
        return flush;
    }

    /// <summary>Writes a row; while that is on the wire, the last proof of membership grows too old.</summary>
    private static async Task WriteWithoutProofAsync(Running flush, QueuedRow row)
    {
        // So that the epoch is not asked for first, and nothing else is under way.
        flush.Enqueue(row);
        await flush.DrainedAsync();
        await flush.Redis.Database.PingAsync();
        flush.Server.Freeze();
        flush.Enqueue(row with { Offset = row.Offset + 1 });
        await flush.HoldsAsync(() => Assert.True(Pending(flush) > 0), advances: false);
        flush.Redis.Membership.Proved(-1);
        flush.Server.Thaw();
        await flush.DrainedAsync();

        static long Pending(Running flush) => flush.Redis.Database.Multiplexer.GetCounters().Interactive.PendingUnsentItems
            + flush.Redis.Database.Multiplexer.GetCounters().Interactive.SentItemsAwaitingResponse;
    }

    /// <summary>A clock that stands still but for what the test says.</summary>
    private sealed class Clock(DateTimeOffset start) : FakeTimeProvider(start)
    {
        private int _readsLeft;
        private TimeSpan _jump;

        /// <summary>Time passes when the clock is read for the given time, counted from now.</summary>
        public void JumpAtRead(int read, TimeSpan time)
        {
            _jump = time;
            Volatile.Write(ref _readsLeft, read);
        }

        public override long GetTimestamp()
        {
            if (Interlocked.Decrement(ref _readsLeft) == 0)
            {
                Advance(_jump);
            }

            return base.GetTimestamp();
        }
    }

    private static string? Header(Message<byte[]?, byte[]?> letter, string name) =>
        letter.Headers.TryGetLastBytes(name, out var bytes) ? Encoding.UTF8.GetString(bytes) : null;

    /// <summary>A worker and a committer that run.</summary>
    private sealed class Running : IOffsetCommit, IAsyncDisposable
    {
        private readonly LogCapture _log = new();
        private readonly LoggerFactory _loggers;
        private readonly FlushWorker _worker;
        private readonly OffsetCommitter _committer;
        private RedisServer? _server;
        private ConnectionMultiplexer? _client;

        public Running(RedisStages redis, Clock time)
        {
            (Redis, Time) = (redis, time);
            _loggers = new([_log]);
            Metrics = redis.Services.GetRequiredService<FlushMetrics>();
            Counters = new(redis.Services.GetRequiredService<System.Diagnostics.Metrics.IMeterFactory>());
            Queue = redis.Services.GetRequiredService<RowQueue>();
            Fatal = new(Proxy.Of<IHostApplicationLifetime>((method, _) =>
            {
                IsStopped |= method == nameof(IHostApplicationLifetime.StopApplication);
                return null;
            }));
            _committer = new(this, redis.Assignment, redis.Membership, redis.Options, redis.Services.GetRequiredService<ConsumeMetrics>(), Time, Fatal, NullLogger<OffsetCommitter>.Instance);
            var logger = _loggers.CreateLogger<FlushWorker>();
            Retry = new(Metrics, Time, new Random(1), logger);
            var guard = new WriteGuard(redis.Store, redis.Epoch, redis.Membership, _committer, Time, logger);
            var letters = new Letters(new(_ => Producer()), redis.Options, redis.Services.GetRequiredService<PersistMetrics>(), Time);
            var deadLetters = new DeadLetterFlush(letters, new RowReader(redis.Options), Retry, NoSchemas.Registry(redis.Options, Time), redis.Options, Time);
            var writer = new BatchWriter(redis.Store, guard, deadLetters, Retry, _committer, Metrics, Time, logger);
            _worker = new(Queue, writer, guard, redis.Options, Time, Fatal, logger);
            _worker.StartAsync(CancellationToken.None);
            _committer.StartAsync(CancellationToken.None);
        }

        public RedisStages Redis { get; }

        /// <summary>Its redis-server, when it has one of its own.</summary>
        public RedisServer Server => _server ?? throw new InvalidOperationException("It shares its Redis.");

        public Clock Time { get; }

        public RowQueue Queue { get; }

        public FlushMetrics Metrics { get; }

        public Counters Counters { get; }

        public FatalError Fatal { get; }

        public BatchRetry Retry { get; }

        public bool IsStopped { get; private set; }

        /// <summary>Rows that the worker has not taken yet.</summary>
        public int Waiting => Queue.Count;

        public bool RefusesDeadLetters { get; set; }

        /// <summary>Done when the worker or the committer commits.</summary>
        public Action Committing { get; set; } = () => { };

        public List<Message<byte[]?, byte[]?>> DeadLetters { get; } = [];

        /// <summary>Ends with it.</summary>
        public void Owns(RedisServer server, ConnectionMultiplexer client) => (_server, _client) = (server, client);

        public AssignedPartition Take(int number)
        {
            var partition = TestRows.Partition(number);
            partition.CoveredEpoch = AssignedPartition.AnyEpoch;
            Redis.Assignment.Assign(partition);
            return partition;
        }

        public void Enqueue(params IEnumerable<QueuedRow> rows) => Enqueue(false, rows);

        public void Enqueue(bool moreComes, params IEnumerable<QueuedRow> rows)
        {
            foreach (var row in rows)
            {
                Assert.True(Queue.TryEnqueue(row));
            }

            Assert.True(Queue.HandOver(moreComes));
        }

        public Task DrainedAsync() => Queue.DrainAsync().WaitAsync(TestTimeout.Full);

        /// <summary>Lines of the worker's log that begin with a text, but for those with another.</summary>
        public int Logged(string text, string? but = null) => _log.Lines.Count(line =>
            line.Contains($"FlushWorker: {text}", StringComparison.Ordinal) && (but is null || !line.Contains(but, StringComparison.Ordinal)));

        public async Task<string> EpochAsync() => (await Redis.Database.StringGetAsync(Redis.Keys.Epoch)).ToString().Split(' ')[0];

        public async Task EndsAsync()
        {
            Queue.Complete();
            await _worker.ExecuteTask!.WaitAsync(TestTimeout.Full);
        }

        public Task HoldsAsync(Action assertions, bool advances = true) => HoldsAsync(() => Task.Run(assertions), advances);

        /// <summary>Time goes on until assertions hold.</summary>
        public Task HoldsAsync(Func<Task> assertions, bool advances = true) => Eventually.HoldsAsync(
            () =>
            {
                if (advances)
                {
                    Time.Advance(Interval);
                }

                return assertions();
            },
            TestTimeout.Full);

        public Task CommitAsync(IReadOnlyList<TopicPartitionOffset> offsets)
        {
            Committing();
            return Task.CompletedTask;
        }

        private IProducer<byte[]?, byte[]?> Producer() => Proxy.Of<IProducer<byte[]?, byte[]?>>((_, arguments) =>
        {
            if (RefusesDeadLetters)
            {
                return Task.FromException<DeliveryResult<byte[]?, byte[]?>>(new KafkaException(ErrorCode.Local_MsgTimedOut));
            }

            DeadLetters.Add((Message<byte[]?, byte[]?>)arguments[1]!);
            return Task.FromResult(new DeliveryResult<byte[]?, byte[]?>());
        });

        public async ValueTask DisposeAsync()
        {
            // As at a stop; what a failed test left undone is given up.
            Redis.Assignment.RevokeAll();
            Queue.Complete();
            await HoldsAsync(() => Assert.True(_worker.ExecuteTask!.IsCompleted));
            await _committer.StopAsync(CancellationToken.None);
            _worker.Dispose();
            _committer.Dispose();
            Counters.Dispose();
            _loggers.Dispose();
            if (_client is not null)
            {
                await _client.DisposeAsync();
            }

            if (_server is not null)
            {
                await _server.DisposeAsync();
            }
        }

        /// <summary>The topic is there.</summary>
        private sealed class Letters(DeadLetterProducer producer, CacheOptions options, PersistMetrics metrics, TimeProvider time)
            : DeadLetters(producer, options, metrics, time, NullLogger<DeadLetters>.Instance)
        {
            protected override Task EnsureTopicAsync(IProducer<byte[]?, byte[]?> client) => Task.CompletedTask;
        }
    }
}
