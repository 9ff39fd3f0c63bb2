using System.CommandLine;
using System.Globalization;
using Cache.Metrics;

namespace Cache.Service.Options;

/// <summary>The service's command line; each option is a configuration key.</summary>
internal static class CacheCommand
{
    private const string Description = """
        Keeps recent windows of metrics from Kafka in Redis, and serves them over HTTP and as a stream.

          --ConnectionStrings:kafka broker:9092 --ConnectionStrings:redis redis:6379

        Every option is also a key in appsettings.json and an environment variable: WINDOW_RETENTION_COUNT=240, ConnectionStrings__redis=redis:6379.

        Exit codes:
          0  it was told to stop
          1  bad options, it could not listen, or it failed
        """;

    /// <summary>The keys of <see cref="CacheOptions"/>, with their value's form and meaning, and those of ASP.NET that matter most.</summary>
    public static IReadOnlyList<KeyOption> Options()
    {
        var defaults = new CacheOptions();
        return
        [
            Option("ConnectionStrings:kafka", "host:port", "Kafka's brokers, with commas; or properties: BootstrapServers=host:port;SecurityProtocol=SaslSsl;…", "kafka_bootstrap_servers"),
            Option("ConnectionStrings:redis", "host:port", "Redis, as host:port[,password=…][,ssl=true], or redis://user:password@host:port/0", "redis_host and redis_port"),
            Option("urls", "url", "Where it listens, such as http://127.0.0.1:8081; several with semicolons", "http://*:8080"),
            Option("kafka_bootstrap_servers", "host:port", "Kafka's brokers, with commas", defaults.KafkaBootstrapServers),
            Option("cache_kafka_topics", "names", "Topics to consume, with commas: event_metrics, performance_metrics, session_metrics", string.Join(',', defaults.Topics)),
            Option(MetricTypesReader.Key, "json", "Metric types of your own, as a JSON array", "none"),
            Option("session_time_unit", "unit", "What times of sessions count if they are numbers: ms, s or us", "ms"),
            Option("cache_kafka_consumer_group", "name", "Consumer group", defaults.ConsumerGroup),
            Option("cache_consume_from", "where", "Where a partition without a committed offset starts: latest, earliest, or a duration back, such as 6h", "latest"),
            Option("redis_host", "host", "Redis", defaults.RedisHost),
            Option("redis_port", "port", "Its port", Text(defaults.RedisPort)),
            Option("redis_db", "number", "Logical database of Redis", Text(defaults.RedisDb)),
            Option("redis_key_prefix", "text", "Prepended to every key and to the channel", "none"),
            Option("window_retention_count", "windows", "Windows kept per type", Text(defaults.WindowRetentionCount)),
            Option("window_hash_ttl_seconds", "seconds", "How long a window is kept after its last write", Text(defaults.WindowHashTtlSeconds)),
            Option("window_max_dimensions", "number", "Dimensions per window; rows of further ones are rejected", Text(defaults.WindowMaxDimensions)),
            Option("window_max_future_seconds", "seconds", "How far ahead of the clock a window may start, or a session end", Text(defaults.WindowMaxFutureSeconds)),
            Option("active_session_ttl_seconds", "seconds", "How long a session stays active after its end", Text(defaults.ActiveSessionTtlSeconds)),
            Option("kafka_consume_batches", "true|false", "Whether rows are taken from the Kafka client in batches", "true"),
            Option("kafka_consume_pace_ms", "ms", "Time between two takes while rows keep coming", Text(defaults.ConsumePaceMs)),
            Option("kafka_commit_batch_size", "rows", "Rows after which a commit is due", Text(defaults.CommitBatchSize)),
            Option("kafka_commit_interval_ms", "ms", "Time after which a commit is due", Text(defaults.CommitIntervalMs)),
            Option("redis_write_batch_size", "number", "Distinct windows and sessions after which a flush is due", Text(defaults.WriteBatchSize)),
            Option("redis_queue_max_size", "rows", "Rows in the queue before partitions are paused", Text(defaults.QueueMaxSize)),
            Option("ready_lag_threshold", "rows", "Lag up to which it is ready", Text(defaults.ReadyLagThreshold)),
            Option("cache_dead_letter_topic", "name", "Where rejected rows go; empty: they are only logged and counted", defaults.DeadLetterTopic),
            Option("schema_registry_url", "url", "Addresses of a schema registry, with commas", "none"),
            Option("schema_registry_user", "name", "What the registry asks for", "none"),
            Option("schema_registry_password", "password", "What the registry asks for; better set as a variable", "none"),
            Option("redis_rebuild_lookback_seconds", "seconds", "How far back rows are read again after Redis lost its data", Text(defaults.RebuildLookbackSeconds)),
            Option("api_keys", "keys", "Keys for the data routes, with commas, 16 characters or more each; better set as a variable", "none: open to all"),
            Option("cors_origins", "origins", "Origins whose pages may read, with commas, or *", "none"),
            Option("rate_limit_per_second", "number", "Data requests per second per client; 0: no limit", Text(defaults.RateLimitPerSecond)),
            Option("rate_limit_burst", "number", "Data requests allowed at once; 0: one second's worth", Text(defaults.RateLimitBurst)),
            Option("http_max_connections", "number", "Open connections", Text(defaults.HttpMaxConnections)),
            Option("http_max_connections_per_client", "number", "Open connections per address; 0: no limit", Text(defaults.HttpMaxConnectionsPerClient)),
            Option("trusted_proxies", "networks", "Addresses of proxies, exempt from that limit, with commas", "none"),
            Option("health_port", "port", "A separate port for health checks and metrics; 0: none", Text(defaults.HealthPort)),
            Option("http_answers_max_mb", "MB", "Memory that large answers may hold at once", Text(defaults.HttpAnswersMaxMb)),
            Option("stream_unsent_max_mb", "MB", "Memory that streams with slow clients may hold at once", Text(defaults.StreamUnsentMaxMb)),
            Option("stream_max_clients", "number", "Open streams", Text(defaults.StreamMaxClients)),
            Option("stream_max_clients_per_client", "number", "Open streams per client", Text(defaults.StreamMaxClientsPerClient)),
            Option("AllowedHosts", "names", "Host names that it answers to, with semicolons", "*; on loopback alone, this machine's names"),
            new("Kafka:<property>") { HelpName = "value", Description = "Any property of librdkafka, such as --Kafka:security.protocol ssl" },
            new("Logging:LogLevel:<category>") { HelpName = "level", Description = "Trace, Debug, Information, Warning, Error, Critical or None (default: Information)" },
        ];

        static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
    }

    /// <summary>Parses a command line.</summary>
    public static KeyArguments Read(IReadOnlyList<string> args)
    {
        var command = new RootCommand(Description);
        foreach (var option in Options().Concat(HostSettings.Keys.Select(key => new KeyOption(key) { Hidden = true })))
        {
            if (command.Options.All(other => other.Name != option.Name))
            {
                command.Add(option);
            }
        }

        return new(command, CacheOptionsReader.Known.Contains, args, CacheOptionsReader.Known.Sections);
    }

    private static KeyOption Option(string key, string value, string description, string standard) =>
        new(key) { HelpName = value, Description = $"{description} (default: {standard})" };
}
