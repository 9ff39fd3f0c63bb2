using System.Net;
using System.Net.Sockets;
using Cache.Metrics;
using Confluent.Kafka;

namespace Cache.Service.Options;

/// <summary>Reads <see cref="CacheOptions"/> from flat keys, and reports every error at once.</summary>
public sealed class CacheOptionsReader
{
    // Cache itself decides what is committed and when, where a partition starts, and when a dead letter counts as sent.
    private static readonly string[] OwnedProperties =
    [
        "auto.offset.reset", "bootstrap.servers", "enable.auto.commit", "enable.auto.offset.store", "enable.idempotence",
        "enable.partition.eof", "group.id", "group.protocol", "isolation.level", "metadata.broker.list",
        "partition.assignment.strategy", "transactional.id",
    ];

    // Shorter keys can be guessed.
    private const int MinKeyLength = 16;

    private readonly IConfigurationRoot _configuration;
    private readonly FlatKeys _keys;

    private CacheOptionsReader(IConfigurationRoot configuration)
    {
        _configuration = configuration;
        _keys = new(configuration);
    }

    /// <summary>Every flat key of the service, without sections and the keys that ASP.NET reads.</summary>
    public static IReadOnlyCollection<string> Keys
    {
        get
        {
            var reader = new CacheOptionsReader(new ConfigurationBuilder().Build());
            reader.Read();
            return reader._keys.Names;
        }
    }

    /// <summary>Every name that the service reads, including those that ASP.NET and the client libraries read.</summary>
    public static KnownKeys Known { get; } = new(Keys, HostSettings.Keys, HostSettings.Sections, ["kafka", "redis"]);

    /// <summary>Reads and checks every key, including those that ASP.NET reads.</summary>
    /// <param name="configuration">The configuration.</param>
    /// <param name="errors">Errors found before, which are reported with the others.</param>
    /// <exception cref="ConfigurationException">At least one key is wrong or unknown; it lists them all.</exception>
    public static CacheOptions Read(IConfigurationRoot configuration, params IEnumerable<string> errors)
    {
        var reader = new CacheOptionsReader(configuration);
        reader._keys.Errors.AddRange(errors);
        var options = reader.Read();
        Known.Check(configuration, reader._keys.Errors);
        HostSettings.Check(configuration, reader._keys.Errors);
        reader._keys.ThrowIfWrong();
        return options;
    }

    private CacheOptions Read()
    {
        var defaults = new CacheOptions();

        // The connection strings that Aspire injects win. The host and port keys are ignored then, because REDIS_PORT and the
        // like may have another origin (Kubernetes sets REDIS_PORT=tcp://… for a service named redis).
        var kafka = _configuration.GetConnectionString("kafka") is { } text ? KafkaConnectionString.Read(text, _keys.Errors) : null;
        var redis = _configuration.GetConnectionString("redis") is { } given ? RedisConnectionString.Read(given, _keys.Errors) : null;
        var types = MetricTypesReader.Read(_keys);
        var (topics, deadLetters) = TopicSettings.Read(_keys, types, defaults.DeadLetterTopic);
        var registry = SchemaRegistrySettings.Read(_keys);

        return new CacheOptions
        {
            KafkaBootstrapServers = kafka?.Servers ?? _keys.Servers("kafka_bootstrap_servers", defaults.KafkaBootstrapServers),
            MetricTypes = types,
            Topics = topics,
            SessionTimeUnit = _keys.Value<TimeUnit>("session_time_unit", defaults.SessionTimeUnit, MetricTypesReader.TryParseUnit, "it must be ms, s or us."),
            ConsumerGroup = _keys.Text("cache_kafka_consumer_group", defaults.ConsumerGroup, required: true),
            ConsumeFrom = _keys.Value<ConsumeFrom>(
                "cache_consume_from", defaults.ConsumeFrom, ConsumeFrom.TryParse, "it must be latest, earliest, or a duration back such as 90s, 30m, 6h or 2d."),
            RedisConnection = redis?.Text,
            RedisHost = redis is null ? Host("redis_host", defaults.RedisHost) : defaults.RedisHost,
            RedisPort = redis is null ? Port("redis_port", defaults.RedisPort, defaults.RedisHost) : defaults.RedisPort,
            RedisDb = _keys.Number("redis_db", redis?.Database ?? defaults.RedisDb, 0, 1_000_000),
            RedisKeyPrefix = _keys.Text("redis_key_prefix", defaults.RedisKeyPrefix),
            WindowRetentionCount = _keys.Number("window_retention_count", defaults.WindowRetentionCount, 1, 1_000_000),
            WindowHashTtlSeconds = _keys.Number("window_hash_ttl_seconds", defaults.WindowHashTtlSeconds, 1, int.MaxValue),
            ActiveSessionTtlSeconds = _keys.Number("active_session_ttl_seconds", defaults.ActiveSessionTtlSeconds, 1, int.MaxValue),
            WindowMaxFutureSeconds = _keys.Number("window_max_future_seconds", defaults.WindowMaxFutureSeconds, 0, int.MaxValue),
            WindowMaxDimensions = _keys.Number("window_max_dimensions", defaults.WindowMaxDimensions, 1, 1_000_000),
            ConsumeBatches = _keys.Flag("kafka_consume_batches", defaults.ConsumeBatches),
            ConsumePaceMs = _keys.Number("kafka_consume_pace_ms", defaults.ConsumePaceMs, 0, 1000),
            CommitBatchSize = _keys.Number("kafka_commit_batch_size", defaults.CommitBatchSize, 1, int.MaxValue),
            CommitIntervalMs = _keys.Number("kafka_commit_interval_ms", defaults.CommitIntervalMs, 10, 3_600_000),
            WriteBatchSize = _keys.Number("redis_write_batch_size", defaults.WriteBatchSize, 1, 100_000),
            QueueMaxSize = _keys.Number("redis_queue_max_size", defaults.QueueMaxSize, 2, 10_000_000),
            ReadyLagThreshold = _keys.Number("ready_lag_threshold", defaults.ReadyLagThreshold, 0, long.MaxValue),
            DeadLetterTopic = deadLetters,
            SchemaRegistryUrl = registry.Url,
            SchemaRegistryUser = registry.User,
            SchemaRegistryPassword = registry.Password,
            RebuildLookbackSeconds = _keys.Number("redis_rebuild_lookback_seconds", defaults.RebuildLookbackSeconds, 1, int.MaxValue),
            ApiKeys = KeyList("api_keys"),
            CorsOrigins = Origins("cors_origins"),
            RateLimitPerSecond = _keys.Number("rate_limit_per_second", defaults.RateLimitPerSecond, 0, 1_000_000),
            RateLimitBurst = _keys.Number("rate_limit_burst", defaults.RateLimitBurst, 0, 1_000_000),
            HttpMaxConnections = _keys.Number("http_max_connections", defaults.HttpMaxConnections, 1, 1_000_000),
            StreamMaxClients = _keys.Number("stream_max_clients", defaults.StreamMaxClients, 0, 1_000_000),
            StreamMaxClientsPerClient = _keys.Number("stream_max_clients_per_client", defaults.StreamMaxClientsPerClient, 1, 1_000_000),
            HttpAnswersMaxMb = _keys.Number("http_answers_max_mb", defaults.HttpAnswersMaxMb, 1, 1_000_000),
            StreamUnsentMaxMb = _keys.Number("stream_unsent_max_mb", defaults.StreamUnsentMaxMb, 1, 1_000_000),
            HttpMaxConnectionsPerClient = _keys.Number("http_max_connections_per_client", defaults.HttpMaxConnectionsPerClient, 0, 1_000_000),
            TrustedProxies = Networks("trusted_proxies"),
            HealthPort = _keys.Number("health_port", defaults.HealthPort, 0, 65535),
            AcceptsTokens = BearerSettings.Check(_configuration, _keys.Errors),
            KafkaProperties = Properties("Kafka", kafka?.Properties ?? new Dictionary<string, string>()),
        };
    }

    /// <summary>
    /// Reads the port of Redis. Kubernetes describes a service named redis in a variable of the same name, as tcp://address:port; that
    /// is the port, if the host is that service (docs/decisions/0027).
    /// </summary>
    private int Port(string key, int fallback, string service)
    {
        var text = _configuration[key];
        if (text?.StartsWith("tcp://", StringComparison.OrdinalIgnoreCase) != true)
        {
            return _keys.Number(key, fallback, 1, 65535);
        }

        if (_keys.Text("redis_host", service) == service && Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Port > 0)
        {
            return uri.Port;
        }

        _keys.Refuse(key, text, $"Kubernetes sets {key.ToUpperInvariant()} to tcp://address:port for a service named {service}, and its port is used only if redis_host is {service}. "
            + $"For another Redis, set {RedisConnectionString.Key} to host:port, or enableServiceLinks: false in the pod.");
        return fallback;
    }

    /// <summary>Reads API keys; no error repeats one.</summary>
    private List<string> KeyList(string key)
    {
        if (_keys.List(key, secret: true) is not { } keys)
        {
            return [];
        }

        if (keys.Count == 0)
        {
            // Whoever sets the key wants to protect something.
            _keys.Refuse(key, "", "name at least one key (openssl rand -hex 24 makes one), or leave it out to leave the data open to all.");
        }

        foreach (var (number, apiKey) in keys.Index())
        {
            if (apiKey.Length < MinKeyLength || apiKey.Any(c => !char.IsAscii(c) || char.IsControl(c) || c is ' ' or ','))
            {
                _keys.Errors.Add($"{key}: key {number + 1} of {keys.Count} cannot be used; it must have {MinKeyLength} ASCII characters or more, without spaces and commas (openssl rand -hex 24 makes one).");
            }
        }

        return [.. keys.Distinct()];
    }

    private List<IPNetwork> Networks(string key)
    {
        var networks = new List<IPNetwork>();
        foreach (var text in _keys.List(key) ?? [])
        {
            if (IPNetwork.TryParse(text, out var network))
            {
                networks.Add(network);
            }
            else if (IPAddress.TryParse(text, out var address))
            {
                networks.Add(new(address, address.GetAddressBytes().Length * 8));
            }
            else
            {
                _keys.Refuse(key, text, "it must be an address such as 10.0.0.7, or a network such as 10.0.0.0/8.");
            }
        }

        return networks;
    }

    /// <summary>Reads origins; no error repeats one, because people put user and password in front of the host.</summary>
    private IReadOnlyList<string> Origins(string key)
    {
        var origins = _keys.List(key, secret: true) ?? [];
        foreach (var (number, origin) in origins.Index())
        {
            if (!IsOrigin(origin))
            {
                _keys.Errors.Add($"{key}: origin {number + 1} of {origins.Count} cannot be used; an origin is a scheme, a host and where needed a port, such as https://boards.example.com or http://localhost:3000; or * for all.");
            }
        }

        return origins;
    }

    private static bool IsOrigin(string text) =>
        text == "*" || (Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
            && string.Equals(uri.GetLeftPart(UriPartial.Authority), text, StringComparison.OrdinalIgnoreCase) && uri.UserInfo.Length == 0);

    private string Host(string key, string fallback)
    {
        var host = _keys.Text(key, fallback);
        if (IPAddress.TryParse(host, out var address) && address.AddressFamily == AddressFamily.InterNetworkV6)
        {
            return $"[{address}]";
        }

        if (!RedisConnectionString.IsHost(host))
        {
            // Not quoted: it may contain a password.
            _keys.Errors.Add($"{key} cannot be used; it must be a host's name or address (default {fallback}); the port goes to redis_port, and anything else, such as a password, to {RedisConnectionString.Key}.");
        }

        return host;
    }

    /// <summary>Merges the properties of the connection string with those of the section, which win.</summary>
    private Dictionary<string, string> Properties(string section, IReadOnlyDictionary<string, string> ofConnectionString)
    {
        var properties = new Dictionary<string, string>();
        foreach (var (name, value) in ofConnectionString)
        {
            if (IsOwned(name))
            {
                _keys.Errors.Add($"{KafkaConnectionString.Key}: {name} {Owned(name)}");
                continue;
            }

            properties[name] = value;
        }

        var ofSection = new Dictionary<string, string>();
        foreach (var child in _configuration.GetSection(section).GetChildren())
        {
            if (child.Value is null)
            {
                _keys.Errors.Add($"{section}:{child.GetChildren().FirstOrDefault()?.Path[(section.Length + 1)..] ?? child.Key} is not a property; "
                    + $"its name is written with dots ({section}:sasl.username) or underscores ({section}__SASL_USERNAME).");
                continue;
            }

            // Shells cannot set variables with dots in their names, and no property of the client has an underscore.
            var name = child.Key.Replace('_', '.').ToLowerInvariant();
            if (IsOwned(name))
            {
                _keys.Errors.Add($"{section}:{child.Key} {Owned(name)}");
                continue;
            }

            if (KafkaConnectionString.WrongForm(name, child.Value) is { } right)
            {
                _keys.Errors.Add($"{section}:{child.Key} cannot be used; {right}.");
                properties.Remove(name);
                continue;
            }

            ofSection[name] = properties[name] = child.Value;
        }

        if (properties.Count > 0 && Refusal(properties) is not null)
        {
            // Each property alone first, so that the error can name its key; then in combination. Only for the section: the client
            // library's messages may quote values.
            var wrong = ofSection.Select(property => (property.Key, Refusal: Refusal(new() { [property.Key] = property.Value }, alone: true)))
                .Where(property => property.Refusal is not null).ToList();
            if (wrong.Count > 0)
            {
                _keys.Errors.AddRange(wrong.Select(property => $"{section}:{property.Key} cannot be used: {Explain(property.Refusal!)}"));
            }
            else if (Refusal(ofSection) is { } refusal)
            {
                _keys.Errors.Add($"{section}: {Explain(refusal)}");
            }
            else if (!_keys.Errors.Exists(error => error.StartsWith(KafkaConnectionString.Key, StringComparison.Ordinal)))
            {
                // Otherwise it may require a property that was refused above.
                _keys.Errors.Add($"{KafkaConnectionString.Key}: the client library does not take {string.Join(", ", ofConnectionString.Keys)} together, or not with what {section}: adds; see the list of properties of librdkafka.");
            }
        }

        return properties;

        string Explain(string refusal) => $"{Secrets.Hide(refusal.TrimEnd('.'), _configuration)}; see the list of properties of librdkafka.";
    }

    private static bool IsOwned(string property) =>
        OwnedProperties.Contains(property) || property.StartsWith("dotnet.", StringComparison.Ordinal);

    private static string Owned(string property) => $"cannot be set: Cache sets {property} itself, and its guarantees depend on it.";

    /// <summary>Asks the client library, which knows its properties and their ranges best, to refuse them; null if it accepts them.</summary>
    /// <param name="properties">The properties to check.</param>
    /// <param name="alone">Whether to check only names and values, not combinations.</param>
    private static string? Refusal(Dictionary<string, string> properties, bool alone = false)
    {
        try
        {
            using var consumer = new ConsumerBuilder<Ignore, Ignore>(
                properties.Append(new("group.id", "configuration-check"))).SetLogHandler((_, _) => { }).Build();
            using var producer = new ProducerBuilder<Null, Null>(
                properties.Append(new("enable.idempotence", "true")).Append(new("dotnet.producer.enable.background.poll", "false"))).SetLogHandler((_, _) => { }).Build();
            return null;
        }
        catch (Exception exception) when (alone && exception is not ArgumentException && !exception.Message.StartsWith("No such", StringComparison.Ordinal))
        {
            // It may only be missing other properties.
            return null;
        }
        catch (Exception exception) when (exception is InvalidOperationException or ArgumentException or KafkaException)
        {
            return exception.Message;
        }
    }
}
