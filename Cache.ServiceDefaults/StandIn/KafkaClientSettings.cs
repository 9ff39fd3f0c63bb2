using Confluent.Kafka;

namespace Aspire.Confluent.Kafka;

/// <summary>Settings common to Kafka consumers and producers.</summary>
/// <remarks>The three switches disable what the package would add; this stand-in never adds it.</remarks>
public abstract class KafkaClientSettings
{
    private protected KafkaClientSettings()
    {
    }

    /// <summary>
    /// The bootstrap servers, <c>host:port[,host:port…]</c>; if null (the default), those in <c>Config</c> are used.
    /// </summary>
    public string? ConnectionString { get; set; }

    /// <summary>Whether to leave out the client's statistics.</summary>
    public bool DisableMetrics { get; set; }

    /// <summary>Whether to leave out the health check.</summary>
    public bool DisableHealthChecks { get; set; }

    /// <summary>Whether to leave out the client's spans.</summary>
    public bool DisableTracing { get; set; }
}

/// <summary>Settings of a Kafka consumer; section <c>Aspire:Confluent:Kafka:Consumer[:name]</c>.</summary>
public sealed class KafkaConsumerSettings : KafkaClientSettings
{
    /// <summary>The properties of the client library; a group id is required.</summary>
    public ConsumerConfig Config { get; } = [];
}

/// <summary>Settings of a Kafka producer; section <c>Aspire:Confluent:Kafka:Producer[:name]</c>.</summary>
public sealed class KafkaProducerSettings : KafkaClientSettings
{
    /// <summary>The properties of the client library.</summary>
    public ProducerConfig Config { get; } = [];
}
