using System.Diagnostics;
using System.Text;
using Cache.Embedded;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;

namespace Cache.Tests.Embedded;

public sealed class EmbeddedKafkaTests
{
    private static readonly TimeSpan Deadline = TestTimeout.Full;

    [Fact]
    public async Task Records_ComeBackInOrderOfTheirPartition()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(cancellationToken: Cancelled);
        kafka.CreateTopic("rows", partitions: 2);
        using var producer = Producer(kafka);
        for (var i = 0; i < 20; i++)
        {
            var result = await producer.ProduceAsync(new TopicPartition("rows", i % 2), Row($"{i}"), Cancelled);
            Assert.Equal(i / 2, result.Offset.Value);
        }

        using var consumer = Consumer(kafka, "readers");
        consumer.Subscribe("rows");
        var seen = Read(consumer, 20);

        Assert.Equal(["0", "2", "4", "6", "8", "10", "12", "14", "16", "18"], Values(seen, 0));
        Assert.Equal(["1", "3", "5", "7", "9", "11", "13", "15", "17", "19"], Values(seen, 1));
        consumer.Close();
    }

    [Fact]
    public async Task Commits_OutliveTheConsumer()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(1, Cancelled);
        kafka.CreateTopic("rows", partitions: 1);
        using var producer = Producer(kafka);
        for (var i = 0; i < 4; i++)
        {
            await producer.ProduceAsync("rows", Row($"{i}"), Cancelled);
        }

        using (var first = Consumer(kafka, "readers"))
        {
            first.Subscribe("rows");
            Read(first, 4);
            first.Commit([new TopicPartitionOffset("rows", 0, 2)]);
            first.Close();
        }

        using var second = Consumer(kafka, "readers");
        second.Subscribe("rows");
        Assert.Equal(["2", "3"], Values(Read(second, 2), 0));
        second.Close();
    }

    [Fact]
    public async Task CreateTopic_GivesThePartitionsAskedForSpreadOverTheBrokers()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(3, Cancelled);
        kafka.CreateTopic("rows", partitions: 9, replicas: 2);

        var metadata = Metadata(kafka, "rows");

        Assert.Equal([1, 2, 3], metadata.Brokers.Select(broker => broker.BrokerId).Order());
        Assert.Equal(
            kafka.BootstrapServers.Split(',').Order(),
            metadata.Brokers.Select(broker => $"{broker.Host}:{broker.Port}").Order());
        var topic = Assert.Single(metadata.Topics);
        Assert.Equal(9, topic.Partitions.Count);
        Assert.All(topic.Partitions, partition => Assert.Equal(2, partition.Replicas.Length));
        Assert.True(topic.Partitions.Select(partition => partition.Leader).Distinct().Count() > 1);
    }

    [Fact]
    public async Task CreateTopic_WhenItExists_Throws()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(1, Cancelled);
        kafka.CreateTopic("rows");

        var e = Assert.Throws<KafkaException>(() => kafka.CreateTopic("rows"));

        Assert.Equal(ErrorCode.TopicAlreadyExists, e.Error.Code);
        Assert.Contains("rows", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task DeleteTopic_ForgetsItsRecords()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(1, Cancelled);
        kafka.CreateTopic("rows", partitions: 1);
        using (var producer = Producer(kafka))
        {
            await producer.ProduceAsync("rows", Row("gone"), Cancelled);
        }

        kafka.DeleteTopic("rows");
        kafka.CreateTopic("rows", partitions: 1);

        using var consumer = Consumer(kafka, "readers");
        Assert.Equal(0, consumer.QueryWatermarkOffsets(new("rows", 0), Deadline).High.Value);
        Assert.Equal(
            ErrorCode.UnknownTopicOrPart, Assert.Throws<KafkaException>(() => kafka.DeleteTopic("never")).Error.Code);
    }

    [Fact]
    public async Task DeleteRecords_RaisesTheLowWatermark()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(1, Cancelled);
        kafka.CreateTopic("rows", partitions: 1);
        using var producer = Producer(kafka);
        for (var i = 0; i < 5; i++)
        {
            await producer.ProduceAsync("rows", Row($"{i}"), Cancelled);
        }

        kafka.DeleteRecords("rows", 0, 3);

        using var consumer = Consumer(kafka, "readers");
        var offsets = consumer.QueryWatermarkOffsets(new("rows", 0), Deadline);
        Assert.Equal((3, 5), (offsets.Low.Value, offsets.High.Value));
    }

    [Fact]
    public async Task BreakBroker_StopsItsPartitions_MendBrokerBringsThemBackWithTheirRecords()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(2, Cancelled);
        kafka.CreateTopic("rows", partitions: 2);
        kafka.MoveLeader("rows", 0, 1);
        kafka.MoveLeader("rows", 1, 2);
        using var producer = Producer(kafka, timeout: TimeSpan.FromSeconds(1));
        await producer.ProduceAsync(new TopicPartition("rows", 0), Row("before"), Cancelled);

        kafka.BreakBroker(1);
        await producer.ProduceAsync(new TopicPartition("rows", 1), Row("elsewhere"), Cancelled);
        var refused = await Assert.ThrowsAsync<ProduceException<Null, byte[]>>(
            () => producer.ProduceAsync(new TopicPartition("rows", 0), Row("lost"), Cancelled));
        Assert.Equal(ErrorCode.Local_MsgTimedOut, refused.Error.Code);

        kafka.MendBroker(1);
        await EventuallyAsync(() => producer.ProduceAsync(new TopicPartition("rows", 0), Row("after"), Cancelled));

        using var consumer = Consumer(kafka, "readers");
        consumer.Assign(new TopicPartitionOffset("rows", 0, Offset.Beginning));
        Assert.Equal(["before", "after"], Values(Read(consumer, 2), 0));
    }

    [Fact]
    public async Task BreakAllBrokers_LeavesNobodyToAnswer_MendAllBrokersBringsThemBack()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(2, Cancelled);
        kafka.CreateTopic("rows", partitions: 2);

        kafka.BreakAllBrokers();
        using var client = new AdminClientBuilder(Client(kafka)).SetLogHandler(Silent).SetErrorHandler(Silent).Build();
        Assert.Throws<KafkaException>(() => client.GetMetadata("rows", TimeSpan.FromMilliseconds(300)));

        kafka.MendAllBrokers();
        var metadata = await EventuallyAsync(() => Task.Run(() => client.GetMetadata("rows", TimeSpan.FromSeconds(1))));
        Assert.Equal(2, metadata.Brokers.Count);
    }

    /// <summary>If a start coincides with a broker that goes down, the library ends this process.</summary>
    [Fact]
    public async Task BrokersGoDown_WhileProcessesStart()
    {
        await using var broker = await EmbeddedKafka.StartAsync(brokers: 3, TestContext.Current.CancellationToken);
        var rounds = 0;
        var starts = Task.Run(() =>
        {
            while (Volatile.Read(ref rounds) < 15)
            {
                using var process = ChildProcess.Start("kill", "-0", $"{Environment.ProcessId}");
                process.WaitForExit();
            }
        });
        for (; rounds < 15; Interlocked.Increment(ref rounds))
        {
            broker.BreakAllBrokers();
            broker.MendAllBrokers();
        }

        await starts;
    }

    [Fact]
    public async Task SetRoundTrip_DelaysAnswers()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(2, Cancelled);
        kafka.CreateTopic("rows", partitions: 2);
        kafka.MoveLeader("rows", 0, 1);
        kafka.MoveLeader("rows", 1, 2);
        using var producer = Producer(kafka);
        await producer.ProduceAsync(new TopicPartition("rows", 0), Row("warm"), Cancelled);
        await producer.ProduceAsync(new TopicPartition("rows", 1), Row("warm"), Cancelled);

        kafka.SetRoundTrip(1, TimeSpan.FromMilliseconds(600));
        Assert.True(await ProduceTimeAsync(0) >= TimeSpan.FromMilliseconds(550));
        Assert.True(await ProduceTimeAsync(1) < TimeSpan.FromMilliseconds(550));

        kafka.SetRoundTrip(TimeSpan.FromMilliseconds(600));
        Assert.True(await ProduceTimeAsync(1) >= TimeSpan.FromMilliseconds(550));

        kafka.SetRoundTrip(TimeSpan.Zero);
        Assert.True(await ProduceTimeAsync(0) < TimeSpan.FromMilliseconds(550));

        async Task<TimeSpan> ProduceTimeAsync(int partition)
        {
            var started = Stopwatch.GetTimestamp();
            await producer.ProduceAsync(new TopicPartition("rows", partition), Row("timed"), Cancelled);
            return Stopwatch.GetElapsedTime(started);
        }
    }

    [Fact]
    public async Task PushRequestErrors_FailsThatManyRequestsOfTheKind()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(1, Cancelled);
        kafka.CreateTopic("rows", partitions: 1);
        using var producer = Producer(kafka);
        kafka.PushRequestErrors(KafkaRequest.Produce, ErrorCode.MsgSizeTooLarge, ErrorCode.RecordListTooLarge);

        Assert.Equal(ErrorCode.MsgSizeTooLarge, await OutcomeAsync());
        Assert.Equal(ErrorCode.RecordListTooLarge, await OutcomeAsync());
        Assert.Equal(ErrorCode.NoError, await OutcomeAsync());

        kafka.PushRequestErrors(KafkaRequest.Produce, ErrorCode.MsgSizeTooLarge);
        kafka.ClearRequestErrors(KafkaRequest.Produce);
        Assert.Equal(ErrorCode.NoError, await OutcomeAsync());

        async Task<ErrorCode> OutcomeAsync()
        {
            try
            {
                await producer.ProduceAsync("rows", Row("x"), Cancelled);
                return ErrorCode.NoError;
            }
            catch (ProduceException<Null, byte[]> e)
            {
                return e.Error.Code;
            }
        }
    }

    [Fact]
    public async Task PushedCommitError_ReachesTheConsumer()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(1, Cancelled);
        kafka.CreateTopic("rows", partitions: 1);
        using var producer = Producer(kafka);
        await producer.ProduceAsync("rows", Row("x"), Cancelled);
        using var consumer = Consumer(kafka, "readers");
        consumer.Subscribe("rows");
        Read(consumer, 1);

        kafka.PushRequestErrors(KafkaRequest.OffsetCommit, ErrorCode.GroupAuthorizationFailed);
        var e = Assert.Throws<KafkaException>(() => consumer.Commit([new TopicPartitionOffset("rows", 0, 1)]));
        Assert.Equal(ErrorCode.GroupAuthorizationFailed, e.Error.Code);

        consumer.Commit([new TopicPartitionOffset("rows", 0, 1)]);
        consumer.Close();
    }

    [Fact]
    public async Task SetTopicError_ShowsInMetadataUntilCleared()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(1, Cancelled);
        kafka.CreateTopic("rows");

        kafka.SetTopicError("rows", ErrorCode.TopicAuthorizationFailed);
        Assert.Equal(ErrorCode.TopicAuthorizationFailed, Assert.Single(Metadata(kafka, "rows").Topics).Error.Code);

        kafka.SetTopicError("rows", ErrorCode.NoError);
        Assert.Equal(ErrorCode.NoError, Assert.Single(Metadata(kafka, "rows").Topics).Error.Code);
    }

    [Fact]
    public async Task MoveLeader_ShowsInMetadata()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(3, Cancelled);
        kafka.CreateTopic("rows", partitions: 1, replicas: 3);

        foreach (var broker in new[] { 3, 1, 2 })
        {
            kafka.MoveLeader("rows", 0, broker);
            Assert.Equal(broker, Metadata(kafka, "rows").Topics[0].Partitions[0].Leader);
        }

        kafka.MoveLeader("rows", 0, null);
        Assert.Equal(-1, Metadata(kafka, "rows").Topics[0].Partitions[0].Leader);
        Assert.Throws<KafkaException>(() => kafka.MoveLeader("rows", 7, 1));
    }

    [Fact]
    public async Task MoveCoordinator_KeepsTheGroupsCommits()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(2, Cancelled);
        kafka.CreateTopic("rows", partitions: 1);
        kafka.MoveCoordinator("readers", 1);
        using var producer = Producer(kafka);
        await producer.ProduceAsync("rows", Row("x"), Cancelled);
        using var consumer = Consumer(kafka, "readers");
        consumer.Subscribe("rows");
        Read(consumer, 1);
        consumer.Commit([new TopicPartitionOffset("rows", 0, 1)]);

        kafka.MoveCoordinator("readers", 2);

        var committed = await EventuallyAsync(
            () => Task.Run(() => consumer.Committed([new TopicPartition("rows", 0)], TimeSpan.FromSeconds(5))));
        Assert.Equal(1, Assert.Single(committed).Offset.Value);
        consumer.Close();
    }

    [Fact]
    public async Task TwoClusters_KnowNothingOfEachOther()
    {
        await using var one = await EmbeddedKafka.StartAsync(1, Cancelled);
        await using var other = await EmbeddedKafka.StartAsync(2, Cancelled);
        one.CreateTopic("rows", partitions: 1);
        other.CreateTopic("rows", partitions: 1);
        using var toOne = Producer(one);
        using var toOther = Producer(other);
        await toOne.ProduceAsync("rows", Row("one"), Cancelled);
        await toOther.ProduceAsync("rows", Row("other"), Cancelled);

        one.BreakAllBrokers();
        using var consumer = Consumer(other, "readers");
        consumer.Subscribe("rows");

        Assert.Equal(["other"], Values(Read(consumer, 1), 0));
        consumer.Close();
    }

    [Fact]
    public async Task FirstAssignment_ComesWithinASecond()
    {
        await using var kafka = await EmbeddedKafka.StartAsync(cancellationToken: Cancelled);
        kafka.CreateTopic("rows", partitions: 1);
        using var producer = Producer(kafka);
        await producer.ProduceAsync("rows", Row("x"), Cancelled);

        // The mock's own default is 3 s. A busy machine may need more than one attempt.
        var attempts = 0;
        await Eventually.HoldsAsync(() =>
        {
            using var consumer = Consumer(kafka, $"readers {attempts++}");
            var started = Stopwatch.GetTimestamp();
            consumer.Subscribe("rows");
            Read(consumer, 1);
            var took = Stopwatch.GetElapsedTime(started);
            consumer.Close();
            Assert.True(took < TimeSpan.FromSeconds(2.5), $"{took}");
        });
    }

    [Fact]
    public async Task Dispose_IsSafeTwiceAndWhileBroken_AndLaterCallsSaySo()
    {
        var kafka = await EmbeddedKafka.StartAsync(2, Cancelled);
        kafka.CreateTopic("rows");
        kafka.BreakAllBrokers();

        await kafka.DisposeAsync();
        await kafka.DisposeAsync();

        Assert.NotEmpty(kafka.BootstrapServers);
        Assert.Throws<ObjectDisposedException>(() => kafka.CreateTopic("others"));
        Assert.Throws<ObjectDisposedException>(kafka.MendAllBrokers);
    }

    [Fact]
    public async Task ArgumentsOutOfRange_AreRefused()
    {
        await Assert.ThrowsAsync<ArgumentOutOfRangeException>(() => EmbeddedKafka.StartAsync(0, Cancelled));
        await using var kafka = await EmbeddedKafka.StartAsync(2, Cancelled);

        Assert.Throws<ArgumentOutOfRangeException>(() => kafka.BreakBroker(0));
        Assert.Throws<ArgumentOutOfRangeException>(() => kafka.MendBroker(3));
        Assert.Throws<ArgumentOutOfRangeException>(() => kafka.MoveLeader("rows", 0, 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => kafka.CreateTopic("rows", replicas: 3));
        Assert.Throws<ArgumentOutOfRangeException>(() => kafka.CreateTopic("rows", partitions: 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => kafka.SetRoundTrip(TimeSpan.FromMilliseconds(-1)));
    }

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    private static ClientConfig Client(EmbeddedKafka kafka) =>
        new() { BootstrapServers = kafka.BootstrapServers, ReconnectBackoffMs = 20, ReconnectBackoffMaxMs = 100 };

    private static IProducer<Null, byte[]> Producer(EmbeddedKafka kafka, TimeSpan? timeout = null) =>
        new ProducerBuilder<Null, byte[]>(new ProducerConfig(Client(kafka))
        {
            LingerMs = 0,
            MessageTimeoutMs = (int)(timeout ?? Deadline).TotalMilliseconds,
        }).SetLogHandler(Silent).SetErrorHandler(Silent).Build();

    private static IConsumer<Null, byte[]> Consumer(EmbeddedKafka kafka, string group) =>
        new ConsumerBuilder<Null, byte[]>(new ConsumerConfig(Client(kafka))
        {
            GroupId = group,
            AutoOffsetReset = AutoOffsetReset.Earliest,
            EnableAutoCommit = false,
            FetchWaitMaxMs = 10,
            SessionTimeoutMs = 6000,
        }).SetLogHandler(Silent).SetErrorHandler(Silent).Build();

    private static void Silent<T>(IClient client, T message)
    {
    }

    private static Message<Null, byte[]> Row(string value) => new() { Value = Encoding.UTF8.GetBytes(value) };

    private static Metadata Metadata(EmbeddedKafka kafka, string topic)
    {
        using var client = new AdminClientBuilder(Client(kafka)).SetLogHandler(Silent).SetErrorHandler(Silent).Build();
        return client.GetMetadata(topic, Deadline);
    }

    private static List<ConsumeResult<Null, byte[]>> Read(IConsumer<Null, byte[]> consumer, int count)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(Cancelled);
        deadline.CancelAfter(Deadline);
        var results = new List<ConsumeResult<Null, byte[]>>();
        while (results.Count < count)
        {
            results.Add(consumer.Consume(deadline.Token));
        }

        return results;
    }

    private static IEnumerable<string> Values(List<ConsumeResult<Null, byte[]>> results, int partition) =>
        results.Where(result => result.Partition.Value == partition)
            .Select(result => Encoding.UTF8.GetString(result.Message.Value));

    private static async Task<T> EventuallyAsync<T>(Func<Task<T>> attempt)
    {
        var started = Stopwatch.GetTimestamp();
        while (true)
        {
            try
            {
                return await attempt();
            }
            catch (KafkaException) when (Stopwatch.GetElapsedTime(started) < Deadline)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, Cancelled);
            }
        }
    }
}
