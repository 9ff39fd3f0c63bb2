using System.Globalization;
using System.Text;
using Cache.Service.Options;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Cache.Tests.Options;

public sealed class CacheOptionsReaderTests
{
    private static readonly string[] Two = ["event_metrics", "session_metrics"];

    private static readonly Dictionary<string, Func<CacheOptions, object>> Values = new()
    {
        ["kafka_bootstrap_servers"] = options => options.KafkaBootstrapServers,
        ["cache_kafka_topics"] = options => string.Join(' ', options.Topics),
        ["cache_kafka_consumer_group"] = options => options.ConsumerGroup,
        ["cache_consume_from"] = options => options.ConsumeFrom.Kind == ConsumeFromKind.Duration ? options.ConsumeFrom.Back : options.ConsumeFrom.Kind,
        ["metric_types"] = options => string.Join(' ', options.MetricTypes),
        ["session_time_unit"] = options => options.SessionTimeUnit,
        ["schema_registry_url"] = options => options.SchemaRegistryUrl,
        ["redis_host"] = options => options.RedisHost,
        ["redis_port"] = options => options.RedisPort,
        ["redis_db"] = options => options.RedisDb,
        ["ready_lag_threshold"] = options => options.ReadyLagThreshold,
        ["window_max_future_seconds"] = options => options.WindowMaxFutureSeconds,
        ["redis_key_prefix"] = options => options.RedisKeyPrefix,
        ["window_retention_count"] = options => options.WindowRetentionCount,
        ["window_hash_ttl_seconds"] = options => options.WindowHashTtlSeconds,
        ["active_session_ttl_seconds"] = options => options.ActiveSessionTtlSeconds,
        ["window_max_dimensions"] = options => options.WindowMaxDimensions,
        ["kafka_consume_batches"] = options => options.ConsumeBatches,
        ["kafka_commit_batch_size"] = options => options.CommitBatchSize,
        ["kafka_consume_pace_ms"] = options => options.ConsumePaceMs,
        ["kafka_commit_interval_ms"] = options => options.CommitIntervalMs,
        ["redis_write_batch_size"] = options => options.WriteBatchSize,
        ["redis_queue_max_size"] = options => options.QueueMaxSize,
        ["cache_dead_letter_topic"] = options => options.DeadLetterTopic,
        ["redis_rebuild_lookback_seconds"] = options => options.RebuildLookbackSeconds,
        ["api_keys"] = options => string.Join(' ', options.ApiKeys),
        ["cors_origins"] = options => string.Join(' ', options.CorsOrigins),
        ["rate_limit_per_second"] = options => options.RateLimitPerSecond,
        ["rate_limit_burst"] = options => options.RateLimitBurst,
        ["http_max_connections"] = options => options.HttpMaxConnections,
        ["stream_max_clients"] = options => options.StreamMaxClients,
        ["stream_max_clients_per_client"] = options => options.StreamMaxClientsPerClient,
        ["http_answers_max_mb"] = options => options.HttpAnswersMaxMb,
        ["stream_unsent_max_mb"] = options => options.StreamUnsentMaxMb,
        ["http_max_connections_per_client"] = options => options.HttpMaxConnectionsPerClient,
        ["trusted_proxies"] = options => string.Join(' ', options.TrustedProxies),
        ["health_port"] = options => options.HealthPort,
    };

    /// <summary>Key, default, another value as configured, and as read.</summary>
    public static TheoryData<string, string, string, string> Keys => new()
    {
        { "kafka_bootstrap_servers", "kafka1:19092", "a:1, b:2", "a:1,b:2" },
        { "cache_kafka_topics", "event_metrics performance_metrics", "event_metrics", "event_metrics" },
        { "metric_types", "event performance", """[{"name":"errors","topics":["errors"],"dimension":["service"],"measures":[{"name":"count","kind":"count"}]}]""", "event performance errors" },
        { "session_time_unit", "Milliseconds", "us", "Microseconds" },
        { "schema_registry_url", "", "http://a:8081, https://b", "http://a:8081,https://b" },
        { "cache_kafka_consumer_group", "cache-service", "another", "another" },
        { "cache_consume_from", "Latest", "6h", "06:00:00" },
        { "redis_host", "redis", "10.0.0.7", "10.0.0.7" },
        { "redis_port", "6379", "6380", "6380" },
        { "redis_db", "0", "3", "3" },
        { "ready_lag_threshold", "5000", "0", "0" },
        { "window_max_future_seconds", "86400", "0", "0" },
        { "redis_key_prefix", "", "team:", "team:" },
        { "window_retention_count", "120", "240", "240" },
        { "window_hash_ttl_seconds", "21600", "60", "60" },
        { "active_session_ttl_seconds", "1900", "60", "60" },
        { "window_max_dimensions", "10000", "5", "5" },
        { "kafka_consume_batches", "True", "false", "False" },
        { "kafka_commit_batch_size", "100", "1", "1" },
        { "kafka_consume_pace_ms", "0", "5", "5" },
        { "kafka_commit_interval_ms", "1000", "10", "10" },
        { "redis_write_batch_size", "50", " 1 ", "1" },
        { "redis_queue_max_size", "5000", "2", "2" },
        { "cache_dead_letter_topic", "cache_dead_letters", "", "" },
        { "redis_rebuild_lookback_seconds", "21600", "60", "60" },
        { "api_keys", "", "0123456789abcdef, fedcba9876543210", "0123456789abcdef fedcba9876543210" },
        { "cors_origins", "", "https://a.example,http://localhost:3000", "https://a.example http://localhost:3000" },
        { "rate_limit_per_second", "0", "50", "50" },
        { "rate_limit_burst", "0", "100", "100" },
        { "http_max_connections", "10000", "100", "100" },
        { "stream_max_clients", "5000", "0", "0" },
        { "stream_max_clients_per_client", "1000", "1", "1" },
        { "http_answers_max_mb", "128", "16", "16" },
        { "stream_unsent_max_mb", "256", "16", "16" },
        { "http_max_connections_per_client", "0", "100", "100" },
        { "trusted_proxies", "", "10.0.0.7,10.1.0.0/16,fd00::/8", "10.0.0.7/32 10.1.0.0/16 fd00::/8" },
        { "health_port", "0", "9090", "9090" },
    };

    [Theory]
    [MemberData(nameof(Keys))]
    public void Key_HasItsDefault_AndIsReadFromEverySource(string key, string byDefault, string written, string read)
    {
        Assert.Equal(byDefault, Shown(Read(), key));
        Assert.Equal(read, Shown(Read((key, written)), key));
        Assert.Equal(read, Shown(Read((key.ToUpperInvariant(), written)), key));
        Assert.Equal(read, Shown(FromEnvironment((key.ToUpperInvariant(), written)), key));
        Assert.Equal(read, Shown(CacheOptionsReader.Read(new ConfigurationBuilder().AddCommandLine(["--" + key, written]).Build()), key));
    }

    /// <param name="types">The types: name and topics.</param>
    /// <param name="picked">The value of cache_kafka_topics; null for none.</param>
    /// <param name="topics">The topics that are consumed.</param>
    [Theory]
    [InlineData("a:x", null, "event_metrics performance_metrics x")]
    [InlineData("a:x,^y", "event_metrics", "event_metrics x ^y")]
    [InlineData("a:x", "[]", "x")]
    [InlineData("a:x", "x,session_metrics", "x session_metrics")]
    [InlineData("a:^s\\.", "s.b", "^s\\.")]
    [InlineData("event:us.event_metrics", null, "performance_metrics us.event_metrics")]
    [InlineData("a:session_metrics", null, "event_metrics performance_metrics session_metrics")]
    public void TopicsOfGivenTypes_AreAlwaysConsumed(string types, string? picked, string topics)
    {
        (string, string)[] settings = [("metric_types", Types(types)), .. picked is null ? Array.Empty<(string, string)>() : [("cache_kafka_topics", picked)]];

        Assert.Equal(topics.Split(' ').Order(), Read(settings).Topics.Order());
    }

    [Theory]
    [InlineData("a:x b:x", null, "metric_types: a has the topic x, and b has x;")]
    [InlineData("a:^s\\. b:s.b", null, "metric_types: a has the topic ^s\\., and b has s.b;")]
    [InlineData("a:s.b b:^s\\.", null, "metric_types: a has the topic s.b, and b has ^s\\.;")]
    [InlineData("a:event_metrics", null, "metric_types: event has the topic event_metrics, and a has event_metrics;")]
    [InlineData("a:event_metrics", "performance_metrics", "metric_types: event has the topic event_metrics, and a has event_metrics;")]
    [InlineData("a:^session_", "session_metrics", "metric_types: a has the topic ^session_, and sessions has session_metrics;")]
    [InlineData("a:cache_dead_letters", null, "cache_dead_letter_topic is 'cache_dead_letters'; that topic is consumed")]
    [InlineData("event:us.event_metrics", "event_metrics", "cache_kafka_topics is 'event_metrics'; no metric type has this topic. It must be performance_metrics, session_metrics,")]
    [InlineData("a:x", "y", "cache_kafka_topics is 'y'; no metric type has this topic.")]
    public void TopicsThatCannotBe_AreRefused(string types, string? picked, string error)
    {
        (string, string)[] settings = [("metric_types", Types(types)), .. picked is null ? Array.Empty<(string, string)>() : [("cache_kafka_topics", picked)]];

        Assert.Contains(Assert.Throws<ConfigurationException>(() => Read(settings)).Errors, line => line.StartsWith(error, StringComparison.Ordinal));
    }

    [Fact]
    public void EveryOption_HasAKey()
    {
        Assert.Equal(Values.Keys.Order(), Keys.Select(row => row.Data.Item1).Order());

        // Credentials of the schema registry are only valid together (SchemaRegistrySettingsTests).
        string[] together = ["schema_registry_password", "schema_registry_user"];
        Assert.Equal(Values.Keys.Concat(together).Order(), CacheOptionsReader.Keys.Order());

        // Except the sections Kafka: and Authentication:, the connection string, and what is derived from other keys.
        string[] others = [nameof(CacheOptions.KafkaProperties), nameof(CacheOptions.AcceptsTokens), nameof(CacheOptions.IsProtected), nameof(CacheOptions.RedisConnection), nameof(CacheOptions.RedisServers)];
        Assert.Equal(typeof(CacheOptions).GetProperties().Length - others.Length - together.Length, Values.Count);
    }

    [Theory]
    [InlineData("""{"cache_kafka_topics":["event_metrics","session_metrics"]}""")]
    [InlineData("""{"cache_kafka_topics":"event_metrics,session_metrics"}""")]
    [InlineData("""{"cache_kafka_topics":" event_metrics , session_metrics ,"}""")]
    [InlineData("""{"cache_kafka_topics":"[event_metrics, session_metrics]"}""")]
    [InlineData("""{"cache_kafka_topics":"[\"event_metrics\", \"session_metrics\"]"}""")]
    [InlineData("""{"cache_kafka_topics":["event_metrics","session_metrics","event_metrics"]}""")]
    [InlineData("""{"Cache_Kafka_Topics":["event_metrics","session_metrics"],"window_retention_count":240}""")]
    public void List_IsAJsonArrayOrCommas(string json)
    {
        using var stream = new MemoryStream(Encoding.UTF8.GetBytes(json));
        Assert.Equal(Two, CacheOptionsReader.Read(new ConfigurationBuilder().AddJsonStream(stream).Build()).Topics);
    }

    [Theory]
    [InlineData("""{"api_keys":[]}""")]
    [InlineData("""{"api_keys":""}""")]
    [InlineData("""{"api_keys":null}""")]
    public void ApiKeys_InAFileWithoutOne_AreAnError(string json)
    {
        using var stream = new MemoryStream(Encoding.UTF8.GetBytes(json));
        var configuration = new ConfigurationBuilder().AddJsonStream(stream).Build();
        Assert.StartsWith("api_keys is empty", Assert.Single(Assert.Throws<ConfigurationException>(() => CacheOptionsReader.Read(configuration)).Errors), StringComparison.Ordinal);
    }

    [Fact]
    public void List_FromTheEnvironment_IsAnyShape()
    {
        Assert.Equal(Two, FromEnvironment(("CACHE_KAFKA_TOPICS__0", Two[0]), ("CACHE_KAFKA_TOPICS__1", Two[1])).Topics);
        Assert.Equal(Two, FromEnvironment(("CACHE_KAFKA_TOPICS", $"[\"{Two[0]}\",\"{Two[1]}\"]")).Topics);
        Assert.Equal(Two, FromEnvironment(("CACHE_KAFKA_TOPICS", string.Join(',', Two))).Topics);
        Assert.Equal("a:1,b:2", FromEnvironment(("KAFKA_BOOTSTRAP_SERVERS", "[a:1, b:2]")).KafkaBootstrapServers);
        Assert.Equal("a:1,b:2", FromEnvironment(("KAFKA_BOOTSTRAP_SERVERS__0", "a:1"), ("KAFKA_BOOTSTRAP_SERVERS__1", "b:2")).KafkaBootstrapServers);
    }

    [Fact]
    public void LaterSource_WinsOverAnEarlier_WhateverShapeItsListHas()
    {
        Assert.Equal(["performance_metrics"], Layers([("cache_kafka_topics:0", Two[0]), ("cache_kafka_topics:1", Two[1])], [("CACHE_KAFKA_TOPICS", "performance_metrics")]).Topics);
        Assert.Equal(["performance_metrics"], Layers([("cache_kafka_topics", string.Join(',', Two))], [("cache_kafka_topics:0", "performance_metrics")]).Topics);
        Assert.Equal(7, Layers([("window_retention_count", "5")], [("WINDOW_RETENTION_COUNT", "7")]).WindowRetentionCount);
        Assert.Equal(5, Layers([("window_retention_count", "5")], [("redis_host", "other")]).WindowRetentionCount);
    }

    [Fact]
    public void ConnectionStrings_WinOverHostAndPort_WhichThenMayBeAnything()
    {
        var options = Read(
            ("ConnectionStrings:kafka", "SASL_SSL://broker:9093,[::1]:9094,other"), ("kafka_bootstrap_servers", "not:a:server:x"),
            ("ConnectionStrings:redis", "cache:6380,password=p4ss,ssl=true,defaultDatabase=2"), ("redis_host", ""), ("REDIS_PORT", "tcp://10.0.0.1:6379"));

        Assert.Equal("SASL_SSL://broker:9093,[::1]:9094,other", options.KafkaBootstrapServers);
        Assert.Equal(2, options.RedisDb);
        Assert.Equal(4, Read(("ConnectionStrings:redis", "cache,defaultDatabase=2"), ("redis_db", "4")).RedisDb);
    }

    [Theory]
    [InlineData("kafka_bootstrap_servers", "")]
    [InlineData("kafka_bootstrap_servers", "host:0")]
    [InlineData("kafka_bootstrap_servers", "host:65536")]
    [InlineData("kafka_bootstrap_servers", "a:1,:2")]
    [InlineData("kafka_bootstrap_servers", "a b")]
    [InlineData("cache_kafka_topics", "")]
    [InlineData("cache_kafka_topics", "[]")]
    [InlineData("cache_kafka_topics", "no spaces")]
    [InlineData("cache_kafka_topics", "[\"event_metrics\", 1]")]
    [InlineData("cache_kafka_topics", "us-east.event_metrics")]
    [InlineData("cache_kafka_topics", "event_metrics,event-metrics")]
    [InlineData("cache_dead_letter_topic", "event_metrics")]
    [InlineData("cache_kafka_topics", "[\"a\"")]
    [InlineData("cache_kafka_topics", "..")]
    [InlineData("cache_kafka_consumer_group", " ")]
    [InlineData("cache_consume_from", "yesterday")]
    [InlineData("cache_consume_from", "")]
    [InlineData("redis_host", "")]
    [InlineData("redis_host", "127.0.0.1:7379,bogus=1")]
    [InlineData("redis_host", "127.0.0.1:7379")]
    [InlineData("redis_host", "redis://10.0.0.1")]
    [InlineData("redis_host", "a b")]
    [InlineData("redis_port", "0")]
    [InlineData("redis_port", "65536")]
    [InlineData("redis_db", "-1")]
    [InlineData("ready_lag_threshold", "-1")]
    [InlineData("ready_lag_threshold", "9223372036854775808")]
    [InlineData("window_max_future_seconds", "-1")]
    [InlineData("window_retention_count", "0")]
    [InlineData("window_retention_count", "1.5")]
    [InlineData("window_retention_count", "many")]
    [InlineData("window_retention_count", "")]
    [InlineData("window_hash_ttl_seconds", "0")]
    [InlineData("active_session_ttl_seconds", "0")]
    [InlineData("window_max_dimensions", "0")]
    [InlineData("kafka_commit_batch_size", "0")]
    [InlineData("kafka_commit_interval_ms", "9")]
    [InlineData("kafka_consume_pace_ms", "1001")]
    [InlineData("kafka_consume_pace_ms", "-1")]
    [InlineData("redis_write_batch_size", "0")]
    [InlineData("redis_queue_max_size", "1")]
    [InlineData("cache_dead_letter_topic", "dead/letters")]
    [InlineData("redis_rebuild_lookback_seconds", "0")]
    [InlineData("redis_rebuild_lookback_seconds", "2147483648")]
    [InlineData("api_keys", "short")]
    [InlineData("api_keys", "")]
    [InlineData("api_keys", "[]")]
    [InlineData("api_keys", " , ")]
    [InlineData("api_keys:0", "")]
    [InlineData("API_KEY", "0123456789abcdef")]
    [InlineData("ApiKeys", "0123456789abcdef")]
    [InlineData("api-keys", "0123456789abcdef")]
    [InlineData("apikey", "0123456789abcdef")]
    [InlineData("ApiKeys:0", "0123456789abcdef")]
    [InlineData("API_KEYS_0", "0123456789abcdef")]
    [InlineData("WindowRetentionCount", "5")]
    [InlineData("redis-host", "other")]
    [InlineData("ALLOWED_HOSTS", "cache.example.com")]
    [InlineData("ConnectionString", "redis")]
    [InlineData("api_keys", "[\"0123456789abcdef\", 1]")]
    [InlineData("api_keys", "[\"with a space 0123456789\"]")]
    [InlineData("api_keys", "schlüssel-0123456789")]
    [InlineData("cors_origins", "example.com")]
    [InlineData("cors_origins", "https://example.com/")]
    [InlineData("cors_origins", "https://example.com/path")]
    [InlineData("cors_origins", "https://me@example.com")]
    [InlineData("cors_origins", "ftp://example.com")]
    [InlineData("rate_limit_per_second", "-1")]
    [InlineData("rate_limit_burst", "-1")]
    [InlineData("http_max_connections", "0")]
    [InlineData("stream_max_clients", "-1")]
    [InlineData("stream_max_clients_per_client", "0")]
    [InlineData("http_answers_max_mb", "0")]
    [InlineData("stream_unsent_max_mb", "0")]
    [InlineData("http_max_connections_per_client", "-1")]
    [InlineData("trusted_proxies", "proxy.internal")]
    [InlineData("trusted_proxies", "10.0.0.0/33")]
    [InlineData("health_port", "65536")]
    [InlineData("ConnectionStrings:kafka", "")]
    [InlineData("ConnectionStrings:kafka", "host:port")]
    [InlineData("ConnectionStrings:redis", "")]
    [InlineData("ConnectionStrings:redis", ",password=x")]
    [InlineData("ConnectionStrings:redis", "host,defaultDatabase=two")]
    [InlineData("ConnectionStrings:redis", "host,noSuchOption=1")]
    [InlineData("ConnectionStrings:redis", "host,defaultDatabase=-2")]
    [InlineData("ConnectionStrings:redis", "host,connectTimeout=0")]
    [InlineData("ConnectionStrings:redis", "host:99999")]
    [InlineData("ConnectionStrings:redis", "host:port")]
    [InlineData("ConnectionStrings:redis", "a b")]
    [InlineData("ConnectionStrings:redis", "Endpoint=sb://demo.servicebus.windows.net/;SharedAccessKey=x")]
    [InlineData("ConnectionStrings:redis", "redis://")]
    [InlineData("ConnectionStrings:redis", "redis://host/zero")]
    [InlineData("ConnectionStrings:redis", "redis://host/-1")]
    [InlineData("ConnectionStrings:redis", "redis://host:99999")]
    [InlineData("ConnectionStrings:redis", "redis://user@host")]
    [InlineData("ConnectionStrings:redis", "redis://a,b")]
    [InlineData("ConnectionStrings:redis", "redis://:a%2Cb@host")]
    [InlineData("ConnectionStrings:redis", "redis://host?timeout=5")]
    [InlineData("ConnectionStrings:redis", "http://host")]
    [InlineData("Kafka:session.timeout.ms", "1.5")]
    [InlineData("Kafka:session.timeout.ms", "10s")]
    [InlineData("Kafka:session.timeout.ms", "")]
    [InlineData("Kafka:enable.metrics.push", "yes")]
    [InlineData("Logging:LogLevel:Default", "Verbose")]
    [InlineData("Logging:LogLevel:Default", "99")]
    [InlineData("Logging:LogLevel:Default", "")]
    [InlineData("Logging:LogLevel:Microsoft:AspNetCore", "Debug")]
    [InlineData("Logging:Console:LogLevel:Cache.Service", "loud")]
    [InlineData("Logging:Console:FormatterName", "xml")]
    [InlineData("Logging:Console:FormatterOptions:SingleLine", "perhaps")]
    [InlineData("Logging:Console:FormatterOptions:TimestampFormat", "%")]
    [InlineData("urls", "http://127.0.0.1:99999")]
    [InlineData("urls", "http://127.0.0.1:port")]
    [InlineData("urls", "127.0.0.1:8080")]
    [InlineData("urls", "ftp://127.0.0.1:8080")]
    [InlineData("urls", "http://127.0.0.1:8080/path")]
    [InlineData("urls", "http://a:8080,http://b:8080")]
    [InlineData("urls", "http://localhost:0")]
    [InlineData("urls", ";")]
    [InlineData("http_ports", "99999")]
    [InlineData("http_ports", "http://*:8080")]
    [InlineData("https_ports", "tls")]
    [InlineData("Kestrel:Endpoints:Http:Url", "")]
    [InlineData("Kestrel:Endpoints:Http:Url", "http://*:99999")]
    [InlineData("Kestrel:Certificates:Default:Path", "/nothing/there.pfx")]
    [InlineData("AllowedHosts", "")]
    [InlineData("AllowedHosts", ";")]
    [InlineData("AllowedHosts", "a.example, b.example")]
    [InlineData("AllowedHosts", "http://a.example")]
    [InlineData("AllowedHosts", "a.example:8080")]
    [InlineData("AllowedHosts", "a..example")]
    [InlineData("AllowedHosts:0", "a.example")]
    [InlineData("ForwardedHeaders_Enabled", "1")]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT", "collector")]
    [InlineData("OTEL_EXPORTER_OTLP_PROTOCOL", "http")]
    public void InvalidValue_IsAnErrorWithItsKey(string key, string value)
    {
        var error = Assert.Single(Errors((key, value)));
        Assert.StartsWith(key.Split(":0")[0], error, StringComparison.OrdinalIgnoreCase);
    }

    [Theory]
    [InlineData("Logging:LogLevel:Default", "trace")]
    [InlineData("Logging:LogLevel:Default", "None")]
    [InlineData("Logging:LogLevel:Default", "2")]
    [InlineData("urls", "http://*:8080;http://127.0.0.1:0;http://[::1]:5000;http://+:1")]
    [InlineData("urls", "http://cache.example.com:80/")]
    [InlineData("urls", "http://unix:/tmp/cache.sock")]
    [InlineData("urls", "")]
    [InlineData("http_ports", "8080;0")]
    [InlineData("http_ports", "")]
    [InlineData("AllowedHosts", "*")]
    [InlineData("AllowedHosts", "cache.example.com;*.internal;127.0.0.1;[::1];schlüssel.example;my_host")]
    [InlineData("Kafka:session.timeout.ms", "7000")]
    [InlineData("Kafka:enable.metrics.push", "false")]
    [InlineData("Kafka:debug", "broker")]
    [InlineData("redis_host", "::1")]
    [InlineData("redis_host", "[::1]")]
    [InlineData("redis_host", "a-b.c_d.example")]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT", "http://localhost:4317")]
    [InlineData("OTEL_EXPORTER_OTLP_ENDPOINT", "")]
    [InlineData("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")]
    [InlineData("ConnectionStrings:redis", "!/tmp/redis.sock")]
    [InlineData("ConnectionStrings:redis", "[::1]:6379,abortConnect=true,connectTimeout=100")]
    public void ValidValue_IsAccepted(string key, string value) => Read((key, value));

    [Theory]
    [InlineData("windw_retention_count", "windw_retention_count is not a configuration key; did you mean window_retention_count? (cache.json)")]
    [InlineData("kafka", "kafka is not a configuration key; did you mean Kafka? (cache.json)", false)]
    [InlineData("_comment", "", false)]
    [InlineData("$schema", "", false)]
    [InlineData("ConnectionStrings:rediss", "ConnectionStrings:rediss is not a configuration key; did you mean ConnectionStrings:redis? (cache.json)")]
    [InlineData("Kafak:acks", "Kafak is not a configuration key; did you mean Kafka? (cache.json)")]
    [InlineData("Loging:LogLevel:Default", "Loging is not a configuration key; did you mean Logging? (cache.json)")]
    [InlineData("retention", "retention is not a configuration key; did you mean window_retention_count? (cache.json)")]
    [InlineData("colour", "colour is not a configuration key; --help lists those that are. (cache.json)")]
    public void UnknownKey_InAFile_IsAnError_WithTheNearest(string key, string error, bool isUnknown = true)
    {
        var folder = Directory.CreateTempSubdirectory("keys-");
        try
        {
            File.WriteAllText(Path.Combine(folder.FullName, "cache.json"), $$"""{ "{{key}}": "5" }""");
            var configuration = new ConfigurationBuilder().SetBasePath(folder.FullName).AddJsonFile("cache.json").Build();
            if (isUnknown)
            {
                Assert.Equal([error], Assert.Throws<ConfigurationException>(() => CacheOptionsReader.Read(configuration)).Errors);
            }
            else
            {
                CacheOptionsReader.Read(configuration);
            }
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>What Kubernetes, Aspire, containers and shells set is for others, or known.</summary>
    [Theory]
    [InlineData("OPENAI_API_KEY")]
    [InlineData("API_KEYS_SERVICE_HOST")]
    [InlineData("REDIS_SERVICE_HOST")]
    [InlineData("REDIS_SERVICE_PORT_REDIS")]
    [InlineData("REDIS_PORT_6379_TCP_ADDR")]
    [InlineData("CACHE_PORT")]
    [InlineData("CACHE_SERVICE_PORT")]
    [InlineData("KAFKA_PORT_9092_TCP")]
    [InlineData("services__cache__http__0")]
    [InlineData("CACHE_HTTP", "services__cache__http__0")]
    [InlineData("REDIS_URI", "ConnectionStrings__redis")]
    [InlineData("REDIS_PASSWORD", "ConnectionStrings__redis")]
    [InlineData("KAFKA_HOST", "ConnectionStrings__kafka")]
    [InlineData("ConnectionStrings__orders")]
    [InlineData("OTEL_SERVICE_NAME")]
    [InlineData("Logging__LogLevel__Default")]
    [InlineData("HTTP_PROXY")]
    [InlineData("PATH")]
    public void VariableOfOthers_IsNeitherAnErrorNorAWarning(string name, params string[] others)
    {
        var configuration = Variables([(name, "Information"), .. others.Select(other => (other, "localhost:1"))]);

        CacheOptionsReader.Read(configuration);
        Assert.Empty(CacheOptionsReader.Known.UnknownVariables(configuration));
    }

    [Theory]
    [InlineData("WINDW_RETENTION_COUNT", "WINDW_RETENTION_COUNT (did you mean WINDOW_RETENTION_COUNT?)")]
    [InlineData("windw_retention_count", "windw_retention_count (did you mean window_retention_count?)")]
    [InlineData("CACHE_KAFKA_GROUP", "CACHE_KAFKA_GROUP")]
    [InlineData("KAFKA_SASL_PASSWORD", "KAFKA_SASL_PASSWORD")]
    [InlineData("REDIS_PASSWORD", "REDIS_PASSWORD")]
    [InlineData("ConnectionStrings__redi", "ConnectionStrings__redi (did you mean ConnectionStrings__redis?)")]
    public void UnknownVariable_ThatLooksLikeAKey_IsWarnedOf(string name, string warning)
    {
        var configuration = Variables([(name, "5")]);

        CacheOptionsReader.Read(configuration);
        Assert.Equal([warning], CacheOptionsReader.Known.UnknownVariables(configuration));
    }

    [Theory]
    [InlineData("cache:6380,password=s3cret,ssl=true", "cache:6380")]
    [InlineData("redis://:s3cret@10.0.0.1/2", "10.0.0.1:6379")]
    [InlineData("a,b:7000,user=u,password=s3cret", "a:6379,b:7000")]
    public void SettingsForTheLog_HaveNoSecret(string redis, string servers)
    {
        var configuration = new ConfigurationBuilder().AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["ConnectionStrings:redis"] = redis,
            ["ConnectionStrings:kafka"] = "BootstrapServers=k:1;SecurityProtocol=SaslPlaintext;SaslMechanism=Plain;SaslUsername=u;SaslPassword=s3cret",
            ["api_keys:0"] = "s3cret-0123456789",
            ["schema_registry_url"] = "http://registry:8081",
            ["schema_registry_user"] = "u",
            ["schema_registry_password"] = "s3cret",
            ["Kafka:sasl_password"] = "s3cret",
            ["Kafka:client.id"] = "me",
            ["Kestrel:Certificates:Default:Password"] = "s3cret",
            ["Authentication:Schemes:Bearer:SigningKeys:0:Value"] = "s3cret",
            ["OTEL_EXPORTER_OTLP_HEADERS"] = "x=s3cret",
            ["cache_dead_letter_topic"] = "",
            ["window_retention_count"] = "7",
            ["Logging:LogLevel:Default"] = "Warning",
        }).Build();

        var settings = new GivenSettings(configuration).Settings;

        Assert.DoesNotContain(settings, setting => setting.Contains("s3cret", StringComparison.Ordinal));
        Assert.Superset(new HashSet<string> { "window_retention_count=7", "cache_dead_letter_topic=(empty)", "Kafka:client.id=me", "api_keys:0=(set)", "Kafka:sasl_password=(set)" }, settings.ToHashSet());
        Assert.DoesNotContain(settings, setting => setting.StartsWith("Logging", StringComparison.Ordinal));
        Assert.Equal(servers, Read(("ConnectionStrings:redis", redis)).RedisServers);
    }

    [Fact]
    public void Help_HasEveryKey_OnceEach()
    {
        using var output = new StringWriter();

        Assert.True(CacheCommand.Read(["--help"]).Answer(output));
        Assert.All(CacheOptionsReader.Keys, key => Assert.Single(output.ToString().Split('\n'), line => line.Contains($"  --{key} <", StringComparison.Ordinal)));
        Assert.All(
            CacheCommand.Options().Select(option => option.Key).Where(key => !key.Contains('<', StringComparison.Ordinal)), key => Assert.True(CacheOptionsReader.Known.Contains(key), key));
    }

    [Theory]
    [InlineData("redis://10.0.0.7", "10.0.0.7:6379")]
    [InlineData("redis://host:6380/3", "host:6380,defaultDatabase=3")]
    [InlineData("REDIS://host/", "host:6379")]
    [InlineData("redis://:p4ss@host:6380/0", "host:6380,password=p4ss,defaultDatabase=0")]
    [InlineData("rediss://cache:p%40ss%3D%3A1@host", "host:6379,ssl=true,password=p@ss=:1,user=cache")]
    [InlineData("redis://[::1]:7000", "[::1]:7000")]
    public void RedisUri_IsParsed(string uri, string expected)
    {
        var options = Read(("ConnectionStrings:redis", uri));

        Assert.Equal(expected, options.RedisConnection);
        Assert.Equal(expected.Contains("=3", StringComparison.Ordinal) ? 3 : 0, options.RedisDb);
        var understood = StackExchange.Redis.ConfigurationOptions.Parse(options.RedisConnection!);
        Assert.Equal(uri.Contains("%40", StringComparison.Ordinal) ? "p@ss=:1" : uri.Contains("p4ss", StringComparison.Ordinal) ? "p4ss" : null, understood.Password);
    }

    [Theory]
    [InlineData("tcp://10.96.0.12:6379", 6379)]
    [InlineData("tcp://10.96.0.12:6380", 6380)]
    [InlineData("TCP://[fd00::1]:6381", 6381)]
    public void PortFromKubernetes_IsTaken_WhereTheHostIsThatService(string value, int port)
    {
        var options = FromEnvironment(("REDIS_PORT", value));

        Assert.Equal(("redis", port), (options.RedisHost, options.RedisPort));
        Assert.Equal(port, FromEnvironment(("REDIS_PORT", value), ("REDIS_HOST", "redis")).RedisPort);
        Assert.Equal(7000, Layers([("REDIS_PORT", value)], [("redis_port", "7000")]).RedisPort);
    }

    [Theory]
    [InlineData("tcp://10.96.0.12:6379", "10.0.0.7")]
    [InlineData("tcp://10.96.0.12", "redis")]
    [InlineData("tcp://", "redis")]
    public void PortFromKubernetes_ThatIsNotForTheHost_IsAnErrorWithCauseAndRemedy(string value, string host)
    {
        var error = Assert.Single(Errors(("REDIS_PORT", value), ("redis_host", host)));

        Assert.StartsWith($"redis_port is '{value}'; Kubernetes sets REDIS_PORT", error, StringComparison.Ordinal);
        Assert.Contains("enableServiceLinks: false", error, StringComparison.Ordinal);
        Assert.Contains("ConnectionStrings:redis", error, StringComparison.Ordinal);
    }

    [Fact]
    public void Certificate_ThatIsMissing_IsAnErrorWithItsKey()
    {
        var errors = Errors(
            ("Kestrel:Endpoints:Https:Url", "https://*:8443"), ("Kestrel:Endpoints:Https:Certificate:Path", "missing.pem"),
            ("Kestrel:Endpoints:Https:Certificate:KeyPath", "missing.key"), ("Kestrel:EndpointDefaults:Protocols", "Http4"));
        Assert.Equal(
            ["Kestrel:EndpointDefaults:Protocols", "Kestrel:Endpoints:Https:Certificate:KeyPath", "Kestrel:Endpoints:Https:Certificate:Path"],
            errors.Select(error => error.Split(' ')[0]).Order(StringComparer.Ordinal));
    }

    [Fact]
    public void AllErrors_AreReportedAtOnce()
    {
        var keys = Values.Keys.Except(["redis_key_prefix"]).ToList();
        var errors = Errors([.. keys.Select(key => (key, "/ wrong /")), ("Kafka:no.such.property", "1"), ("Kafka:group.id", "mine"), ("urls", "nowhere")]);

        keys.Remove("cache_kafka_consumer_group");
        Assert.Equal([.. keys.Append("urls").Append("Kafka:no.such.property").Append("Kafka:group.id").Order(StringComparer.Ordinal)],
            errors.Select(error => error.Split(' ')[0].TrimEnd(':')).Order(StringComparer.Ordinal));
        var thrown = Assert.Throws<ConfigurationException>(() => Read(("redis_port", "x"), ("redis_db", "y")));
        Assert.Equal(3, thrown.Message.Split(Environment.NewLine).Length);
    }

    [Fact]
    public void KafkaSection_GoesToTheClientLibrary_AlsoFromAShell()
    {
        var options = FromEnvironment(("KAFKA__FETCH_MIN_BYTES", "7"), ("Kafka__client.id", "me"), ("kafka__Socket.Timeout_Ms", "5000"));

        Assert.Equal(
            new Dictionary<string, string> { ["fetch.min.bytes"] = "7", ["client.id"] = "me", ["socket.timeout.ms"] = "5000" },
            options.KafkaProperties);
    }

    [Fact]
    public void KafkaConnectionString_MayHaveProperties_AndTheSectionGoesOverThem()
    {
        var options = Read(
            ("ConnectionStrings:kafka", "BootstrapServers=a:1, b:2;SecurityProtocol=SaslPlaintext;SaslMechanism=Plain;SaslUsername=u;SaslPassword=\"p;q\""),
            ("kafka_bootstrap_servers", "c:3"), ("Kafka:sasl_username", "section"), ("Kafka:client.id", "me"));

        Assert.Equal("a:1,b:2", options.KafkaBootstrapServers);
        Assert.Equal(
            new Dictionary<string, string>
            {
                ["security.protocol"] = "sasl_plaintext",
                ["sasl.mechanism"] = "PLAIN",
                ["sasl.username"] = "section",
                ["sasl.password"] = "p;q",
                ["client.id"] = "me",
            },
            options.KafkaProperties);

        // Each may depend on the other.
        Assert.Equal(4, Read(
            ("ConnectionStrings:kafka", "BootstrapServers=a:1;SecurityProtocol=SASL_PLAINTEXT;SaslMechanism=Plain"),
            ("Kafka:sasl.username", "u"), ("Kafka:sasl.password", "p")).KafkaProperties.Count);
    }

    [Theory]
    [InlineData("GroupId=mine", "group.id cannot be set")]
    [InlineData("enable_auto_commit=true", "enable.auto.commit cannot be set")]
    [InlineData("dotnet.producer.enable.delivery.reports=false", "dotnet.producer.enable.delivery.reports cannot be set")]
    [InlineData("SecurityProtocol=SaslSsl;SaslMechanism=S3cret", "the value of sasl.mechanism cannot be used")]
    [InlineData("SaslPasword=S3cret", "does not know, besides bootstrap.servers;")]
    [InlineData("SecurityProtocol=Ssl;SslKeyPem=S3cret", "does not take security.protocol, ssl.key.pem together")]
    [InlineData("Acks=1;ClientId=S3cret", "does not take acks, client.id together")]
    public void KafkaConnectionString_WithAnInvalidProperty_IsAnErrorWithItsKey(string property, string expected)
    {
        var error = Assert.Single(Errors(("ConnectionStrings:kafka", $"BootstrapServers=a:1;{property}")));
        Assert.StartsWith("ConnectionStrings:kafka", error, StringComparison.Ordinal);
        Assert.Contains(expected, error, StringComparison.Ordinal);
        Assert.DoesNotContain("S3cret", error, StringComparison.Ordinal);
    }

    [Fact]
    public void InvalidKafkaSection_IsReportedInTheClientLibrarysWords_AlsoBesideAConnectionStringWithProperties()
    {
        var error = Assert.Single(Errors(("ConnectionStrings:kafka", "BootstrapServers=a:1;SaslPassword=S3cret"), ("Kafka:fetch.min.bytes", "-5")));
        Assert.StartsWith("Kafka:fetch.min.bytes cannot be used: ", error, StringComparison.Ordinal);
        Assert.Contains("outside allowed range", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("bootstrap.servers", "b:1")]
    [InlineData("metadata.broker.list", "b:1")]
    [InlineData("group.id", "mine")]
    [InlineData("enable.auto.commit", "true")]
    [InlineData("ENABLE_AUTO_COMMIT", "true")]
    [InlineData("enable.auto.offset.store", "true")]
    [InlineData("auto.offset.reset", "latest")]
    [InlineData("enable.partition.eof", "false")]
    [InlineData("isolation.level", "read_uncommitted")]
    [InlineData("partition.assignment.strategy", "range")]
    [InlineData("group.protocol", "consumer")]
    [InlineData("enable.idempotence", "false")]
    [InlineData("transactional.id", "t")]
    [InlineData("dotnet.producer.enable.delivery.reports", "false")]
    public void KafkaProperty_ThatThePromisesDependOn_CannotBeSet(string name, string value) =>
        Assert.StartsWith($"Kafka:{name} cannot be set", Assert.Single(Errors(($"Kafka:{name}", value))), StringComparison.Ordinal);

    [Theory]
    [InlineData("no.such.property", "1")]
    [InlineData("fetch.min.bytes", "many")]
    [InlineData("security.protocol", "carrier_pigeon")]
    [InlineData("acks", "1")]
    [InlineData("sasl:username", "me")]
    public void KafkaProperty_ThatTheClientRefuses_IsAnError(string name, string value)
    {
        var error = Assert.Single(Errors(($"Kafka:{name}", value)));
        Assert.StartsWith("Kafka", error, StringComparison.Ordinal);
        Assert.Contains(name, error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("ConnectionStrings:redis", "host,password=S3cret,noSuchOption=1")]
    [InlineData("ConnectionStrings:redis", "host,password=S3cret,connectTimeout=soon")]
    [InlineData("ConnectionStrings:redis", ",password=S3cret")]
    [InlineData("ConnectionStrings:kafka", "SASL_SSL://user:S3cret@broker")]
    [InlineData("kafka_bootstrap_servers", "SASL_SSL://user:S3cret@broker")]
    [InlineData("Kafka:sasl.pasword", "S3cret")]
    [InlineData("Kafka:ssl.key.pem", "S3cret")]
    [InlineData("ConnectionStrings:kafka", "user:S3cret@broker:9092")]
    [InlineData("ConnectionStrings:kafka", "Endpoint=sb://demo.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=S3cret=")]
    [InlineData("kafka_bootstrap_servers", "Endpoint=sb://demo.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=S3cret=")]
    [InlineData("Kafka:sasl:password", "S3cret")]
    [InlineData("api_keys", "S3cret")]
    [InlineData("api_keys", "[\"S3cret")]
    [InlineData("api_keys", "S3cret 0123456789abcdef")]
    [InlineData("cors_origins", "https://u:S3cret@host")]
    [InlineData("cors_origins", "[\"https://u:S3cret@host\"")]
    [InlineData("redis_host", "redis://:S3cret@host")]
    [InlineData("redis_host", "host,password=S3cret")]
    [InlineData("redis_port", "6379,password=S3cret")]
    [InlineData("ConnectionStrings:redis", "redis://:S3cret,x@host")]
    [InlineData("ConnectionStrings:redis", "redis://:S3cret#1@host")]
    [InlineData("ConnectionStrings:redis", "redis://:S3cret@host/x")]
    [InlineData("ConnectionStrings:redis", "rediss://u:S3cret@host:99999")]
    [InlineData("urls", "http://u:S3cret@host")]
    [InlineData("Authentication:Schemes:Bearer:Authority", "https://u:S3cret@login.example")]
    [InlineData("Authentication:Schemes:Bearer:SigningKeys:0:Value", "S3cret")]
    [InlineData("API_KEY", "S3cret")]
    public void Error_NeverRepeatsAPassword(string key, string value)
    {
        // The client checks its keys only with TLS.
        var thrown = Assert.Throws<ConfigurationException>(() => Read((key, value), ("Kafka:security.protocol", "ssl")));
        Assert.DoesNotContain("S3cret", thrown.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Tokens_AreAccepted_IfTheirSectionSaysHowToValidateThem()
    {
        Assert.False(Read().IsProtected);
        Assert.True(Read(("api_keys", "0123456789abcdef")).IsProtected);
        Assert.True(Read(("Authentication:Schemes:Bearer:Authority", "https://login.example"), ("Authentication:Schemes:Bearer:ValidAudiences:0", "cache")).AcceptsTokens);
    }

    [Theory]
    [InlineData("Authority", "ValidAudience=cache")]
    [InlineData("ValidAudiences", "Authority=https://login.example")]
    [InlineData("ValidAudiences:0", "Authority=https://login.example", "Audience=cache")]
    [InlineData("ValidAudiences:0", "Authority=https://login.example", "ValidAudiences=cache")]
    [InlineData("has an empty audience", "Authority=https://login.example", "ValidAudience= ")]
    [InlineData("has an empty audience", "Authority=https://login.example", "ValidAudiences:0=cache", "ValidAudiences:1=")]
    [InlineData("ValidateAudience", "Authority=https://login.example", "ValidAudience=cache", "ValidateAudience=false")]
    [InlineData("ValidIssuer", "ValidAudience=cache", "SigningKeys:0:Value=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
    [InlineData("ValidIssuer", "ValidAudience=cache", "SigningKeys:0:Issuer=me", "SigningKeys:0:Value=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
    [InlineData("ValidIssuer", "ValidAudience=cache", "ValidIssuer=other", "SigningKeys:0:Issuer=me", "SigningKeys:0:Value=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")]
    [InlineData("too short", "ValidAudience=cache", "ValidIssuer=me", "SigningKeys:0:Issuer=me", "SigningKeys:0:Value=AAAA")]
    [InlineData("Base64", "ValidAudience=cache", "ValidIssuer=me", "SigningKeys:0:Issuer=me", "SigningKeys:0:Value=not base64")]
    [InlineData("has an empty issuer", "ValidAudience=cache", "Authority=https://login.example", "ValidIssuer=")]
    [InlineData("Authority cannot be used", "ValidAudience=cache", "Authority=https://")]
    [InlineData("https", "ValidAudience=cache", "Authority=http://login.example")]
    [InlineData("true or false", "ValidAudience=cache", "Authority=https://login.example", "ValidateIssuer=perhaps")]
    public void Tokens_ThatCouldNeverBeValidated_AreAnError(string expected, params string[] keys)
    {
        var error = Assert.Single(Errors([.. keys.Select(key => ($"Authentication:Schemes:Bearer:{key.Split('=')[0]}", key[(key.IndexOf('=') + 1)..]))]));
        Assert.StartsWith("Authentication:Schemes:Bearer", error, StringComparison.Ordinal);
        Assert.Contains(expected, error, StringComparison.Ordinal);
    }

    [Fact]
    public void Errors_AreOneLineEach_WhateverTheValueContains()
    {
        var thrown = Assert.Throws<ConfigurationException>(() => Read(("redis_port", "6\r\n   at 7\u001b[31m"), ("redis_db", new string('9', 5000))));
        Assert.Equal(3, thrown.Message.Split('\n').Length);
        Assert.DoesNotContain('\u001b', thrown.Message);
        Assert.DoesNotContain("99999", thrown.Message, StringComparison.Ordinal);
    }

    private static string Shown(CacheOptions options, string key) => Convert.ToString(Values[key](options), CultureInfo.InvariantCulture)!;

    private static CacheOptions Read(params (string Key, string Value)[] keys) => Layers(keys);

    private static IReadOnlyList<string> Errors(params (string Key, string Value)[] keys) =>
        Assert.Throws<ConfigurationException>(() => Read(keys)).Errors;

    /// <summary>Reads from several sources; later ones win.</summary>
    private static CacheOptions Layers(params (string Key, string Value)[][] layers)
    {
        var builder = new ConfigurationBuilder();
        foreach (var layer in layers)
        {
            builder.AddInMemoryCollection(layer.Select(pair => KeyValuePair.Create<string, string?>(pair.Key, pair.Value)));
        }

        return CacheOptionsReader.Read(builder.Build());
    }

    /// <summary>Reads from environment variables, with a prefix that no other test uses.</summary>
    private static CacheOptions FromEnvironment(params (string Name, string Value)[] variables) => CacheOptionsReader.Read(Variables(variables));

    private static IConfigurationRoot Variables(params (string Name, string Value)[] variables)
    {
        var prefix = $"TEST_{Guid.NewGuid():N}_";
        try
        {
            foreach (var (name, value) in variables)
            {
                Environment.SetEnvironmentVariable(prefix + name, value);
            }

            return new ConfigurationBuilder().AddEnvironmentVariables(prefix).Build();
        }
        finally
        {
            foreach (var (name, _) in variables)
            {
                Environment.SetEnvironmentVariable(prefix + name, null);
            }
        }
    }

    private static string Types(string types) => $"[{string.Join(',', types.Split(' ').Select(type => type.Split(':', 2)).Select(type =>
        $$"""{"name":"{{type[0]}}","topics":{{System.Text.Json.JsonSerializer.Serialize(type[1].Split(','))}},"dimension":["d"],"measures":[{"name":"m","kind":"count"}]}"""))}]";
}
