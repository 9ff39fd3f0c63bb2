using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Enqueue;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Tests.Simulation;
using Confluent.Kafka;
using CsCheck;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

/// <summary>Waiting for schemas, among everything else that pauses, moves and takes away partitions.</summary>
public sealed class SchemaWaitsProperties
{
    [Fact]
    public void EveryRow_IsEnqueuedInOrder_WhateverHappens() => Gen.Int.Sample(seed => new Run(seed).Go(), iter: 3_000);

    /// <summary>Some partitions, whose rows name no schema or one of a few.</summary>
    private sealed class Run
    {
        private const int Rows = 25;
        private const int Schemas = 4;

        private readonly Random _random;
        private readonly FakeTimeProvider _time = new();
        private readonly Assignment _assignment = new();
        private readonly RowQueue _queue;
        private readonly SchemaRegistry _registry;
        private readonly BackPressure _pressure;
        private readonly SchemaWaits _waits;
        private readonly IConsumer<RowKey, Row> _consumer;
        private readonly List<TopicPartition> _partitions = [new("p", 0), new("p", 1), new("p", 2)];
        private readonly Dictionary<TopicPartition, int[]> _logs;
        private readonly Dictionary<TopicPartition, long> _written;

        // The client's: it forgets positions with the partition, but not pauses.
        private readonly Dictionary<TopicPartition, long> _positions = [];
        private readonly HashSet<TopicPartition> _paused = [];

        public Run(int seed)
        {
            _random = new(seed);
            var options = new CacheOptions { QueueMaxSize = 4 };
            _queue = new(options);
            _registry = NoSchemas.Registry(options, _time);
            _pressure = new(_queue, _assignment, _time, NullLogger<BackPressure>.Instance);
            _waits = new(_pressure, _registry);
            _consumer = Proxy.Of<IConsumer<RowKey, Row>>(OnConsumer);
            _logs = _partitions.ToDictionary(partition => partition, _ => Enumerable.Range(0, Rows).Select(_ => _random.Next(3) == 0 ? _random.Next(1, Schemas + 1) : 0).ToArray());
            _written = _partitions.ToDictionary(partition => partition, _ => 0L);
        }

        public void Go()
        {
            for (var step = 0; step < 300; step++)
            {
                Step(_random.Next(10));
            }

            // From here on nothing else happens: every row arrives.
            for (var step = 0; step < 500 && (_written.Values.Any(written => written < Rows) || _assignment.Current.Count < _partitions.Count); step++)
            {
                _partitions.ForEach(Assign);
                Enumerable.Range(1, Schemas).ToList().ForEach(Learn);
                Turn();
                Drain(10);
                _time.Advance(TimeSpan.FromMilliseconds(201));
            }

            Assert.All(_written.Values, written => Assert.Equal(Rows, written));
            Assert.DoesNotContain(_assignment.Current, partition => partition.AwaitsSchema);
        }

        private void Step(int kind)
        {
            var partition = _partitions[_random.Next(_partitions.Count)];
            switch (kind)
            {
                case 0:
                    Learn(_random.Next(1, Schemas + 1));
                    break;
                case 1:
                    // What was unknown may be asked for again.
                    _time.Advance(Service.Decode.Schemas.UnknownFor);
                    break;
                case 2:
                    _time.Advance(TimeSpan.FromMilliseconds(201));
                    break;
                case 3 when _positions.Remove(partition):
                    _assignment.Revoke([partition]);
                    break;
                case 4 when _assignment.Find(partition.Topic, partition.Partition) is { } held:
                    var from = _random.Next((int)_written[partition] + 1);
                    _consumer.Seek(new(partition, from));
                    _assignment.Rewind(held, from, null);
                    _written[partition] = from;
                    break;
                case 5 or 6:
                    Drain(_random.Next(8));
                    break;
                case 7:
                    Assign(partition);
                    break;
                default:
                    Turn();
                    break;
            }
        }

        private void Learn(int schema) => _registry.Schemas.Add(schema, _random.Next(3) == 0 ? RowSchema.Unknown : RowSchema.Json);

        private void Assign(TopicPartition partition)
        {
            if (_positions.TryAdd(partition, _written[partition]))
            {
                var assigned = new AssignedPartition(partition, new());
                assigned.StartAt(_written[partition]);
                _assignment.Assign(assigned);
            }
        }

        /// <summary>A turn, as <see cref="Poller"/> does it.</summary>
        private void Turn()
        {
            if (!_pressure.Apply(_consumer))
            {
                return;
            }

            _waits.Apply(_consumer);
            for (var row = 0; row < 5 && !_pressure.HoldsRows && Deliver() is { } result; row++)
            {
                var partition = _assignment.Find(result.Topic, result.Partition)!;

                // Nothing but a schema sets it running, so that nothing is fetched only to be dropped.
                Assert.False(partition.AwaitsSchema);
                if (!_waits.Holds(_consumer, partition, new(result.Topic, result.Partition.Value, result.Offset.Value, 0, result.Message.Value)))
                {
                    _pressure.Enqueue(new(partition, result.Offset.Value, 0, result.Message.Value));
                }
            }

            _pressure.HandOver(moreComes: false);
        }

        private ConsumeResult<RowKey, Row>? Deliver()
        {
            var ready = _positions.Where(position => position.Value < Rows && !_paused.Contains(position.Key)).Select(position => position.Key).ToList();
            if (ready.Count == 0)
            {
                return null;
            }

            var partition = ready[_random.Next(ready.Count)];
            var offset = _positions[partition]++;
            var schema = _logs[partition][offset];
            return new()
            {
                TopicPartitionOffset = new(partition, offset),
                Message = new() { Value = schema == 0 || _registry.Schemas.Find(schema) is not null ? Row.Skip : Row.AwaitsSchema(schema) },
            };
        }

        private void Drain(int rows)
        {
            while (rows-- > 0 && _queue.TryDequeue(out var row))
            {
                Assert.NotEqual(RowKind.AwaitsSchema, row.Row.Kind);
                if (row.Partition!.Owned)
                {
                    Assert.Equal(_written[row.Partition.TopicPartition]++, row.Offset);
                }
            }
        }

        private object? OnConsumer(string method, object?[] arguments)
        {
            switch (method)
            {
                case nameof(IConsumer<,>.Seek) when arguments[0] is TopicPartitionOffset to:
                    Assert.True(_positions.ContainsKey(to.TopicPartition));
                    _positions[to.TopicPartition] = to.Offset.Value;
                    break;
                case nameof(IConsumer<,>.Pause):
                    _paused.UnionWith((IEnumerable<TopicPartition>)arguments[0]!);
                    break;
                case nameof(IConsumer<,>.Resume):
                    _paused.ExceptWith((IEnumerable<TopicPartition>)arguments[0]!);
                    break;
                default:
                    throw new NotSupportedException(method);
            }

            return null;
        }
    }
}
