using System.Text;
using Confluent.Kafka;

namespace Cache.Tests.EndToEnd;

/// <summary>The other side of the topics: sends rows, and looks at offsets and dead letters.</summary>
internal sealed class KafkaSide(string address, string group) : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private readonly Lazy<IProducer<byte[]?, byte[]?>> _producer = new(() => new ProducerBuilder<byte[]?, byte[]?>(
        new ProducerConfig(Client(address)) { LingerMs = 2, MessageMaxBytes = 100_000_000, EnableIdempotence = true })
        .SetKeySerializer(Serializers.ByteArray!).SetValueSerializer(Serializers.ByteArray!)
        .SetLogHandler((_, _) => { }).SetErrorHandler((_, _) => { }).Build());

    private readonly Lazy<IConsumer<byte[]?, byte[]?>> _consumer = new(() => new ConsumerBuilder<byte[]?, byte[]?>(
        new ConsumerConfig(Client(address)) { GroupId = group, EnableAutoCommit = false })
        .SetLogHandler((_, _) => { }).SetErrorHandler((_, _) => { }).Build());

    private readonly Lock _asking = new();

    /// <summary>Sends rows, in order, to one partition.</summary>
    public Task SendAsync(string topic, int partition, params IEnumerable<string> values) =>
        SendAsync(topic, partition, values.Select(value => Rows.Message(value)));

    /// <summary>Sends messages, in order, and waits until all are there.</summary>
    public Task SendAsync(string topic, int partition, IEnumerable<Message<byte[]?, byte[]?>> messages) =>
        SendAsync(messages.Select(message => (new TopicPartition(topic, partition), message)));

    /// <summary>Sends messages, in order, and waits until all are there.</summary>
    /// <returns>Where each went.</returns>
    public async Task<List<TopicPartitionOffset>> SendAsync(IEnumerable<(TopicPartition To, Message<byte[]?, byte[]?> Message)> messages)
    {
        var results = await Task.WhenAll([.. messages.Select(message => _producer.Value.ProduceAsync(message.To, message.Message))]);
        return [.. results.Select(result => result.TopicPartitionOffset)];
    }

    /// <summary>The partitions that a topic has.</summary>
    public List<TopicPartition> Partitions(string topic)
    {
        lock (_asking)
        {
            using var admin = new DependentAdminClientBuilder(_consumer.Value.Handle).Build();
            var metadata = admin.GetMetadata(topic, Patience).Topics[0];
            return [.. metadata.Partitions.Select(partition => new TopicPartition(topic, partition.PartitionId)).OrderBy(p => p.Partition.Value)];
        }
    }

    /// <summary>The end of each partition.</summary>
    public long[] Ends(string topic)
    {
        var partitions = Partitions(topic);
        lock (_asking)
        {
            return [.. partitions.Select(partition => _consumer.Value.QueryWatermarkOffsets(partition, Patience).High.Value)];
        }
    }

    /// <summary>The group's committed offset in each partition; -1001 where there is none.</summary>
    public long[] Committed(string topic)
    {
        var partitions = Partitions(topic);
        lock (_asking)
        {
            return [.. _consumer.Value.Committed(partitions, Patience).Select(offset => offset.Offset.Value)];
        }
    }

    /// <summary>Every row that topics have now.</summary>
    public List<ConsumeResult<byte[]?, byte[]?>> ReadAll(params string[] topics)
    {
        var config = new ConsumerConfig(Client(address))
        {
            GroupId = group + "-test-reader",
            EnableAutoCommit = false,
            EnablePartitionEof = true,
            AutoOffsetReset = AutoOffsetReset.Earliest,
            FetchWaitMaxMs = 5,
        };
        using var consumer = new ConsumerBuilder<byte[]?, byte[]?>(config)
            .SetLogHandler((_, _) => { }).SetErrorHandler((_, _) => { }).Build();
        var partitions = topics.SelectMany(Partitions).ToList();
        consumer.Assign(partitions.Select(partition => new TopicPartitionOffset(partition, Offset.Beginning)));
        var rows = new List<ConsumeResult<byte[]?, byte[]?>>();
        using var deadline = new CancellationTokenSource(Patience);
        for (var ended = 0; ended < partitions.Count;)
        {
            var result = consumer.Consume(deadline.Token);
            if (result.IsPartitionEOF)
            {
                ended++;
            }
            else
            {
                rows.Add(result);
            }
        }

        return rows;
    }

    public void Dispose()
    {
        if (_producer.IsValueCreated)
        {
            _producer.Value.Dispose();
        }

        if (_consumer.IsValueCreated)
        {
            _consumer.Value.Dispose();
        }
    }

    /// <summary>The text of a header; null when it is not there.</summary>
    public static string? Header(ConsumeResult<byte[]?, byte[]?> row, string name) =>
        row.Message.Headers.TryGetLastBytes(name, out var bytes) ? Encoding.UTF8.GetString(bytes) : null;

    private static ClientConfig Client(string address) =>
        new() { BootstrapServers = address, ReconnectBackoffMs = 20, ReconnectBackoffMaxMs = 200 };
}
