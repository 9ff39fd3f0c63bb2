using System.Text;
using Confluent.Kafka;

namespace Cache.Tests.EndToEnd;

/// <summary>
/// The other end of the topics: sends rows, and reads offsets and dead letters. Members are safe to call from any thread; after
/// disposal they throw <see cref="ObjectDisposedException"/>.
/// </summary>
internal sealed class KafkaSide : IDisposable
{

    // Longer than any test keeps the brokers down.
    private static readonly TimeSpan SendTimeout = TimeSpan.FromMinutes(2);

    private readonly string _address;
    private readonly string _group;
    private readonly Lazy<IProducer<byte[]?, byte[]?>> _producer;
    private readonly Lazy<IConsumer<byte[]?, byte[]?>> _consumer;

    // Disposing a client in mid-call crashes the process, so disposal waits for calls in progress.
    private readonly Lock _sending = new();
    private readonly Lock _asking = new();
    private readonly TaskCompletionSource _disposed = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public KafkaSide(string address, string group)
    {
        Requirement.Started();
        (_address, _group) = (address, group);
        _producer = new(() => new ProducerBuilder<byte[]?, byte[]?>(
            new ProducerConfig(Client(address))
            {
                LingerMs = 2,
                MessageMaxBytes = 100_000_000,
                EnableIdempotence = true,
                MessageTimeoutMs = (int)SendTimeout.TotalMilliseconds,
            })
            .SetKeySerializer(Serializers.ByteArray!).SetValueSerializer(Serializers.ByteArray!)
            .SetLogHandler((_, _) => { }).SetErrorHandler((_, _) => { }).Build());
        _consumer = new(() => new ConsumerBuilder<byte[]?, byte[]?>(
            new ConsumerConfig(Client(address)) { GroupId = group, EnableAutoCommit = false })
            .SetLogHandler((_, _) => { }).SetErrorHandler((_, _) => { }).Build());
    }

    /// <summary>Sends rows, in order, to one partition.</summary>
    public Task SendAsync(string topic, int partition, params IEnumerable<string> values) =>
        SendAsync(topic, partition, values.Select(value => Rows.Message(value)));

    /// <summary>Sends messages, in order, and waits until all are acknowledged.</summary>
    public Task SendAsync(string topic, int partition, IEnumerable<Message<byte[]?, byte[]?>> messages) =>
        SendAsync(messages.Select(message => (new TopicPartition(topic, partition), message)));

    /// <summary>Sends messages, in order, and waits until all are acknowledged.</summary>
    /// <returns>The partition and offset of each.</returns>
    public async Task<List<TopicPartitionOffset>> SendAsync(IEnumerable<(TopicPartition To, Message<byte[]?, byte[]?> Message)> messages)
    {
        var sent = Task.WhenAll([.. messages.Select(message => Call(_sending, _producer, producer => producer.ProduceAsync(message.To, message.Message)))]);

        // A disposed client no longer reports what became of its messages.
        ObjectDisposedException.ThrowIf(await Task.WhenAny(sent, _disposed.Task) == _disposed.Task, this);
        return [.. (await sent).Select(result => result.TopicPartitionOffset)];
    }

    /// <summary>The partitions of a topic.</summary>
    public List<TopicPartition> Partitions(string topic) => Call(_asking, _consumer, consumer =>
    {
        using var admin = new DependentAdminClientBuilder(consumer.Handle).Build();
        var metadata = admin.GetMetadata(topic, TestTimeout.Full).Topics[0];
        return metadata.Partitions.Select(partition => new TopicPartition(topic, partition.PartitionId)).OrderBy(p => p.Partition.Value).ToList();
    });

    /// <summary>The end of each partition.</summary>
    public long[] Ends(string topic)
    {
        var partitions = Partitions(topic);
        return Call(_asking, _consumer, consumer => partitions.Select(partition => consumer.QueryWatermarkOffsets(partition, TestTimeout.Full).High.Value).ToArray());
    }

    /// <summary>The group's committed offset in each partition; -1001 if none.</summary>
    public long[] Committed(string topic)
    {
        var partitions = Partitions(topic);
        return Call(_asking, _consumer, consumer => consumer.Committed(partitions, TestTimeout.Full).Select(offset => offset.Offset.Value).ToArray());
    }

    /// <summary>All rows currently in the given topics.</summary>
    public List<ConsumeResult<byte[]?, byte[]?>> ReadAll(params string[] topics)
    {
        var partitions = topics.SelectMany(Partitions).ToList();
        var config = new ConsumerConfig(Client(_address))
        {
            GroupId = _group + "-test-reader",
            EnableAutoCommit = false,
            EnablePartitionEof = true,
            AutoOffsetReset = AutoOffsetReset.Earliest,
            FetchWaitMaxMs = 5,
        };
        using var consumer = new ConsumerBuilder<byte[]?, byte[]?>(config)
            .SetLogHandler((_, _) => { }).SetErrorHandler((_, _) => { }).Build();
        consumer.Assign(partitions.Select(partition => new TopicPartitionOffset(partition, Offset.Beginning)));
        var rows = new List<ConsumeResult<byte[]?, byte[]?>>();
        using var deadline = new CancellationTokenSource(TestTimeout.Full);
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

    /// <summary>Waits for calls in progress; abandons messages not yet acknowledged.</summary>
    public void Dispose()
    {
        if (_disposed.TrySetResult())
        {
            End(_sending, _producer);
            End(_asking, _consumer);
        }
    }

    /// <summary>The text of a header; null if it is missing.</summary>
    public static string? Header(ConsumeResult<byte[]?, byte[]?> row, string name) =>
        row.Message.Headers.TryGetLastBytes(name, out var bytes) ? Encoding.UTF8.GetString(bytes) : null;

    private static void End<TClient>(Lock turn, Lazy<TClient> client)
        where TClient : IClient
    {
        lock (turn)
        {
            if (client.IsValueCreated)
            {
                client.Value.Dispose();
            }
        }
    }

    private TResult Call<TClient, TResult>(Lock turn, Lazy<TClient> client, Func<TClient, TResult> call)
    {
        lock (turn)
        {
            ObjectDisposedException.ThrowIf(_disposed.Task.IsCompleted, this);
            return call(client.Value);
        }
    }

    private static ClientConfig Client(string address) =>
        new() { BootstrapServers = address, ReconnectBackoffMs = 20, ReconnectBackoffMaxMs = 200 };
}
