using System.Net;
using Cache.Metrics;

namespace Cache.Service.Options;

/// <summary>
/// All settings of the service, by their flat snake_case configuration keys; read and checked once, at startup, by
/// <see cref="CacheOptionsReader"/>.
/// </summary>
public sealed class CacheOptions
{
    /// <summary>The topic of sessions, which belong to no metric type.</summary>
    public const string SessionTopic = "session_metrics";

    /// <summary><c>kafka_bootstrap_servers</c>: <c>host:port[,host:port…]</c>; <c>ConnectionStrings:kafka</c> takes precedence.</summary>
    public string KafkaBootstrapServers { get; init; } = "kafka1:19092";

    /// <summary><c>metric_types</c>: all metric types, in the order in which they are shown.</summary>
    public IReadOnlyList<MetricType> MetricTypes { get; init; } = MetricType.Defaults;

    /// <summary>
    /// The topics to consume: those of <c>cache_kafka_topics</c>, and those of the types given in <c>metric_types</c>, of which some
    /// may be patterns.
    /// </summary>
    public IReadOnlyList<string> Topics { get; init; } = [.. MetricType.Defaults.SelectMany(type => type.Topics)];

    /// <summary><c>session_time_unit</c>: what the times of sessions count if they are numbers.</summary>
    public TimeUnit SessionTimeUnit { get; init; }

    /// <summary><c>cache_kafka_consumer_group</c>: the consumer group that commits the offsets.</summary>
    public string ConsumerGroup { get; init; } = "cache-service";

    /// <summary><c>cache_consume_from</c>: where a partition without a committed offset starts.</summary>
    public ConsumeFrom ConsumeFrom { get; init; } = ConsumeFrom.Latest;

    /// <summary><c>ConnectionStrings:redis</c> in the format of StackExchange.Redis; null if <c>redis_host</c> and <c>redis_port</c> apply.</summary>
    public string? RedisConnection { get; init; }

    /// <summary><c>redis_host</c>; <c>ConnectionStrings:redis</c> takes precedence.</summary>
    public string RedisHost { get; init; } = "redis";

    /// <summary><c>redis_port</c>, 1–65535; <c>ConnectionStrings:redis</c> takes precedence.</summary>
    public int RedisPort { get; init; } = 6379;

    /// <summary>The addresses of Redis, <c>host:port[,host:port…]</c>, without passwords.</summary>
    public string RedisServers => RedisConnection is null ? $"{RedisHost}:{RedisPort}" : RedisConnectionString.ServersOf(RedisConnection);

    /// <summary><c>redis_db</c>: the logical database, 0 or more; always 0 on a cluster.</summary>
    public int RedisDb { get; init; }

    /// <summary><c>redis_key_prefix</c>: the prefix of every key and of the channel.</summary>
    public string RedisKeyPrefix { get; init; } = "";

    /// <summary><c>window_retention_count</c>: how many windows per metric type are kept.</summary>
    public int WindowRetentionCount { get; init; } = 120;

    /// <summary><c>window_hash_ttl_seconds</c>: how long a window is kept after its last write.</summary>
    public int WindowHashTtlSeconds { get; init; } = 21600;

    /// <summary><c>active_session_ttl_seconds</c>: how long a session counts as active after its end.</summary>
    public int ActiveSessionTtlSeconds { get; init; } = 1900;

    /// <summary><c>window_max_future_seconds</c>: how far ahead of the clock a window may start.</summary>
    public int WindowMaxFutureSeconds { get; init; } = 86400;

    /// <summary><c>window_max_dimensions</c>: maximum number of dimensions per window; rows with further ones are rejected.</summary>
    public int WindowMaxDimensions { get; init; } = 10_000;

    /// <summary><c>kafka_consume_batches</c>: whether rows are taken from the Kafka client in batches, rather than one by one.</summary>
    public bool ConsumeBatches { get; init; } = true;

    /// <summary><c>kafka_consume_pace_ms</c>: time between two takes while rows keep coming; 0 takes each as it comes.</summary>
    public int ConsumePaceMs { get; init; }

    /// <summary><c>kafka_commit_batch_size</c>: number of rows after which a commit is due at the next flush boundary.</summary>
    public int CommitBatchSize { get; init; } = 100;

    /// <summary><c>kafka_commit_interval_ms</c>: time after which a commit, or a flush, is due.</summary>
    public int CommitIntervalMs { get; init; } = 1000;

    /// <summary><c>redis_write_batch_size</c>: number of distinct windows after which a flush is due.</summary>
    public int WriteBatchSize { get; init; } = 50;

    /// <summary><c>redis_queue_max_size</c>: maximum number of rows between the consume loop and the flush; when it is reached, partitions are paused.</summary>
    public int QueueMaxSize { get; init; } = 5000;

    /// <summary><c>ready_lag_threshold</c>: total lag, in rows, up to which the service is ready.</summary>
    public long ReadyLagThreshold { get; init; } = 5000;

    /// <summary><c>cache_dead_letter_topic</c>: the topic for rejected rows; if empty, they are only logged and counted.</summary>
    public string DeadLetterTopic { get; init; } = "cache_dead_letters";

    /// <summary>
    /// <c>schema_registry_url</c>: <c>http://host:port</c> or <c>https://host:port</c>, several with commas; empty if there is none, and the
    /// frame that a registry's serializer puts before a value is only removed.
    /// </summary>
    public string SchemaRegistryUrl { get; init; } = "";

    /// <summary><c>schema_registry_user</c>: the user of the schema registry; empty if it asks for none.</summary>
    public string SchemaRegistryUser { get; init; } = "";

    /// <summary><c>schema_registry_password</c>: the user's password; set if and only if the user is.</summary>
    public string SchemaRegistryPassword { get; init; } = "";

    /// <summary><c>redis_rebuild_lookback_seconds</c>: how far back partitions are rewound when Redis has lost its data.</summary>
    public int RebuildLookbackSeconds { get; init; } = 21600;

    /// <summary><c>api_keys</c>: the keys that grant access to the data routes and the stream, several for rotation; if there are none, they are open to all.</summary>
    public IReadOnlyList<string> ApiKeys { get; init; } = [];

    /// <summary><c>cors_origins</c>: the origins whose pages may read from this service, or <c>*</c>; if there are none, no other origin may.</summary>
    public IReadOnlyList<string> CorsOrigins { get; init; } = [];

    /// <summary><c>rate_limit_per_second</c>: data requests per second and client, on average; 0 means no limit.</summary>
    public int RateLimitPerSecond { get; init; }

    /// <summary><c>rate_limit_burst</c>: data requests that a client may make at once; 0 means as many as per second.</summary>
    public int RateLimitBurst { get; init; }

    /// <summary><c>http_max_connections</c>: maximum number of open connections; further ones are closed.</summary>
    public int HttpMaxConnections { get; init; } = 10_000;

    /// <summary><c>stream_max_clients</c>: maximum number of open streams on this replica.</summary>
    public int StreamMaxClients { get; init; } = 5000;

    /// <summary><c>stream_max_clients_per_client</c>: maximum number of open streams per key, token or address on this replica.</summary>
    public int StreamMaxClientsPerClient { get; init; } = 1000;

    /// <summary><c>http_answers_max_mb</c>: maximum memory, in MB, held by large answers while they are read and sent.</summary>
    public int HttpAnswersMaxMb { get; init; } = 128;

    /// <summary><c>stream_unsent_max_mb</c>: maximum memory, in MB, held by streams that wait for their clients.</summary>
    public int StreamUnsentMaxMb { get; init; } = 256;

    /// <summary><c>http_max_connections_per_client</c>: maximum number of open connections per address; 0 means no limit.</summary>
    public int HttpMaxConnectionsPerClient { get; init; }

    /// <summary><c>trusted_proxies</c>: addresses and networks of proxies, to which <c>http_max_connections_per_client</c> does not apply.</summary>
    public IReadOnlyList<IPNetwork> TrustedProxies { get; init; } = [];

    /// <summary><c>health_port</c>: a port for health and metrics only, out of reach of other connections; 0 means none.</summary>
    public int HealthPort { get; init; }

    /// <summary>Whether the section <c>Authentication:Schemes:Bearer</c> exists: then JWT bearer tokens grant access, too.</summary>
    public bool AcceptsTokens { get; init; }

    /// <summary>The metric types that have a topic: one, unless patterns of several match it, or none has it.</summary>
    public IEnumerable<MetricType> TypesOf(string topic) => MetricTypes.Where(type => type.Topics.Any(entry => Topics.Contains(entry) && TopicPattern.Matches(entry, topic)));

    /// <summary>Whether the data routes and the stream require a key or a token.</summary>
    public bool IsProtected => ApiKeys.Count > 0 || AcceptsTokens;

    /// <summary>Properties of the Kafka client library: the section <c>Kafka:</c> takes precedence over <c>ConnectionStrings:kafka</c>.</summary>
    public IReadOnlyDictionary<string, string> KafkaProperties { get; init; } = new Dictionary<string, string>();
}

/// <summary>Where a partition without a committed offset starts.</summary>
/// <param name="Kind">The end, the beginning, or a point in time.</param>
/// <param name="Back">How far back from now, for <see cref="ConsumeFromKind.Duration"/>.</param>
public readonly record struct ConsumeFrom(ConsumeFromKind Kind, TimeSpan Back)
{
    /// <summary>Rows that arrive from now on.</summary>
    public static ConsumeFrom Latest { get; } = new(ConsumeFromKind.Latest, TimeSpan.Zero);

    /// <summary>Every row that Kafka still has.</summary>
    public static ConsumeFrom Earliest { get; } = new(ConsumeFromKind.Earliest, TimeSpan.Zero);

    /// <summary>Reads <c>latest</c>, <c>earliest</c> or a whole number with <c>s</c>, <c>m</c>, <c>h</c> or <c>d</c>.</summary>
    public static bool TryParse(string text, out ConsumeFrom value)
    {
        value = Latest;
        text = text.Trim();
        if (text.Equals("latest", StringComparison.OrdinalIgnoreCase))
        {
            return true;
        }

        if (text.Equals("earliest", StringComparison.OrdinalIgnoreCase))
        {
            value = Earliest;
            return true;
        }

        if (!Durations.TryParse(text, out var back))
        {
            return false;
        }

        value = new(ConsumeFromKind.Duration, back);
        return true;
    }
}

/// <summary>The kinds of <see cref="ConsumeFrom"/>.</summary>
public enum ConsumeFromKind
{
    /// <summary>The end of the partition.</summary>
    Latest,

    /// <summary>The beginning of the partition.</summary>
    Earliest,

    /// <summary>The first row within a duration before now.</summary>
    Duration,
}
