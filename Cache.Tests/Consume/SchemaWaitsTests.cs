using System.Collections.Concurrent;
using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Enqueue;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Tests.Simulation;
using Confluent.Kafka;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

/// <summary>Partitions that wait for a schema, on a scripted client.</summary>
public sealed class SchemaWaitsTests
{
    private readonly FakeTimeProvider _time = new();
    private readonly Assignment _assignment = new();
    private readonly RowQueue _queue;
    private readonly SchemaRegistry _registry;
    private readonly BackPressure _pressure;
    private readonly SchemaWaits _waits;
    private readonly IConsumer<RowKey, Row> _consumer;
    private readonly ConcurrentQueue<string> _calls = [];
    private Exception? _refusal;

    public SchemaWaitsTests()
    {
        var options = new CacheOptions { QueueMaxSize = 4 };
        _queue = new(options);
        _registry = NoSchemas.Registry(options, _time);
        _pressure = new(_queue, _assignment, _time, NullLogger<BackPressure>.Instance);
        _waits = new(_pressure, _registry);
        _consumer = Proxy.Of<IConsumer<RowKey, Row>>(OnConsumer);
    }

    [Fact]
    public void RowThatAwaitsASchema_PausesItsPartition_WhichGoesOnFromThatRow()
    {
        var (held, other) = (Take(0), Take(1));
        held.StartAt(5);

        Assert.True(Holds(held, 5, schema: 7));
        Assert.False(Holds(other, 9));
        Assert.Equal(["Pause p/0"], _calls);
        Assert.Equal((true, 5, true), (held.AwaitsSchema, held.Next, _waits.ExpectSoon));

        // What the client had at hand already.
        Assert.True(Holds(held, 6));
        Assert.True(_waits.Holds(_consumer, held, new("p", 0, 7, 0, Row.Skip, IsEnd: true)));
        _waits.Apply(_consumer);
        Assert.Single(_calls);

        _registry.Schemas.Add(7, RowSchema.Json);
        _waits.Apply(_consumer);
        Assert.Equal(["Pause p/0", "Seek p/0 5", "Resume p/0"], _calls);
        Assert.False(held.AwaitsSchema);
        Assert.False(_waits.ExpectSoon);
        Assert.False(Holds(held, 5));
    }

    [Fact]
    public void UnknownSchema_EndsTheWaitToo()
    {
        var held = Take(0);
        Holds(held, 5, schema: 7);
        _registry.Schemas.Add(7, RowSchema.Unknown);
        _waits.Apply(_consumer);
        Assert.Equal(["Pause p/0", "Seek p/0 5", "Resume p/0"], _calls);
    }

    [Fact]
    public void RevokedPartition_IsLeftAlone_AndNoLongerWaitedFor()
    {
        var held = Take(0);
        Holds(held, 5, schema: 7);
        _assignment.Revoke([held.TopicPartition]);
        _registry.Schemas.Add(7, RowSchema.Json);

        _waits.Apply(_consumer);

        Assert.Equal(["Pause p/0"], _calls);
        Assert.False(held.AwaitsSchema);
    }

    [Fact]
    public void PartitionThatMovesOn_IsNotMovedBack()
    {
        var held = Take(0);
        Holds(held, 5, schema: 7);

        // Kafka has deleted the row.
        held.Next = 90;
        _registry.Schemas.Add(7, RowSchema.Json);
        _waits.Apply(_consumer);

        Assert.Contains("Seek p/0 90", _calls);
    }

    [Fact]
    public void PartitionTheClientCannotSeekYet_IsTriedAgain()
    {
        var held = Take(0);
        Holds(held, 5, schema: 7);
        _registry.Schemas.Add(7, RowSchema.Json);
        _refusal = new KafkaException(ErrorCode.Local_State);
        _waits.Apply(_consumer);
        Assert.True(held.AwaitsSchema);

        _refusal = null;
        _waits.Apply(_consumer);
        Assert.False(held.AwaitsSchema);
        Assert.Equal("Resume p/0", _calls.Last());
    }

    [Fact]
    public void FullQueue_AndSchema_ResumeAPartition_OnlyOnceNeitherHoldsIt()
    {
        var (held, other) = (Take(0), Take(1));
        Assert.True(_pressure.Apply(_consumer));
        Holds(held, 5, schema: 7);
        Fill(other);
        Empty();
        _calls.Clear();
        Assert.True(_pressure.Apply(_consumer));
        Assert.Equal(["Resume p/1"], _calls);

        Fill(other);
        _registry.Schemas.Add(7, RowSchema.Json);
        _calls.Clear();
        _waits.Apply(_consumer);
        Assert.Equal(["Seek p/0 5"], _calls);
        Empty();
        Assert.True(_pressure.Apply(_consumer));
        Assert.Equal(["Seek p/0 5", "Resume p/0 p/1"], _calls);
    }

    [Fact]
    public void RewoundPartition_RunsAgain_WithoutTheSchema()
    {
        var held = Take(0);
        _pressure.Apply(_consumer);
        Holds(held, 5, schema: 7);
        _assignment.Rewind(held, 2, null);
        _calls.Clear();

        _pressure.Apply(_consumer);
        _waits.Apply(_consumer);

        Assert.Equal(["Resume p/0"], _calls);
        Assert.True(Holds(_assignment.Current[0], 5, schema: 7));
    }

    private AssignedPartition Take(int number)
    {
        var partition = TestRows.Partition(number, "p");
        _assignment.Assign(partition);
        return partition;
    }

    private bool Holds(AssignedPartition partition, long offset, int? schema = null) =>
        _waits.Holds(_consumer, partition, new("p", partition.TopicPartition.Partition.Value, offset, 0, schema is { } id ? Row.AwaitsSchema(id) : Row.Skip));

    /// <summary>Fills the queue until the partitions are paused.</summary>
    private void Fill(AssignedPartition partition)
    {
        for (var row = 0; row < 5; row++)
        {
            _pressure.Enqueue(new(partition, partition.Next + 1, 0, Row.Skip));
        }

        _pressure.HandOver(moreComes: false);
        Assert.False(_pressure.Apply(_consumer));
        _time.Advance(TimeSpan.FromMilliseconds(201));
        Assert.True(_pressure.Apply(_consumer));
        Assert.True(_pressure.IsPaused);
    }

    private void Empty()
    {
        while (_queue.TryDequeue(out _))
        {
        }
    }

    private object? OnConsumer(string method, object?[] arguments)
    {
        _calls.Enqueue(arguments[0] is TopicPartitionOffset to ? $"{method} {Text(to.TopicPartition)} {to.Offset.Value}"
            : $"{method} {string.Join(' ', ((IEnumerable<TopicPartition>)arguments[0]!).Select(Text))}");
        return _refusal is null ? null : throw _refusal;
    }

    private static string Text(TopicPartition partition) => $"{partition.Topic}/{partition.Partition.Value}";
}
