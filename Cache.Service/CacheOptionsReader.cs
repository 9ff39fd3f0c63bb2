using System.Globalization;
using System.Net;
using System.Text.Json;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Service;

/// <summary>The configuration cannot be used; the message lists every error, each with its key and what would be right.</summary>
public sealed class ConfigurationException(IReadOnlyList<string> errors)
    : Exception("The configuration cannot be used:" + string.Concat(errors.Select(error => Environment.NewLine + "  - " + error)))
{
    /// <summary>One sentence an error.</summary>
    public IReadOnlyList<string> Errors { get; } = errors;
}

/// <summary>Reads <see cref="CacheOptions"/> from the flat keys and collects every error before it gives up.</summary>
public sealed class CacheOptionsReader
{
    // Cache decides itself what is committed and when, where a partition starts, and when a dead letter counts as sent.
    private static readonly string[] OwnedProperties =
    [
        "auto.offset.reset", "bootstrap.servers", "enable.auto.commit", "enable.auto.offset.store", "enable.idempotence",
        "enable.partition.eof", "group.id", "group.protocol", "isolation.level", "metadata.broker.list",
        "partition.assignment.strategy", "transactional.id",
    ];

    // Shorter ones can be guessed.
    private const int LeastKeyLength = 16;

    private readonly IConfigurationRoot _configuration;
    private readonly List<string> _errors = [];

    private CacheOptionsReader(IConfigurationRoot configuration) => _configuration = configuration;

    /// <summary>Reads and checks every key.</summary>
    /// <exception cref="ConfigurationException">At least one key is wrong; it lists them all.</exception>
    public static CacheOptions Read(IConfigurationRoot configuration)
    {
        var reader = new CacheOptionsReader(configuration);
        var options = reader.Read();
        return reader._errors.Count == 0 ? options : throw new ConfigurationException(reader._errors);
    }

    private CacheOptions Read()
    {
        var defaults = new CacheOptions();

        // What Aspire injects wins; then the host and port keys are not looked at, since REDIS_PORT and the like also come
        // from other hands (Kubernetes sets REDIS_PORT=tcp://… for a service named redis).
        var kafka = _configuration.GetConnectionString("kafka") is { } text ? KafkaConnectionString.Read(text, _errors) : null;
        var redis = _configuration.GetConnectionString("redis");
        var redisOptions = redis is null ? null : ParseRedis(redis);

        return new CacheOptions
        {
            KafkaBootstrapServers = kafka?.Servers ?? Servers("kafka_bootstrap_servers", defaults.KafkaBootstrapServers),
            Topics = TopicList("cache_kafka_topics", defaults.Topics),
            ConsumerGroup = Text("cache_kafka_consumer_group", defaults.ConsumerGroup, required: true),
            ConsumeFrom = From("cache_consume_from", defaults.ConsumeFrom),
            RedisHost = redis is null ? Text("redis_host", defaults.RedisHost, required: true) : defaults.RedisHost,
            RedisPort = redis is null ? (int)Number("redis_port", defaults.RedisPort, 1, 65535) : defaults.RedisPort,
            RedisDb = (int)Number("redis_db", redisOptions?.DefaultDatabase ?? defaults.RedisDb, 0, 1_000_000),
            RedisKeyPrefix = Text("redis_key_prefix", defaults.RedisKeyPrefix),
            WindowRetentionCount = (int)Number("window_retention_count", defaults.WindowRetentionCount, 1, 1_000_000),
            WindowHashTtlSeconds = (int)Number("window_hash_ttl_seconds", defaults.WindowHashTtlSeconds, 1, int.MaxValue),
            ActiveSessionTtlSeconds = (int)Number("active_session_ttl_seconds", defaults.ActiveSessionTtlSeconds, 1, int.MaxValue),
            WindowMaxFutureSeconds = (int)Number("window_max_future_seconds", defaults.WindowMaxFutureSeconds, 0, int.MaxValue),
            WindowMaxDimensions = (int)Number("window_max_dimensions", defaults.WindowMaxDimensions, 1, 1_000_000),
            CommitBatchSize = (int)Number("kafka_commit_batch_size", defaults.CommitBatchSize, 1, int.MaxValue),
            CommitIntervalMs = (int)Number("kafka_commit_interval_ms", defaults.CommitIntervalMs, 10, 3_600_000),
            WriteBatchSize = (int)Number("redis_write_batch_size", defaults.WriteBatchSize, 1, 100_000),
            QueueMaxSize = (int)Number("redis_queue_max_size", defaults.QueueMaxSize, 2, 10_000_000),
            ReadyLagThreshold = Number("ready_lag_threshold", defaults.ReadyLagThreshold, 0, long.MaxValue),
            DeadLetterTopic = Topic("cache_dead_letter_topic", defaults.DeadLetterTopic),
            RebuildLookbackSeconds = (int)Number("redis_rebuild_lookback_seconds", defaults.RebuildLookbackSeconds, 1, int.MaxValue),
            ApiKeys = KeyList("api_keys"),
            CorsOrigins = Origins("cors_origins"),
            RateLimitPerSecond = (int)Number("rate_limit_per_second", defaults.RateLimitPerSecond, 0, 1_000_000),
            RateLimitBurst = (int)Number("rate_limit_burst", defaults.RateLimitBurst, 0, 1_000_000),
            HttpMaxConnections = (int)Number("http_max_connections", defaults.HttpMaxConnections, 1, 1_000_000),
            StreamMaxClients = (int)Number("stream_max_clients", defaults.StreamMaxClients, 0, 1_000_000),
            StreamMaxClientsPerClient = (int)Number("stream_max_clients_per_client", defaults.StreamMaxClientsPerClient, 1, 1_000_000),
            HttpAnswersMaxMb = (int)Number("http_answers_max_mb", defaults.HttpAnswersMaxMb, 1, 1_000_000),
            StreamUnsentMaxMb = (int)Number("stream_unsent_max_mb", defaults.StreamUnsentMaxMb, 1, 1_000_000),
            HttpMaxConnectionsPerClient = (int)Number("http_max_connections_per_client", defaults.HttpMaxConnectionsPerClient, 0, 1_000_000),
            TrustedProxies = Networks("trusted_proxies"),
            HealthPort = (int)Number("health_port", defaults.HealthPort, 0, 65535),
            AcceptsTokens = Bearer(),
            KafkaProperties = Properties("Kafka", kafka?.Properties ?? new Dictionary<string, string>()),
        };
    }

    private void Wrong(string key, string? value, string right) =>
        _errors.Add($"{key} is {(string.IsNullOrEmpty(value) ? "empty" : $"'{value}'")}; {right}");

    private string Text(string key, string fallback, bool required = false)
    {
        var value = _configuration[key]?.Trim();
        if (value is "" && required)
        {
            Wrong(key, value, $"give a name, or leave the key out for {fallback}.");
        }

        return value ?? fallback;
    }

    private long Number(string key, long fallback, long least, long most)
    {
        var value = _configuration[key];
        if (value is null)
        {
            return fallback;
        }

        if (long.TryParse(value.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
            && number >= least && number <= most)
        {
            return number;
        }

        Wrong(key, value, string.Create(CultureInfo.InvariantCulture, $"it must be a whole number from {least} to {most} (default {fallback})."));
        return fallback;
    }

    private ConsumeFrom From(string key, ConsumeFrom fallback)
    {
        var value = _configuration[key];
        if (value is null)
        {
            return fallback;
        }

        if (ConsumeFrom.TryParse(value, out var from))
        {
            return from;
        }

        Wrong(key, value, "it must be latest, earliest, or a duration back such as 90s, 30m, 6h or 2d.");
        return fallback;
    }

    private string Servers(string key, string fallback)
    {
        var value = string.Join(',', List(key) ?? [fallback]);
        if (!KafkaConnectionString.TryReadServers(value, out var servers))
        {
            // Not repeated: people put a user and password in front of a host, or a whole connection string in its place.
            _errors.Add($"{key} has a broker's address that cannot be used; it must be host:port, or several with commas (default {fallback}); credentials go to Kafka:sasl.username and Kafka:sasl.password.");
        }

        return servers;
    }

    private IReadOnlyList<string> TopicList(string key, IReadOnlyList<string> fallback)
    {
        var topics = List(key);
        if (topics is null)
        {
            return fallback;
        }

        if (topics.Count == 0)
        {
            Wrong(key, "", $"name at least one topic, or leave the key out for {string.Join(", ", fallback)}.");
        }

        foreach (var topic in topics.Where(topic => !IsTopic(topic)))
        {
            Wrong(key, topic, "a topic's name has 1 to 249 letters, digits, dots, underscores or hyphens.");
        }

        return [.. topics.Distinct()];
    }

    private string Topic(string key, string fallback)
    {
        var topic = Text(key, fallback);
        if (topic.Length > 0 && !IsTopic(topic))
        {
            Wrong(key, topic, "it must be a topic's name (1 to 249 letters, digits, dots, underscores or hyphens) or empty.");
        }

        return topic;
    }

    private static bool IsTopic(string topic) =>
        topic.Length is > 0 and <= 249 && topic is not ("." or "..")
        && topic.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-');

    /// <summary>API keys; an error never repeats one.</summary>
    private List<string> KeyList(string key)
    {
        var keys = List(key, secret: true) ?? [];
        foreach (var (number, apiKey) in keys.Index())
        {
            if (apiKey.Length < LeastKeyLength || apiKey.Any(c => !char.IsAscii(c) || char.IsControl(c) || c is ' ' or ','))
            {
                _errors.Add($"{key}: key {number + 1} of {keys.Count} cannot be used; it must have {LeastKeyLength} ASCII characters or more, without spaces and commas (openssl rand -hex 24 makes one).");
            }
        }

        return [.. keys.Distinct()];
    }

    private List<IPNetwork> Networks(string key)
    {
        var networks = new List<IPNetwork>();
        foreach (var text in List(key) ?? [])
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
                Wrong(key, text, "it must be an address such as 10.0.0.7, or a network such as 10.0.0.0/8.");
            }
        }

        return networks;
    }

    private List<string> Origins(string key)
    {
        var origins = List(key) ?? [];
        foreach (var origin in origins.Where(origin => !IsOrigin(origin)))
        {
            Wrong(key, origin, "an origin is a scheme, a host and where needed a port, such as https://boards.example.com or http://localhost:3000; or * for all.");
        }

        return origins;
    }

    private static bool IsOrigin(string text) =>
        text == "*" || (Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
            && string.Equals(uri.GetLeftPart(UriPartial.Authority), text, StringComparison.OrdinalIgnoreCase) && uri.UserInfo.Length == 0);

    /// <summary>Whether tokens are accepted; a section by which every token would be turned down is an error.</summary>
    private bool Bearer()
    {
        const string Section = "Authentication:Schemes:Bearer";
        var bearer = _configuration.GetSection(Section);
        if (!bearer.Exists())
        {
            return false;
        }

        string[] issuers = ["Authority", "MetadataAddress", "SigningKeys"];
        if (!Array.Exists(issuers, name => bearer.GetSection(name).Exists()))
        {
            _errors.Add($"{Section} tells no way to check a token; set {Section}:Authority to the issuer's address, or {Section}:SigningKeys.");
        }

        string[] audiences = ["Audience", "ValidAudience", "ValidAudiences"];
        if (!Array.Exists(audiences, name => bearer.GetSection(name).Exists()))
        {
            _errors.Add($"{Section} names no audience, so that tokens for anybody would have to be taken; set {Section}:ValidAudiences.");
        }

        return true;
    }

    /// <summary>A JSON array, commas, or indexed keys; of these, whichever the last source that has the key uses.</summary>
    private List<string>? List(string key, bool secret = false)
    {
        foreach (var provider in _configuration.Providers.Reverse())
        {
            if (provider.TryGet(key, out var value))
            {
                return Split(key, value ?? "", secret);
            }

            if (provider.GetChildKeys([], key).Any())
            {
                return [.. _configuration.GetSection(key).GetChildren().Select(child => child.Value?.Trim() ?? "")];
            }
        }

        return null;
    }

    private List<string> Split(string key, string value, bool secret)
    {
        if (!value.TrimStart().StartsWith('['))
        {
            return [.. value.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries)];
        }

        // Both ["a","b"] and the seed's own [a, b].
        try
        {
            using var json = JsonDocument.Parse(value);
            return [.. json.RootElement.EnumerateArray().Select(item => item.GetString() ?? "")];
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            var inner = value.Trim().TrimStart('[');
            if (inner.EndsWith(']') && !inner.Contains('"'))
            {
                return Split(key, inner[..^1], secret);
            }

            Wrong(key, secret ? "unreadable" : value, "it must be a JSON array such as [\"a\",\"b\"], or names with commas.");
            return secret ? [] : ["unreadable"];
        }
    }

    private ConfigurationOptions? ParseRedis(string connectionString)
    {
        try
        {
            var options = ConfigurationOptions.Parse(connectionString);
            if (options.EndPoints.Count > 0)
            {
                return options;
            }
        }
        catch (Exception exception) when (exception is ArgumentException or FormatException)
        {
            // Told below; the exception's own text could repeat a password.
        }

        _errors.Add("ConnectionStrings:redis cannot be read; it must be host:port[,password=…][,ssl=true], as StackExchange.Redis takes it.");
        return null;
    }

    /// <summary>The properties of the connection string, and over them those of the section.</summary>
    private Dictionary<string, string> Properties(string section, IReadOnlyDictionary<string, string> ofConnectionString)
    {
        var properties = new Dictionary<string, string>();
        foreach (var (name, value) in ofConnectionString)
        {
            if (IsOwned(name))
            {
                _errors.Add($"{KafkaConnectionString.Key}: {name} {Owned(name)}");
                continue;
            }

            properties[name] = value;
        }

        var ofSection = new Dictionary<string, string>();
        foreach (var child in _configuration.GetSection(section).GetChildren())
        {
            if (child.Value is null)
            {
                _errors.Add($"{section}:{child.GetChildren().FirstOrDefault()?.Path[(section.Length + 1)..] ?? child.Key} is no property; "
                    + $"its name is written with dots ({section}:sasl.username) or underscores ({section}__SASL_USERNAME).");
                continue;
            }

            // No shell sets a variable with dots in its name, and no property of the client has an underscore.
            var name = child.Key.Replace('_', '.').ToLowerInvariant();
            if (IsOwned(name))
            {
                _errors.Add($"{section}:{child.Key} {Owned(name)}");
                continue;
            }

            ofSection[name] = properties[name] = child.Value;
        }

        if (Refusal(properties) is not null)
        {
            // What the client library says may repeat a value, so that it is asked about the section alone.
            if (Refusal(ofSection) is { } refusal)
            {
                _errors.Add($"{section}: {refusal.TrimEnd('.')}; see the list of properties of librdkafka.");
            }
            else if (!_errors.Exists(error => error.StartsWith(KafkaConnectionString.Key, StringComparison.Ordinal)))
            {
                // Else it may want what was refused above.
                _errors.Add($"{KafkaConnectionString.Key}: the client library does not take {string.Join(", ", ofConnectionString.Keys)} together, or not with what {section}: adds; see the list of properties of librdkafka.");
            }
        }

        return properties;
    }

    private static bool IsOwned(string property) =>
        OwnedProperties.Contains(property) || property.StartsWith("dotnet.", StringComparison.Ordinal);

    private static string Owned(string property) => $"cannot be set: Cache sets {property} itself, and its promises hang on it.";

    /// <summary>What the client library, which knows its properties and their ranges best, has against them; null for nothing.</summary>
    private static string? Refusal(Dictionary<string, string> properties)
    {
        try
        {
            using var consumer = new ConsumerBuilder<Ignore, Ignore>(
                properties.Append(new("group.id", "configuration-check"))).SetLogHandler((_, _) => { }).Build();
            using var producer = new ProducerBuilder<Null, Null>(
                properties.Append(new("enable.idempotence", "true")).Append(new("dotnet.producer.enable.background.poll", "false"))).SetLogHandler((_, _) => { }).Build();
            return null;
        }
        catch (Exception exception) when (exception is InvalidOperationException or ArgumentException or KafkaException)
        {
            return exception.Message;
        }
    }
}
