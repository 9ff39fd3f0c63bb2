using Cache.Service.Options;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Service.Consume;

/// <summary>
/// What Kafka is asked about topics and partitions: for all of them at once, since brokers answer for hundreds as soon as for
/// one. Every question fails with a <see cref="KafkaException"/> when Kafka does not answer it in time, or in part.
/// </summary>
internal interface IKafkaLookups
{
    /// <summary>Asks for topics.</summary>
    /// <returns>How many partitions each has, or why that is not told.</returns>
    Task<IReadOnlyList<TopicAnswer>> TopicsAsync(IReadOnlyCollection<string> topics);

    /// <summary>Asks for the offsets that the group has committed.</summary>
    /// <returns>One for each partition; negative where it has committed none.</returns>
    Task<IReadOnlyDictionary<TopicPartition, Offset>> CommittedAsync(IReadOnlyCollection<TopicPartition> partitions);

    /// <summary>Asks for the offset of the oldest row, of the end, or of a time.</summary>
    /// <returns>One for each partition; negative where there is no row since that time.</returns>
    Task<IReadOnlyDictionary<TopicPartition, Offset>> OffsetsAsync(IReadOnlyCollection<TopicPartition> partitions, OffsetSpec spec);

    /// <summary>Asks for the timestamps of rows.</summary>
    /// <returns>Milliseconds since 1970 UTC, for each partition that has a row there.</returns>
    Task<IReadOnlyDictionary<TopicPartition, long>> TimestampsAsync(IReadOnlyCollection<TopicPartitionOffset> rows);
}

/// <summary>What Kafka says of a topic.</summary>
/// <param name="Topic">The topic.</param>
/// <param name="Partitions">How many partitions it has; 0 when there is an error.</param>
/// <param name="Error">Why that is not told; <see cref="ErrorCode.NoError"/> when it is.</param>
internal sealed record TopicAnswer(string Topic, int Partitions, ErrorCode Error);

/// <summary>
/// Asks over connections of its own: on those of the consumer a question waits until the fetch before it is answered, half a
/// second when nothing comes.
/// </summary>
internal sealed class KafkaLookups(CacheOptions options, RowReader reader, KafkaErrors errors) : IKafkaLookups, IDisposable
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan TopicTimeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan DisposeTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan ServeTime = TimeSpan.FromMilliseconds(100);

    // Held by calls that block: the process does not survive a client that is disposed in the midst of one.
    private readonly Lock _calling = new();
    private IConsumer<Ignore, Ignore>? _client;
    private IAdminClient? _admin;
    private bool _disposed;

    /// <inheritdoc/>
    public Task<IReadOnlyList<TopicAnswer>> TopicsAsync(IReadOnlyCollection<string> topics) => CallAsync<IReadOnlyList<TopicAnswer>>((client, admin) =>
    {
        var answers = Task.Run(() => topics.Select(topic => admin.GetMetadata(topic, TopicTimeout).Topics[0]).ToList());

        // What keeps the client from connecting is told only to who polls it.
        while (!answers.IsCompleted)
        {
            Serve(client);
        }

        return answers.GetAwaiter().GetResult().ConvertAll(topic => new TopicAnswer(topic.Topic, topic.Error.IsError ? 0 : topic.Partitions.Count, topic.Error.Code));
    });

    /// <inheritdoc/>
    public Task<IReadOnlyDictionary<TopicPartition, Offset>> CommittedAsync(IReadOnlyCollection<TopicPartition> partitions) =>
        // Not by the admin client's call, in which an error of the coordinator crashes the process (librdkafka, as in Confluent.Kafka 2.16).
        CallAsync<IReadOnlyDictionary<TopicPartition, Offset>>(
            (client, _) => client.Committed(partitions, Timeout).ToDictionary(offset => offset.TopicPartition, offset => offset.Offset));

    /// <inheritdoc/>
    public Task<IReadOnlyDictionary<TopicPartition, Offset>> OffsetsAsync(IReadOnlyCollection<TopicPartition> partitions, OffsetSpec spec) =>
        CallAsync((client, _) => Offsets(client, partitions, spec, Timeout));

    /// <summary>Asks for the offset of the oldest row, of the end, or of a time; blocks until Kafka answers.</summary>
    /// <exception cref="KafkaException">Kafka did not answer in time, or not for every partition.</exception>
    public static IReadOnlyDictionary<TopicPartition, Offset> Offsets(
        IConsumer<Ignore, Ignore> client, IReadOnlyCollection<TopicPartition> partitions, OffsetSpec spec, TimeSpan timeout)
    {
        // The protocol's own names for the end and the beginning. Not by the admin client's call, which crashes the process
        // when a leader is not known yet and other metadata comes in that moment (librdkafka, as in Confluent.Kafka 2.16).
        var time = spec switch
        {
            OffsetSpec.TimestampSpec since => since.Timestamp,
            OffsetSpec.EarliestSpec => Offset.Beginning.Value,
            _ => Offset.End.Value,
        };
        var timestamp = new Timestamp(time, TimestampType.CreateTime);
        var offsets = client.OffsetsForTimes(partitions.Select(partition => new TopicPartitionTimestamp(partition, timestamp)), timeout)
            .ToDictionary(offset => offset.TopicPartition, offset => offset.Offset);

        // A broker that goes in the midst of it leaves its partitions with what was asked, and without an error.
        return offsets.ContainsValue(time) ? throw new KafkaException(ErrorCode.Local_Transport) : offsets;
    }

    /// <inheritdoc/>
    public Task<IReadOnlyDictionary<TopicPartition, long>> TimestampsAsync(IReadOnlyCollection<TopicPartitionOffset> rows) =>
        Task.Run(() => reader.Timestamps(rows));

    /// <inheritdoc/>
    public void Dispose() =>
        // The client has been seen to hang when it is disposed.
        Task.Run(() =>
        {
            lock (_calling)
            {
                _disposed = true;
                _admin?.Dispose();
                _client?.Dispose();
            }
        }).Wait(DisposeTimeout);

    /// <summary>Calls the client on another thread.</summary>
    private Task<T> CallAsync<T>(Func<IConsumer<Ignore, Ignore>, IAdminClient, T> call) => Task.Run(() =>
    {
        lock (_calling)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _client ??= new ConsumerBuilder<Ignore, Ignore>(KafkaClients.ForLookups(options))
                .SetLogHandler((_, line) => errors.Note(line)).SetErrorHandler((_, error) => errors.Note(error)).Build();
            _admin ??= new DependentAdminClientBuilder(_client.Handle).Build();
            return call(_client, _admin);
        }
    });

    private void Serve(IConsumer<Ignore, Ignore> client)
    {
        try
        {
            client.Consume(ServeTime);
        }
        catch (ConsumeException exception)
        {
            errors.Note(exception.Error);
        }
    }
}
