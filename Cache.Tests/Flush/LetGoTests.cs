using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Enqueue;
using Cache.Service.Flush;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Tests.Flush;

public sealed class LetGoTests
{
    private static readonly WindowKey Window = new(RowKind.Event, 1_710_000_000_000);

    private readonly RowDecoder _decoder = new(TimeSpan.FromDays(1), TimeProvider.System);
    private readonly AssignedPartition _one = new(new TopicPartition("event_metrics", 0), new RecordCount());
    private readonly AssignedPartition _other = new(new TopicPartition("event_metrics", 1), new RecordCount());
    private readonly Batch _batch = new();

    [Fact]
    public void FieldOfTwoPartitions_WhenOneIsLetGo_KeepsTheOthersValues()
    {
        Add(_one, 0, """{"window_start":1710000000000,"event_type":"a","event_count":1}""");
        Add(_other, 0, """{"window_start":1710000000000,"event_type":"a","event_count":2,"user_count":2}""");
        Add(_one, 1, """{"window_start":1710000000000,"event_type":"a","user_count":3}""");
        Add(_other, 1, """{"window_start":1710000000000,"event_type":"b","event_count":4}""");
        Assert.Equal([new(2, 3, true, true), new(4, 0, true, false)], Written());

        _other.LetGo();
        _batch.DropLetGo();

        Assert.Equal([new(1, 3, true, true)], Written());
        Assert.Same(_one, Assert.Single(_batch.Ranges).Partition);
        Add(_one, 2, """{"window_start":1710000000000,"event_type":"a","event_count":5}""");
        Assert.Equal([new(5, 3, true, true)], Written());
    }

    [Fact]
    public void FieldOfTwoPartitions_WhenBothAreLetGo_IsDropped()
    {
        Add(_one, 0, """{"window_start":1710000000000,"event_type":"a","event_count":1}""");
        Add(_other, 0, """{"window_start":1710000000000,"event_type":"a","event_count":2}""");

        _one.LetGo();
        _other.LetGo();
        _batch.DropLetGo();

        Assert.Empty(_batch.Windows);
        Assert.Empty(_batch.Ranges);
    }

    private IEnumerable<Measures> Written() => _batch.Windows[Window].OrderBy(field => field.Key.Name).Select(field => field.Value.Measures);

    private void Add(AssignedPartition partition, long offset, string json) =>
        _batch.Add(new QueuedRow(partition, offset, 0, _decoder.Decode(RowKind.Event, System.Text.Encoding.UTF8.GetBytes(json))), 0);
}
