using Cache.Embedded;
using Cache.Service.Consume;
using Cache.Service.Options;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

/// <summary>Start positions in isolation, on a scripted Kafka.</summary>
public sealed class StartPositionsTests
{
    private static readonly TimeSpan TestTimeout = TimeSpan.FromSeconds(5);

    private readonly FakeTimeProvider _time = new(DateTimeOffset.FromUnixTimeMilliseconds(Rows.Window(0)));
    private readonly FakeLookups _kafka = new();

    [Theory]
    [InlineData("latest")]
    [InlineData("earliest")]
    [InlineData("1h")]
    public void CommittedOffset_ComesFirst_AlsoTheFirstThereIs(string from)
    {
        var positions = Positions(from);
        (_kafka.Committed[Partition(0)], _kafka.Committed[Partition(1)]) = (0, 7);

        Assert.Equal([(At(0, 0), true), (At(1, 7), true)], positions.Find([Partition(0), Partition(1)], TestTimeout));
        Assert.False(positions.AnyUnknown);
    }

    [Theory]
    [InlineData("latest", 9)]
    [InlineData("earliest", 3)]
    [InlineData("1h", 5)]
    public void PartitionWithoutACommittedOffset_StartsAsConfigured(string from, long start)
    {
        var positions = Positions(from);
        positions.NoteTopic(Rows.Events, 2);
        _kafka.Committed[Partition(0)] = 7;
        _kafka.Younger[Partition(1)] = 5;

        Assert.Equal([(At(0, 7), true), (At(1, start), false)], positions.Find([Partition(0), Partition(1)], TestTimeout));
    }

    [Fact]
    public void Duration_IsCountedBackFromNow()
    {
        _kafka.Younger[Partition(0)] = 0;
        Assert.Equal([(At(0, 0), false)], Positions("90m").Find([Partition(0)], TestTimeout));
        Assert.Contains($"since {Rows.Window(-90)} event_metrics/0", _kafka.Asked);
    }

    [Fact]
    public void TopicAndPartition_ThatWereNotThereAtTheStart_AreReadFromTheirBeginning()
    {
        var positions = Positions("latest");
        positions.NoteTopic(Rows.Events, 1);
        positions.NoteTopic(Rows.Performance, 0);

        // Only the first lookup counts.
        positions.NoteTopic(Rows.Events, 2);
        var late = new TopicPartition(Rows.Performance, 0);

        Assert.Equal(
            [(At(0, 9), false), (At(1, 3), false), (new(late, 3), false)],
            positions.Find([Partition(0), Partition(1), late], TestTimeout));
    }

    [Fact]
    public void Kafka_IsAskedAgain_UntilTheTimeout()
    {
        var positions = Positions("latest");
        _kafka.Committed[Partition(0)] = 7;
        _kafka.Failures = 10;

        Assert.Equal([(At(0, 7), true)], positions.Find([Partition(0)], TestTimeout));

        Assert.Equal(TimeSpan.FromSeconds(1), _time.GetUtcNow() - DateTimeOffset.FromUnixTimeMilliseconds(Rows.Window(0)));
        Assert.False(positions.AnyUnknown);
    }

    [Fact]
    public void Start_ThatKafkaDoesNotReport_IsLeftToTheClient_AndKnownToBeUnknown()
    {
        var positions = Positions("latest");
        _kafka.Failures = int.MaxValue;

        Assert.Equal(
            [(new(Partition(0), Offset.Stored), true), (new(Partition(1), Offset.Stored), true)],
            positions.Find([Partition(0), Partition(1)], TestTimeout));

        Assert.Equal(TestTimeout, _time.GetUtcNow() - DateTimeOffset.FromUnixTimeMilliseconds(Rows.Window(0)));
        Assert.True(positions.AnyUnknown);
    }

    [Fact]
    public void Start_ThatKafkaIsTooSlowToReport_IsNoLongerAwaited()
    {
        var positions = Positions("latest");
        _kafka.Gate = new TaskCompletionSource().Task;

        Assert.Equal([(new(Partition(0), Offset.Stored), true)], positions.Find([Partition(0)], TestTimeout));

        Assert.Equal(TestTimeout, _time.GetUtcNow() - DateTimeOffset.FromUnixTimeMilliseconds(Rows.Window(0)));
        Assert.True(positions.AnyUnknown);
    }

    [Theory]
    [InlineData("latest", 9)]
    [InlineData("earliest", 3)]
    [InlineData("1h", 9)]
    public void ManyPartitions_AreAskedForAtOnce(string from, long start)
    {
        var partitions = Enumerable.Range(0, 200).Select(Partition).ToList();

        Assert.All(Positions(from).Find(partitions, TestTimeout), found => Assert.Equal((start, false), (found.Start.Offset.Value, found.Resumed)));

        Assert.InRange(_kafka.Asked.Count, 2, 5);
    }

    [Theory]
    [InlineData("latest", 5)]
    [InlineData("earliest", 3)]
    [InlineData("30m", 5)]
    public void TopicThatWasPerhapsThereAtTheStart_IsReadFromThereOn(string from, long start)
    {
        var positions = Positions(from);
        var since = DateTimeOffset.FromUnixTimeMilliseconds(Rows.Window(-1));
        positions.NoteUnsure(Rows.Events, since);
        positions.NoteTopic(Rows.Events, 1);
        _kafka.Younger[Partition(0)] = 5;

        Assert.Equal([(At(0, start), false), (At(1, 3), false)], positions.Find([Partition(0), Partition(1)], TestTimeout));

        Assert.Equal(from == "latest", _kafka.Asked.Contains($"since {Rows.Window(-1)} event_metrics/0"));
    }

    [Fact]
    public async Task TimeAfterTheLastRow_IsTheEnd_OfAnEmptyPartitionToo()
    {
        _kafka.Ends = (4, 4);
        Assert.Equal(4, (await Positions("latest").AtAsync([Partition(0)], _time.GetUtcNow()))[Partition(0)].Value);
    }

    [Theory]
    [InlineData(-90, 2)]
    [InlineData(-60, 0)]
    [InlineData(-30, 0)]
    public async Task TimeThatTheBrokerCannotLookUp_IsTheBeginning_WhenTheLastRowIsYoungEnough(int minutes, long start)
    {
        await using var broker = await EmbeddedKafka.StartAsync(brokers: 1);
        broker.CreateTopic(Rows.Events, partitions: 3);
        using var kafka = new KafkaSide(broker.BootstrapServers, "cache-tests");
        foreach (var partition in new[] { 0, 2 })
        {
            foreach (var minute in new[] { -600, partition == 0 ? minutes : -600 })
            {
                var row = Rows.Message("a row");
                row.Timestamp = new Timestamp(Rows.Window(minute), TimestampType.CreateTime);
                await kafka.SendAsync(Rows.Events, partition, [row]);
            }
        }

        var options = CacheOptionsReader.Read(new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["ConnectionStrings:kafka"] = broker.BootstrapServers,
            ["Kafka:fetch.wait.max.ms"] = "5",
        }).Build());
        using var lookups = new KafkaLookups(options, new RowReader(options), new KafkaErrors(_time, NullLogger<KafkaErrors>.Instance));
        var positions = new StartPositions(lookups, options, Advance, _time, NullLogger<StartPositions>.Instance);

        var found = await positions.AtAsync([Partition(0), Partition(1), Partition(2)], DateTimeOffset.FromUnixTimeMilliseconds(Rows.Window(-60)));

        Assert.Equal([start, 0, 2], found.OrderBy(partition => partition.Key.Partition.Value).Select(partition => partition.Value.Value));
    }

    private StartPositions Positions(string from)
    {
        Assert.True(ConsumeFrom.TryParse(from, out var start));
        return new(_kafka, new CacheOptions { ConsumeFrom = start }, Advance, _time, NullLogger<StartPositions>.Instance);
    }

    /// <summary>Advances the clock until the work is done or timed out.</summary>
    private bool Advance(Task work, TimeSpan timeout)
    {
        for (var waited = TimeSpan.Zero; !work.IsCompleted && waited < timeout; waited += TimeSpan.FromMilliseconds(10))
        {
            _time.Advance(TimeSpan.FromMilliseconds(10));
        }

        return work.IsCompletedSuccessfully;
    }

    private static TopicPartition Partition(int number) => new(Rows.Events, number);

    private static TopicPartitionOffset At(int partition, long offset) => new(Partition(partition), offset);
}
