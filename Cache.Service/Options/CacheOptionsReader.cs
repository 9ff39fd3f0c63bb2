using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Cache.Service.Http.Access;
using Confluent.Kafka;

namespace Cache.Service.Options;

/// <summary>The configuration cannot be used; the message lists every error, each with its key and what would be right.</summary>
public sealed class ConfigurationException(IReadOnlyList<string> errors)
    : Exception("The configuration cannot be used:" + string.Concat(errors.Select(error => Environment.NewLine + "  - " + OnOneLine(error))))
{
    /// <summary>One sentence an error.</summary>
    public IReadOnlyList<string> Errors { get; } = errors;

    // A value that is repeated, or a library's words, may have line breaks, or colours for a terminal.
    private static string OnOneLine(string error) => string.Concat(error.Select(c => char.IsControl(c) ? ' ' : c));
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
    private const int MinKeyLength = 16;

    private readonly IConfigurationRoot _configuration;
    private readonly List<string> _errors = [];
    private readonly HashSet<string> _keys = new(StringComparer.OrdinalIgnoreCase);

    private CacheOptionsReader(IConfigurationRoot configuration) => _configuration = configuration;

    /// <summary>Reads and checks every key, those that ASP.NET reads among them.</summary>
    /// <exception cref="ConfigurationException">At least one key is wrong; it lists them all.</exception>
    public static CacheOptions Read(IConfigurationRoot configuration)
    {
        var reader = new CacheOptionsReader(configuration);
        var options = reader.Read();
        reader.FindNearMisses();
        HostSettings.Check(configuration, reader._errors);
        return reader._errors.Count == 0 ? options : throw new ConfigurationException(reader._errors);
    }

    private CacheOptions Read()
    {
        var defaults = new CacheOptions();

        // What Aspire injects wins; then the host and port keys are not looked at, since REDIS_PORT and the like also come
        // from other hands (Kubernetes sets REDIS_PORT=tcp://… for a service named redis).
        var kafka = _configuration.GetConnectionString("kafka") is { } text ? KafkaConnectionString.Read(text, _errors) : null;
        var redis = _configuration.GetConnectionString("redis") is { } given ? RedisConnectionString.Read(given, _errors) : null;
        var topics = TopicList("cache_kafka_topics", defaults.Topics);

        return new CacheOptions
        {
            KafkaBootstrapServers = kafka?.Servers ?? Servers("kafka_bootstrap_servers", defaults.KafkaBootstrapServers),
            Topics = topics,
            ConsumerGroup = Text("cache_kafka_consumer_group", defaults.ConsumerGroup, required: true),
            ConsumeFrom = From("cache_consume_from", defaults.ConsumeFrom),
            RedisConnection = redis?.Text,
            RedisHost = redis is null ? Host("redis_host", defaults.RedisHost) : defaults.RedisHost,
            RedisPort = redis is null ? (int)Number("redis_port", defaults.RedisPort, 1, 65535) : defaults.RedisPort,
            RedisDb = (int)Number("redis_db", redis?.Database ?? defaults.RedisDb, 0, 1_000_000),
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
            DeadLetterTopic = DeadLetters("cache_dead_letter_topic", defaults.DeadLetterTopic, topics),
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
            AcceptsTokens = BearerSettings.Check(_configuration, _errors),
            KafkaProperties = Properties("Kafka", kafka?.Properties ?? new Dictionary<string, string>()),
        };
    }

    private void Wrong(string key, string? value, string right) => _errors.Add(HostSettings.Wrong(key, value, right));

    private string? Value(string key)
    {
        _keys.Add(key);
        return _configuration[key];
    }

    private string Text(string key, string fallback, bool required = false)
    {
        var value = Value(key)?.Trim();
        if (value is "" && required)
        {
            Wrong(key, value, $"give a name, or leave the key out for {fallback}.");
        }

        return value ?? fallback;
    }

    private long Number(string key, long fallback, long least, long most)
    {
        var value = Value(key);
        if (value is null)
        {
            return fallback;
        }

        if (long.TryParse(value.Trim(), NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
            && number >= least && number <= most)
        {
            return number;
        }

        Wrong(key, value, string.Create(CultureInfo.InvariantCulture, $"it must be a whole number from {least} to {most} (default {fallback}).")
            + (value.StartsWith("tcp://", StringComparison.OrdinalIgnoreCase)
                ? $" Kubernetes sets {key.ToUpperInvariant()} like this for a service named redis: set {RedisConnectionString.Key}, or enableServiceLinks: false in the pod."
                : ""));
        return fallback;
    }

    private ConsumeFrom From(string key, ConsumeFrom fallback)
    {
        var value = Value(key);
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
        var value = string.Join(',', List(key, secret: true) ?? [fallback]);
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

        foreach (var topic in topics.Where(topic => !MetricTopics.IsKnown(topic)))
        {
            // Its rows would be read, committed, and written nowhere.
            Wrong(key, topic, $"no rows of such a topic are known; it must be {MetricTopics.All}.");
        }

        return [.. topics.Distinct()];
    }

    private string DeadLetters(string key, string fallback, IReadOnlyList<string> consumed)
    {
        var topic = Text(key, fallback);
        if (topic.Length > 0 && !IsTopic(topic))
        {
            Wrong(key, topic, "it must be a topic's name (1 to 249 letters, digits, dots, underscores or hyphens) or empty.");
        }
        else if (consumed.Contains(topic))
        {
            Wrong(key, topic, "that topic is consumed, so that a rejected row would come back for ever; give another, or nothing.");
        }

        return topic;
    }

    private static bool IsTopic(string topic) =>
        topic.Length is > 0 and <= 249 && topic is not ("." or "..")
        && topic.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-');

    /// <summary>API keys; an error never repeats one.</summary>
    private List<string> KeyList(string key)
    {
        if (List(key, secret: true) is not { } keys)
        {
            return [];
        }

        if (keys.Count == 0)
        {
            // Whoever sets it means to protect something.
            Wrong(key, "", "name at least one key (openssl rand -hex 24 makes one), or leave it out to leave the data open to all.");
        }

        foreach (var (number, apiKey) in keys.Index())
        {
            if (apiKey.Length < MinKeyLength || apiKey.Any(c => !char.IsAscii(c) || char.IsControl(c) || c is ' ' or ','))
            {
                _errors.Add($"{key}: key {number + 1} of {keys.Count} cannot be used; it must have {MinKeyLength} ASCII characters or more, without spaces and commas (openssl rand -hex 24 makes one).");
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

    /// <summary>Origins; an error never repeats one, since people put a user and password in front of a host.</summary>
    private List<string> Origins(string key)
    {
        var origins = List(key, secret: true) ?? [];
        foreach (var (number, origin) in origins.Index())
        {
            if (!IsOrigin(origin))
            {
                _errors.Add($"{key}: origin {number + 1} of {origins.Count} cannot be used; an origin is a scheme, a host and where needed a port, such as https://boards.example.com or http://localhost:3000; or * for all.");
            }
        }

        return origins;
    }

    private static bool IsOrigin(string text) =>
        text == "*" || (Uri.TryCreate(text, UriKind.Absolute, out var uri) && uri.Scheme is "http" or "https"
            && string.Equals(uri.GetLeftPart(UriPartial.Authority), text, StringComparison.OrdinalIgnoreCase) && uri.UserInfo.Length == 0);

    private string Host(string key, string fallback)
    {
        var host = Text(key, fallback);
        if (IPAddress.TryParse(host, out var address) && address.AddressFamily == AddressFamily.InterNetworkV6)
        {
            return $"[{address}]";
        }

        if (!RedisConnectionString.IsHost(host))
        {
            // Not repeated: a password may have come with it.
            _errors.Add($"{key} cannot be used; it must be a host's name or address (default {fallback}); the port goes to redis_port, and anything else, such as a password, to {RedisConnectionString.Key}.");
        }

        return host;
    }

    /// <summary>A key that is spelled almost as one of ours would be overlooked, and API_KEY would leave everything open.</summary>
    private void FindNearMisses()
    {
        _keys.UnionWith(["ConnectionStrings", "AllowedHosts"]);
        var known = _keys.ToDictionary(Plain);
        foreach (var section in _configuration.GetChildren().Where(section => !_keys.Contains(section.Key)))
        {
            if (known.TryGetValue(Plain(section.Key), out var key))
            {
                _errors.Add($"{section.Key} is no key of this service; the key is {key}, in upper or lower case.");
            }
        }

        static string Plain(string key) => string.Concat(key.Where(char.IsAsciiLetterOrDigit)).ToLowerInvariant().TrimEnd("0123456789s".ToCharArray());
    }

    /// <summary>A JSON array, commas, or indexed keys; of these, whichever the last source that has the key uses.</summary>
    private List<string>? List(string key, bool secret = false)
    {
        _keys.Add(key);
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

    private List<string>? Split(string key, string value, bool secret)
    {
        if (!value.TrimStart().StartsWith('[') || StartsWithAddress(value.TrimStart()))
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
            return null;
        }
    }

    // [::1]:9092 begins as an array does.
    private static bool StartsWithAddress(string value) =>
        value.IndexOf(']', StringComparison.Ordinal) is > 0 and var end
        && IPAddress.TryParse(value.AsSpan(1, end - 1), out var address) && address.AddressFamily == AddressFamily.InterNetworkV6;

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

            if (KafkaConnectionString.WrongForm(name, child.Value) is { } right)
            {
                _errors.Add($"{section}:{child.Key} cannot be used; {right}.");
                properties.Remove(name);
                continue;
            }

            ofSection[name] = properties[name] = child.Value;
        }

        if (properties.Count > 0 && Refusal(properties) is not null)
        {
            // Each by itself first, to name the key; then those that do not go together. Of the section alone, since what the
            // client library says may repeat a value.
            var wrong = ofSection.Select(property => (property.Key, Refusal: Refusal(new() { [property.Key] = property.Value }, alone: true)))
                .Where(property => property.Refusal is not null).ToList();
            if (wrong.Count > 0)
            {
                _errors.AddRange(wrong.Select(property => $"{section}:{property.Key} cannot be used: {Told(property.Refusal!)}"));
            }
            else if (Refusal(ofSection) is { } refusal)
            {
                _errors.Add($"{section}: {Told(refusal)}");
            }
            else if (!_errors.Exists(error => error.StartsWith(KafkaConnectionString.Key, StringComparison.Ordinal)))
            {
                // Else it may want what was refused above.
                _errors.Add($"{KafkaConnectionString.Key}: the client library does not take {string.Join(", ", ofConnectionString.Keys)} together, or not with what {section}: adds; see the list of properties of librdkafka.");
            }
        }

        return properties;

        string Told(string refusal) => $"{Secrets.Hide(refusal.TrimEnd('.'), _configuration)}; see the list of properties of librdkafka.";
    }

    private static bool IsOwned(string property) =>
        OwnedProperties.Contains(property) || property.StartsWith("dotnet.", StringComparison.Ordinal);

    private static string Owned(string property) => $"cannot be set: Cache sets {property} itself, and its promises hang on it.";

    /// <summary>What the client library, which knows its properties and their ranges best, has against them; null for nothing.</summary>
    /// <param name="properties">What it is asked about.</param>
    /// <param name="alone">Whether only names and values count, and not whether they go together.</param>
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
            // It may only want others beside it.
            return null;
        }
        catch (Exception exception) when (exception is InvalidOperationException or ArgumentException or KafkaException)
        {
            return exception.Message;
        }
    }
}
