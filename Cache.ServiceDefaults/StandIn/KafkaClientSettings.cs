using Confluent.Kafka;

namespace Aspire.Confluent.Kafka;

/// <summary>What the settings of both kinds of Kafka client have in common.</summary>
/// <remarks>The three switches say what the package would add; this stand-in never adds it.</remarks>
public abstract class KafkaClientSettings
{
    private protected KafkaClientSettings()
    {
    }

    /// <summary>
    /// The bootstrap servers, <c>host:port[,host:port…]</c>; null (the default) leaves those in <c>Config</c>.
    /// </summary>
    public string? ConnectionString { get; set; }

    /// <summary>Whether the client's statistics stay off.</summary>
    public bool DisableMetrics { get; set; }

    /// <summary>Whether the health check stays off.</summary>
    public bool DisableHealthChecks { get; set; }

    /// <summary>Whether the client's spans stay off.</summary>
    public bool DisableTracing { get; set; }
}

/// <summary>Settings of a Kafka consumer; section <c>Aspire:Confluent:Kafka:Consumer[:name]</c>.</summary>
public sealed class KafkaConsumerSettings : KafkaClientSettings
{
    /// <summary>Any property of the client library; a group id is required.</summary>
    public ConsumerConfig Config { get; } = [];
}

/// <summary>Settings of a Kafka producer; section <c>Aspire:Confluent:Kafka:Producer[:name]</c>.</summary>
public sealed class KafkaProducerSettings : KafkaClientSettings
{
    /// <summary>Any property of the client library.</summary>
    public ProducerConfig Config { get; } = [];
}
