using Cache.Service.Options;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>How the Kafka clients are set up; the section <c>Kafka:</c> goes over these defaults.</summary>
internal static class KafkaClients
{
    /// <summary>Sets up the consumer of the metric topics.</summary>
    public static void Configure(ConsumerConfig config, CacheOptions options)
    {
        // Defaults that the section Kafka: may change.
        // The client keeps at most this much ahead of the loop (its own default is 64 MiB, and more than it pays).
        config.QueuedMaxMessagesKbytes = 32 * 1024;

        // Once that much is there the client waits this long before it fetches on. Its own second is longer than the loop
        // takes to empty it: a backlog of 400,000 rows went 1.6 times as fast with 20 ms.
        config.FetchQueueBackoffMs = 20;

        // A topic that appears late is found within this time.
        config.TopicMetadataRefreshIntervalMs = 5000;
        config.ClientId = "cache-service";

        Apply(config, options);

        // What the promises hang on.
        config.GroupId = options.ConsumerGroup;
        config.PartitionAssignmentStrategy = PartitionAssignmentStrategy.CooperativeSticky;
        config.EnableAutoCommit = false;
        config.EnableAutoOffsetStore = false;
        config.EnablePartitionEof = true;
        config.IsolationLevel = IsolationLevel.ReadCommitted;

        // The client tells the loop of an offset that Kafka does not have, which says what was missed and goes on.
        config.AutoOffsetReset = AutoOffsetReset.Error;
    }

    /// <summary>After which silence Kafka gives a consumer's partitions to others.</summary>
    public static TimeSpan SessionTimeout(ConsumerConfig config) => TimeSpan.FromMilliseconds(config.SessionTimeoutMs ?? 45_000);

    /// <summary>Makes a producer of dead letters.</summary>
    /// <param name="options">The configuration.</param>
    /// <param name="note">Told its errors, on a thread of the client.</param>
    public static IProducer<byte[]?, byte[]?> DeadLetterProducer(CacheOptions options, Action<Error> note) =>
        new ProducerBuilder<byte[]?, byte[]?>(ForDeadLetters(options))
            .SetKeySerializer(Serializers.ByteArray!).SetValueSerializer(Serializers.ByteArray!)
            .SetLogHandler((_, _) => { }).SetErrorHandler((_, error) => note(error))
            .Build();

    /// <summary>Sets up the producer of dead letters.</summary>
    public static ProducerConfig ForDeadLetters(CacheOptions options)
    {
        var config = new ProducerConfig
        {
            ClientId = "cache-service-dead-letters",
            LingerMs = 5,

            // A row is too large for Cache long before it is too large for Kafka; the broker has the last word.
            MessageMaxBytes = 100_000_000,

            // Failures come back soon; the flush sends again.
            MessageTimeoutMs = 15_000,
        };
        Apply(config, options);
        config.BootstrapServers = options.KafkaBootstrapServers;
        config.EnableIdempotence = true;
        return config;
    }

    /// <summary>Sets up a consumer that reads rows outside the group.</summary>
    public static ConsumerConfig ForReading(CacheOptions options)
    {
        var config = new ConsumerConfig();
        Configure(config, options);
        config.BootstrapServers = options.KafkaBootstrapServers;
        config.ClientId = "cache-service-reader";
        config.GroupId = options.ConsumerGroup + "-reader";
        config.AutoOffsetReset = AutoOffsetReset.Earliest;
        return config;
    }

    /// <summary>Sets up a consumer that only asks, also for what the group has committed; it never joins.</summary>
    public static ConsumerConfig ForLookups(CacheOptions options)
    {
        var config = ForReading(options);
        config.ClientId = "cache-service-lookups";
        config.GroupId = options.ConsumerGroup;
        return config;
    }

    private static void Apply(ClientConfig config, CacheOptions options)
    {
        foreach (var (name, value) in options.KafkaProperties)
        {
            config.Set(name, value);
        }
    }
}
