using Cache.Metrics;
using Cache.Service.Options;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Service.Consume;

/// <summary>
/// Looks up topics and partitions in Kafka, all of them at once, because brokers answer for hundreds as quickly as for one.
/// Every lookup fails with a <see cref="KafkaException"/> if Kafka does not answer in time or in full.
/// </summary>
internal interface IKafkaLookups
{
    /// <summary>Looks up topics; patterns, and the topics that match them.</summary>
    /// <returns>
    /// The number of partitions of each, or the error that Kafka reports instead. A pattern has the partitions of all topics that
    /// match it; if there is none, it does not exist.
    /// </returns>
    Task<IReadOnlyList<TopicAnswer>> TopicsAsync(IReadOnlyCollection<string> topics);

    /// <summary>Looks up the group's committed offsets.</summary>
    /// <returns>One per partition; negative if nothing is committed.</returns>
    Task<IReadOnlyDictionary<TopicPartition, Offset>> CommittedAsync(IReadOnlyCollection<TopicPartition> partitions);

    /// <summary>Looks up the offset of the oldest row, of the end, or of the first row since a given time.</summary>
    /// <returns>One per partition; negative if it has no row since that time.</returns>
    Task<IReadOnlyDictionary<TopicPartition, Offset>> OffsetsAsync(IReadOnlyCollection<TopicPartition> partitions, OffsetSpec spec);

    /// <summary>Looks up the timestamps of rows, one per partition.</summary>
    /// <returns>Milliseconds since 1970 UTC; partitions without a row at that offset are left out.</returns>
    Task<IReadOnlyDictionary<TopicPartition, long>> TimestampsAsync(IReadOnlyCollection<TopicPartitionOffset> rows);
}

/// <summary>What Kafka reports about a topic.</summary>
/// <param name="Topic">The topic.</param>
/// <param name="Partitions">The number of its partitions; 0 if Kafka reports an error.</param>
/// <param name="Error">The error; <see cref="ErrorCode.NoError"/> if there is none.</param>
internal sealed record TopicAnswer(string Topic, int Partitions, ErrorCode Error);

/// <summary>
/// Uses connections of its own. On the consumer's, a request would wait for the fetch ahead of it: half a second if no rows
/// arrive.
/// </summary>
internal sealed class KafkaLookups(CacheOptions options, RowReader reader, KafkaErrors errors) : IKafkaLookups, IDisposable
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(10);
    private static readonly TimeSpan TopicTimeout = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan DisposeTimeout = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan ServeTime = TimeSpan.FromMilliseconds(100);

    // Held during blocking calls: disposing a client in the middle of one crashes the process.
    private readonly Lock _calling = new();
    private IConsumer<Ignore, Ignore>? _client;
    private bool _disposed;

    /// <inheritdoc/>
    public Task<IReadOnlyList<TopicAnswer>> TopicsAsync(IReadOnlyCollection<string> topics) => CallAsync<IReadOnlyList<TopicAnswer>>(client =>
    {
        // Not kept: it polls ten times per second for as long as it lives.
        using var admin = new DependentAdminClientBuilder(client.Handle).Build();
        var answers = Task.Run(() => Answers(admin, topics).ToList());

        // The client reports why it cannot connect only while it is polled.
        while (!answers.IsCompleted)
        {
            Serve(client);
        }

        return answers.GetAwaiter().GetResult();
    });

    /// <inheritdoc/>
    public Task<IReadOnlyDictionary<TopicPartition, Offset>> CommittedAsync(IReadOnlyCollection<TopicPartition> partitions) =>
        // Not through the admin client, where a coordinator error crashes the process (librdkafka, as in Confluent.Kafka 2.16).
        CallAsync<IReadOnlyDictionary<TopicPartition, Offset>>(
            client => client.Committed(partitions, Timeout).ToDictionary(offset => offset.TopicPartition, offset => offset.Offset));

    /// <inheritdoc/>
    public Task<IReadOnlyDictionary<TopicPartition, Offset>> OffsetsAsync(IReadOnlyCollection<TopicPartition> partitions, OffsetSpec spec) =>
        CallAsync(client => Offsets(client, partitions, spec, Timeout));

    /// <summary>Like <see cref="OffsetsAsync"/>, but on a client of the caller, and blocks until Kafka answers.</summary>
    /// <exception cref="KafkaException">Kafka did not answer in time, or not for every partition.</exception>
    public static IReadOnlyDictionary<TopicPartition, Offset> Offsets<TKey, TValue>(
        IConsumer<TKey, TValue> client, IReadOnlyCollection<TopicPartition> partitions, OffsetSpec spec, TimeSpan timeout)
    {
        // In the protocol, special timestamps denote the beginning and the end. Not through the admin client, which crashes the
        // process if new metadata arrives while a leader is still unknown (librdkafka, as in Confluent.Kafka 2.16).
        var time = spec switch
        {
            OffsetSpec.TimestampSpec since => since.Timestamp,
            OffsetSpec.EarliestSpec => Offset.Beginning.Value,
            _ => Offset.End.Value,
        };
        var timestamp = new Timestamp(time, TimestampType.CreateTime);
        var offsets = client.OffsetsForTimes(partitions.Select(partition => new TopicPartitionTimestamp(partition, timestamp)), timeout)
            .ToDictionary(offset => offset.TopicPartition, offset => offset.Offset);

        // If a broker goes down during the call, its partitions come back with the timestamp that was passed in, and no error.
        return offsets.ContainsValue(time) ? throw new KafkaException(ErrorCode.Local_Transport) : offsets;
    }

    /// <inheritdoc/>
    public Task<IReadOnlyDictionary<TopicPartition, long>> TimestampsAsync(IReadOnlyCollection<TopicPartitionOffset> rows) =>
        Task.Run(() => reader.Timestamps(rows));

    /// <inheritdoc/>
    public void Dispose() =>
        // The client has been observed to hang on disposal.
        Task.Run(() =>
        {
            lock (_calling)
            {
                _disposed = true;
                _client?.Dispose();
            }
        }).Wait(DisposeTimeout);

    private IEnumerable<TopicAnswer> Answers(IAdminClient admin, IReadOnlyCollection<string> topics)
    {
        foreach (var topic in topics.Where(topic => !TopicPattern.IsPattern(topic)))
        {
            yield return Answer(admin.GetMetadata(topic, TopicTimeout).Topics[0]);
        }

        List<string> patterns = [.. topics.Where(TopicPattern.IsPattern)];
        var all = patterns.Count > 0 ? admin.GetMetadata(TopicTimeout).Topics.ConvertAll(Answer) : [];
        foreach (var pattern in patterns)
        {
            var matches = all.FindAll(topic => topic.Topic != options.DeadLetterTopic && TopicPattern.Matches(pattern, topic.Topic));
            foreach (var match in matches.Where(match => match.Error != ErrorCode.UnknownTopicOrPart))
            {
                yield return match;
            }

            var partitions = matches.Sum(match => match.Partitions);
            yield return new(pattern, partitions, partitions > 0 ? ErrorCode.NoError : ErrorCode.UnknownTopicOrPart);
        }

        static TopicAnswer Answer(TopicMetadata topic) => new(topic.Topic, topic.Error.IsError ? 0 : topic.Partitions.Count, topic.Error.Code);
    }

    /// <summary>Calls the client on a thread of the pool, one call at a time.</summary>
    private Task<T> CallAsync<T>(Func<IConsumer<Ignore, Ignore>, T> call) => Task.Run(() =>
    {
        lock (_calling)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            _client ??= new ConsumerBuilder<Ignore, Ignore>(KafkaClients.ForLookups(options))
                .SetLogHandler((_, line) => errors.Note(line)).SetErrorHandler((_, error) => errors.Note(error)).Build();
            return call(_client);
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
