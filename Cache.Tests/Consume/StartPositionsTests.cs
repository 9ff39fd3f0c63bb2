using Cache.Embedded;
using Cache.Service;
using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Tests.EndToEnd;
using Cache.Tests.Simulation;
using Confluent.Kafka;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

/// <summary>Each partition's start by itself, on a client that says what a test wants it to.</summary>
public sealed class StartPositionsTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(5);

    private readonly FakeTimeProvider _time = new(DateTimeOffset.FromUnixTimeMilliseconds(Rows.Window(0)));
    private readonly Dictionary<TopicPartition, long> _committed = [];
    private readonly Dictionary<TopicPartition, long> _younger = [];
    private readonly List<long> _searches = [];
    private readonly IConsumer<RowKey, Row> _consumer;
    private WatermarkOffsets _ends = new(3, 9);
    private int _failures;

    public StartPositionsTests() => _consumer = Proxy.Of<IConsumer<RowKey, Row>>((method, arguments) => method switch
    {
        nameof(IConsumer<,>.Committed) when _failures-- > 0 => throw new KafkaException(ErrorCode.GroupCoordinatorNotAvailable),
        nameof(IConsumer<,>.Committed) => ((IEnumerable<TopicPartition>)arguments[0]!)
            .Select(partition => new TopicPartitionOffset(partition, _committed.TryGetValue(partition, out var offset) ? offset : Offset.Unset)).ToList(),
        nameof(IConsumer<,>.QueryWatermarkOffsets) => _ends,
        nameof(IConsumer<,>.OffsetsForTimes) => ((IEnumerable<TopicPartitionTimestamp>)arguments[0]!).Select(search =>
        {
            _searches.Add(search.Timestamp.UnixTimestampMs);
            return new TopicPartitionOffset(search.TopicPartition, _younger.TryGetValue(search.TopicPartition, out var offset) ? offset : Offset.End);
        }).ToList(),
        _ => throw new NotSupportedException(method),
    });

    [Theory]
    [InlineData("latest")]
    [InlineData("earliest")]
    [InlineData("1h")]
    public void CommittedOffset_ComesFirst_AlsoTheFirstThereIs(string from)
    {
        var positions = Positions(from);
        (_committed[Partition(0)], _committed[Partition(1)]) = (0, 7);

        Assert.Equal([(At(0, 0), true), (At(1, 7), true)], positions.Find(_consumer, [Partition(0), Partition(1)], Patience));
        Assert.False(positions.AnyUnknown);
    }

    [Theory]
    [InlineData("latest", 9)]
    [InlineData("earliest", 3)]
    [InlineData("1h", 5)]
    public void PartitionWithoutACommittedOffset_StartsAsTheConfigurationSays(string from, long start)
    {
        var positions = Positions(from);
        positions.NoteTopic(Rows.Events, 2);
        _committed[Partition(0)] = 7;
        _younger[Partition(1)] = 5;

        Assert.Equal([(At(0, 7), true), (At(1, start), false)], positions.Find(_consumer, [Partition(0), Partition(1)], Patience));
    }

    [Fact]
    public void Duration_IsCountedBackFromNow()
    {
        _younger[Partition(0)] = 0;
        Assert.Equal([(At(0, 0), false)], Positions("90m").Find(_consumer, [Partition(0)], Patience));
        Assert.Equal([Rows.Window(-90)], _searches);
    }

    [Fact]
    public void TopicAndPartition_ThatWereNotThereAtTheStart_AreReadFromTheirBeginning()
    {
        var positions = Positions("latest");
        positions.NoteTopic(Rows.Events, 1);
        positions.NoteTopic(Rows.Performance, 0);

        // The first look counts.
        positions.NoteTopic(Rows.Events, 2);
        var late = new TopicPartition(Rows.Performance, 0);

        Assert.Equal(
            [(At(0, 9), false), (At(1, 3), false), (new(late, 3), false)],
            positions.Find(_consumer, [Partition(0), Partition(1), late], Patience));
    }

    [Fact]
    public void Kafka_IsAskedAgain_AsLongAsPatienceLasts()
    {
        var positions = Positions("latest");
        _committed[Partition(0)] = 7;
        _failures = 10;

        Assert.Equal([(At(0, 7), true)], positions.Find(_consumer, [Partition(0)], Patience));

        Assert.Equal(TimeSpan.FromSeconds(1), _time.GetUtcNow() - DateTimeOffset.FromUnixTimeMilliseconds(Rows.Window(0)));
        Assert.False(positions.AnyUnknown);
    }

    [Fact]
    public void Start_ThatKafkaDoesNotTell_IsLeftToTheClient_AndKnownToBeUnknown()
    {
        var positions = Positions("latest");
        _failures = int.MaxValue;

        Assert.Equal(
            [(new(Partition(0), Offset.Stored), true), (new(Partition(1), Offset.Stored), true)],
            positions.Find(_consumer, [Partition(0), Partition(1)], Patience));

        Assert.Equal(Patience, _time.GetUtcNow() - DateTimeOffset.FromUnixTimeMilliseconds(Rows.Window(0)));
        Assert.True(positions.AnyUnknown);
    }

    [Fact]
    public void TimeAfterTheLastRow_IsTheEnd_OfAnEmptyPartitionToo()
    {
        _ends = new(4, 4);
        Assert.Equal([At(0, 4)], Positions("latest").At(_consumer, [Partition(0)], TimeSpan.FromHours(1)));
    }

    [Theory]
    [InlineData(-90, 2)]
    [InlineData(-60, 0)]
    [InlineData(-30, 0)]
    public async Task TimeThatTheBrokerCannotLookUp_IsTheBeginning_WhenTheLastRowIsYoungEnough(int minutes, long start)
    {
        await using var broker = await EmbeddedKafka.StartAsync(brokers: 1);
        broker.CreateTopic(Rows.Events, partitions: 1);
        using var kafka = new KafkaSide(broker.BootstrapServers, "cache-tests");
        foreach (var minute in new[] { -600, minutes })
        {
            var row = Rows.Message("a row");
            row.Timestamp = new Timestamp(Rows.Window(minute), TimestampType.CreateTime);
            await kafka.SendAsync(Rows.Events, 0, [row]);
        }

        _ends = new(0, 2);

        Assert.Equal([At(0, start)], Positions("latest", broker.BootstrapServers).At(_consumer, [Partition(0)], TimeSpan.FromHours(1)));
    }

    private StartPositions Positions(string from, string brokers = "127.0.0.1:1")
    {
        var options = CacheOptionsReader.Read(new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["cache_consume_from"] = from,
            ["ConnectionStrings:kafka"] = brokers,
            ["Kafka:fetch.wait.max.ms"] = "5",
        }).Build());
        return new(options, new RowReader(options), GoOn, _time, NullLogger<StartPositions>.Instance);
    }

    /// <summary>Time goes on until the work is done.</summary>
    private bool GoOn(Task work, TimeSpan patience)
    {
        while (!work.IsCompleted)
        {
            _time.Advance(TimeSpan.FromMilliseconds(10));
        }

        return true;
    }

    private static TopicPartition Partition(int number) => new(Rows.Events, number);

    private static TopicPartitionOffset At(int partition, long offset) => new(Partition(partition), offset);
}
