using Cache.Metrics;
using Cache.Service.Options;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>Configures the Kafka clients; the section <c>Kafka:</c> overrides the defaults set here.</summary>
internal static class KafkaClients
{
    /// <summary>Configures the consumer of the metric topics.</summary>
    public static void Configure(ConsumerConfig config, CacheOptions options)
    {
        // Defaults that the section Kafka: may override.
        // How much the client prefetches at most. Its own default, 64 MiB, is more than pays off.
        config.QueuedMaxMessagesKbytes = 32 * 1024;

        // How long the client waits before it fetches again after reaching that limit. Its own default, 1 s, is longer than the
        // loop takes to drain it: with 20 ms, a backlog of 400,000 rows was consumed 1.6 times as fast.
        config.FetchQueueBackoffMs = 20;

        // A topic created later is discovered within this time.
        config.TopicMetadataRefreshIntervalMs = 5000;

        // After a crash, nobody consumes its partitions for so long. Its own default is 45 s.
        config.SessionTimeoutMs ??= 10_000;
        config.ClientId = "cache-service";

        Apply(config, options);

        // Settings that our guarantees depend on, so they cannot be overridden.
        config.GroupId = options.ConsumerGroup;
        config.PartitionAssignmentStrategy = PartitionAssignmentStrategy.CooperativeSticky;
        config.EnableAutoCommit = false;
        config.EnableAutoOffsetStore = false;
        config.EnablePartitionEof = true;
        config.IsolationLevel = IsolationLevel.ReadCommitted;

        // A pattern must not match the dead letters, which would come back forever, nor Kafka's own topics. Both may be forbidden.
        if (options.Topics.Any(TopicPattern.IsPattern))
        {
            string?[] ignored = ["^__", options.DeadLetterTopic is "" ? null : $"^{options.DeadLetterTopic.Replace(".", @"\.", StringComparison.Ordinal)}$", options.KafkaProperties.GetValueOrDefault("topic.blacklist")];
            config.TopicBlacklist = string.Join(',', ignored.Where(pattern => pattern is not null));
        }

        // If Kafka does not have an offset, the client reports an error; the loop logs which rows were missed, and continues.
        config.AutoOffsetReset = AutoOffsetReset.Error;
    }

    /// <summary>The time without a heartbeat after which Kafka reassigns a configured consumer's partitions.</summary>
    public static TimeSpan SessionTimeout(ConsumerConfig config) => TimeSpan.FromMilliseconds(config.SessionTimeoutMs!.Value);

    /// <summary>Creates the producer of dead letters.</summary>
    /// <param name="options">The configuration.</param>
    /// <param name="note">Receives its errors, on a thread of the client.</param>
    public static IProducer<byte[]?, byte[]?> DeadLetterProducer(CacheOptions options, Action<Error> note) =>
        new ProducerBuilder<byte[]?, byte[]?>(ForDeadLetters(options))
            .SetKeySerializer(Serializers.ByteArray!).SetValueSerializer(Serializers.ByteArray!)
            .SetLogHandler((_, _) => { }).SetErrorHandler((_, error) => note(error))
            .Build();

    /// <summary>Configures the producer of dead letters.</summary>
    public static ProducerConfig ForDeadLetters(CacheOptions options)
    {
        var config = new ProducerConfig
        {
            ClientId = "cache-service-dead-letters",
            LingerMs = 5,

            // Rows get too large for Cache long before they get too large for Kafka; the broker has the final say.
            MessageMaxBytes = 100_000_000,

            // Fail early: the flush retries.
            MessageTimeoutMs = 15_000,
        };
        Apply(config, options);
        config.BootstrapServers = options.KafkaBootstrapServers;
        config.EnableIdempotence = true;
        return config;
    }

    /// <summary>Configures a consumer that reads rows outside the group.</summary>
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

    /// <summary>Creates a consumer of the newest dead letters.</summary>
    /// <param name="options">The configuration.</param>
    /// <param name="note">Receives its errors, on the thread that polls it.</param>
    public static IConsumer<byte[]?, byte[]?> DeadLetterConsumer(CacheOptions options, Action<Error> note) =>
        new ConsumerBuilder<byte[]?, byte[]?>(ForReadingDeadLetters(options)).SetLogHandler((_, _) => { }).SetErrorHandler((_, error) => note(error)).Build();

    /// <summary>Configures a consumer that reads the newest dead letters outside any group.</summary>
    public static ConsumerConfig ForReadingDeadLetters(CacheOptions options)
    {
        var config = ForReading(options);
        config.ClientId = "cache-service-dead-letter-reader";

        // If topics are patterns, the topic of dead letters is on the list of those that the consumer must not see.
        config.TopicBlacklist = null;

        // Reading creates no topic, whatever the section Kafka: says.
        config.AllowAutoCreateTopics = false;

        // It reads little, and waits for the end of a partition only if its last offsets hold no record.
        config.QueuedMaxMessagesKbytes = 2 * 1024;
        config.FetchWaitMaxMs = 20;
        return config;
    }

    /// <summary>Configures a consumer for lookups, including the group's committed offsets; it never joins the group.</summary>
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
