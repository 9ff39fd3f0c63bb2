using System.Diagnostics;
using System.Text;
using Cache.Embedded;
using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cache.Tests.Consume;

/// <summary>Both ways to take rows from the client, from a real client and an embedded Kafka.</summary>
public sealed class RowSourceTests : IAsyncLifetime
{
    private const string Topic = Rows.Events;
    private static readonly TimeSpan Deadline = TestTimeout.Full;
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(100);

    private EmbeddedKafka _broker = null!;
    private KafkaSide _kafka = null!;

    public static TheoryData<bool> Ways => [true, false];

    public async ValueTask InitializeAsync()
    {
        _broker = await EmbeddedKafka.StartAsync(brokers: 1);
        _broker.CreateTopic(Topic, partitions: 2);
        _broker.CreateTopic(Rows.Performance, partitions: 1);
        _kafka = new(_broker.BootstrapServers, "cache-tests");
    }

    public async ValueTask DisposeAsync()
    {
        _kafka.Dispose();
        await _broker.DisposeAsync();
    }

    [Fact]
    public async Task BothWays_DeliverTheSame()
    {
        using var listener = new ActivityListener { ShouldListenTo = source => source.Name.StartsWith("Cache", StringComparison.Ordinal) };
        ActivitySource.AddActivityListener(listener);
        Message<byte[]?, byte[]?>[] messages =
        [
            Rows.Message(Rows.Event(Rows.Window(1), "a", 1)),
            Rows.Message(Rows.Event(Rows.Window(1), "b", 2), "a key"),
            Message("not JSON", "key", ("one", "1"), ("none", null), ("empty", ""), ("one", "again")),
            Message("not JSON", null),
            Message("[]", ""),
            Message("", null),
            Message(null, "tombstone"),
            Message(Rows.Event(Rows.Window(2), "a", 3), null, ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", "a=b")),
            Message(Rows.Event(Rows.Window(2), "a", 4), null, ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00")),
            Message(Rows.Event(Rows.Window(2), "a", 5), null, ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-zz")),
            Message(Rows.Event(Rows.Window(2), "a", 6), null, ("traceparent", "short"), ("tracestate", "a=b")),
            Message(Rows.Event(Rows.Window(2), "a", 7), null, ("traceparent", null)),
        ];
        await _kafka.SendAsync(Topic, 0, messages);
        await _kafka.SendAsync(Rows.Performance, 0, Rows.Load(Rows.Window(1), "Desktop", 412.5));

        var (batched, single) = (await ReadAsync(batches: true), await ReadAsync(batches: false));

        Assert.Equal(single, batched);
        Assert.Equal(messages.Length + 1 + 3, batched.Count);

        async Task<List<string>> ReadAsync(bool batches)
        {
            await using var reading = Open(batches, new(Topic, 0, 0), new(Topic, 1, 0), new(Rows.Performance, 0, 0));
            var rows = new List<string>();
            await Until(() =>
            {
                if (reading.Source.TryTake(Pace, out var received))
                {
                    rows.Add(Text(received));
                }

                return rows.Count(row => row.EndsWith("end", StringComparison.Ordinal)) == 3;
            });
            return [.. rows.Order(StringComparer.Ordinal)];
        }
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task LoneRow_IsThereAtOnce(bool batches)
    {
        await using var reading = Open(batches, new TopicPartitionOffset(Topic, 0, 0));
        await _kafka.SendAsync(Topic, 0, Rows.Event(Rows.Window(1), "a", 1));

        // Much longer than the test may take.
        Assert.True(await Task.Run(() => reading.Source.TryTake(Deadline * 10, out _)).WaitAsync(Deadline, TestContext.Current.CancellationToken));
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task MissingOffset_IsAnError_WithItsPartition_AndTheOthersFlow(bool batches)
    {
        await _kafka.SendAsync(Topic, 0, Enumerable.Range(0, 5).Select(number => Rows.Event(Rows.Window(1), "a", number)));
        await _kafka.SendAsync(Topic, 1, Enumerable.Range(0, 5).Select(number => Rows.Event(Rows.Window(2), "a", number)));
        await using var reading = Open(batches, new(Topic, 0, 100), new(Topic, 1, 0));
        var (errors, rows) = (new List<ConsumeException>(), 0);
        await Until(() =>
        {
            try
            {
                rows += reading.Source.TryTake(Pace, out var received) && !received.IsEnd ? 1 : 0;
            }
            catch (ConsumeException exception)
            {
                errors.Add(exception);
            }

            return errors.Count > 0 && rows == 5;
        });

        Assert.All(errors, error => Assert.Equal((ErrorCode.Local_AutoOffsetReset, false), (error.Error.Code, error.Error.IsFatal)));
        Assert.All(errors, error => Assert.Equal(new TopicPartition(Topic, 0), error.ConsumerRecord.TopicPartition));
        Assert.All(errors, error => Assert.NotEmpty(error.Error.Reason));
    }

    /// <summary>The client goes on after the last row that it has delivered, whatever ends of partitions were among them.</summary>
    [Theory]
    [MemberData(nameof(Ways))]
    public async Task PausedPartition_GoesOnAfterTheLastRow(bool batches)
    {
        const int Blocks = 6;
        await using var reading = Open(batches, new(Topic, 0, 0), new(Topic, 1, 0));
        var offsets = new List<long>();
        for (var block = 1; block <= Blocks; block++)
        {
            await _kafka.SendAsync(Topic, 0, Enumerable.Range(0, 50).Select(number => Rows.Event(Rows.Window(1), "a", number)));
            var all = 50 * block;
            await Until(() => Take(all - 25) >= all - 25);
            Pause();
            Take(all);
            reading.Source.Consumer.Resume([new(Topic, 0), new(Topic, 1)]);
            await Until(() => Take(all) == all, () => string.Join(",", offsets));
        }

        Assert.Equal(Enumerable.Range(0, 50 * Blocks).Select(offset => (long)offset), offsets);

        int Take(int most)
        {
            while (offsets.Count < most && reading.Source.TryTake(Pace, out var received))
            {
                if (received is { IsEnd: false, Partition: 0 })
                {
                    offsets.Add(received.Offset);
                }
            }

            return offsets.Count;
        }

        void Pause()
        {
            // As the loop does it: what is at hand is taken first.
            while (reading.Source.HasMore)
            {
                Take(offsets.Count + 1);
            }

            reading.Source.Consumer.Pause([new(Topic, 0), new(Topic, 1)]);
        }
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task SoughtPartition_GoesOnThere(bool batches)
    {
        await _kafka.SendAsync(Topic, 0, Enumerable.Range(0, 2500).Select(number => Rows.Event(Rows.Window(1), "a", number)));
        await using var reading = Open(batches, new TopicPartitionOffset(Topic, 0, 0));
        var offsets = new List<long>();
        await Until(() => Take());
        while (reading.Source.HasMore)
        {
            Take();
        }

        reading.Source.Consumer.Seek(new(Topic, 0, 10));
        offsets.Clear();
        await Until(() => Take() && offsets.Count == 2490);

        Assert.Equal(Enumerable.Range(10, 2490).Select(offset => (long)offset), offsets);

        bool Take()
        {
            if (reading.Source.TryTake(Pace, out var received) && !received.IsEnd)
            {
                offsets.Add(received.Offset);
            }

            return offsets.Count > 0;
        }
    }

    [Fact]
    public async Task Batch_IsTakenRowByRow_AndItsRestIsGivenBackAtTheEnd()
    {
        await _kafka.SendAsync(Topic, 0, Enumerable.Range(0, 3000).Select(number => Rows.Event(Rows.Window(1), "a", number)));
        await using var reading = Open(batches: true, new TopicPartitionOffset(Topic, 0, 0));

        Assert.False(reading.Source.HasMore);
        await Until(() => reading.Source.TryTake(Pace, out _) && reading.Source.HasMore);
        Assert.True(reading.Source.TryTake(TimeSpan.Zero, out var second));
        Assert.Equal(1, second.Offset);
    }

    [Fact]
    public async Task Rows_AreTakenInBatches_UnlessTheConfigurationSaysOtherwise()
    {
        await using var batched = Open(batches: true);
        await using var single = Open(batches: false);
        await using var paced = OpenPaced(batches: true, paceMs: 1);

        Assert.IsType<BatchedRows>(batched.Source);
        Assert.IsType<SingleRows>(single.Source);
        Assert.IsType<PacedRows>(paced.Source);
        Assert.Null(NativeConsumer.Obstacle());
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task ConsumerThatIsHeld_IsNotFreed_UntilItIsLetGo(bool batches)
    {
        var source = Open(batches, new TopicPartitionOffset(Topic, 0, 0)).Source;
        await _kafka.SendAsync(Topic, 0, Rows.Event(Rows.Window(1), "a", 1), Rows.Event(Rows.Window(1), "a", 2));
        await Until(() => source.TryTake(Pace, out _));
        var consumer = source.Consumer;
        var handle = KafkaHandle.Native(consumer)!;

        // As if a stop took too long: whoever owns the consumer disposes it, while the loop still calls it.
        var held = KafkaHandle.Hold(consumer);
        consumer.Dispose();
        Assert.False(handle.IsClosed);
        var queue = NativeConsumer.QueueOf(handle.DangerousGetHandle());
        Assert.NotEqual(0, queue);
        NativeConsumer.DestroyQueue(queue);
        source.End();
        held.Dispose();
        held.Dispose();

        Assert.True(handle.IsClosed);
        Assert.Throws<ObjectDisposedException>(() => KafkaHandle.Hold(consumer));
    }

    private static async Task Until(Func<bool> isDone, Func<string>? state = null)
    {
        var began = Stopwatch.GetTimestamp();
        while (!await Task.Run(isDone))
        {
            Assert.True(Stopwatch.GetElapsedTime(began) < Deadline, $"not in time {state?.Invoke()}");
        }
    }

    private static Message<byte[]?, byte[]?> Message(string? value, string? key, params (string Name, string? Value)[] headers)
    {
        var message = new Message<byte[]?, byte[]?> { Key = Bytes(key), Value = Bytes(value), Headers = [] };
        Array.ForEach(headers, header => message.Headers.Add(header.Name, Bytes(header.Value)));
        return message;
    }

    private static byte[]? Bytes(string? text) => text is null ? null : Encoding.UTF8.GetBytes(text);

    private static string Text(in Received received)
    {
        var (row, kept) = (received.Row, received.Row.Rejected);
        var measures = row.Kind == RowKind.Window ? $"{row.Dimension} {row.Measures}" : "";
        var bytes = kept is null ? "" : $"{Shown(kept.Key)} {kept.Value.Length} {kept.Headers?.Count ?? 0} {string.Join(' ', kept.Headers?.Select(header => $"{header.Key}={Shown(header.GetValueBytes())}") ?? [])}";
        return $"{received.Topic}/{received.Partition}@{received.Offset} {received.Timestamp > 0} {row.Kind} {row.Reason} {row.WindowStart} {measures} {bytes} {received.Trace?.TraceId} {received.Trace?.TraceState} {(received.IsEnd ? "end" : "")}".TrimEnd();
    }

    private static string Shown(byte[]? bytes) => bytes is null ? "null" : $"'{Encoding.UTF8.GetString(bytes)}'";

    private Reading Open(bool batches, params TopicPartitionOffset[] starts) => OpenPaced(batches, paceMs: 0, starts);

    private Reading OpenPaced(bool batches, int paceMs, params TopicPartitionOffset[] starts)
    {
        var options = new CacheOptions
        {
            KafkaBootstrapServers = _broker.BootstrapServers,
            ConsumerGroup = $"g{Guid.NewGuid():N}",
            ConsumeBatches = batches,
            ConsumePaceMs = paceMs,
        };
        var config = new ConsumerConfig { BootstrapServers = _broker.BootstrapServers };
        KafkaClients.Configure(config, options);
        config.FetchWaitMaxMs = 5;
        var schemas = new Schemas(TimeProvider.System);
        var deserializer = new RowDeserializer(options, TimeProvider.System, schemas);
        var consumer = new ConsumerBuilder<RowKey, Row>(config).SetKeyDeserializer(deserializer).SetValueDeserializer(deserializer).SetLogHandler((_, _) => { }).Build();
        consumer.Assign(starts);
        return new(new RowSources(options, schemas, TimeProvider.System, NullLogger<RowSources>.Instance).Create(consumer));
    }

    private sealed class Reading(IRowSource source) : IAsyncDisposable
    {
        public IRowSource Source => source;

        public async ValueTask DisposeAsync()
        {
            source.End();
            await Task.Run(source.Consumer.Close);
            await KafkaHandle.EndAsync(source.Consumer);
        }
    }
}
