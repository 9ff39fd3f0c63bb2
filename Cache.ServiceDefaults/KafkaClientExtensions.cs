using Confluent.Kafka;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// Kafka clients for the configurations without Aspire packages: the same calls, sections and names as
/// Aspire.Confluent.Kafka, so that a call site compiles against either.
/// </summary>
public static class KafkaClientExtensions
{
    private const string Section = "Aspire:Confluent:Kafka";

    /// <summary>Registers a singleton <see cref="IConsumer{TKey,TValue}"/>.</summary>
    /// <param name="builder">The host to add to.</param>
    /// <param name="connectionName">The name under <c>ConnectionStrings</c>; its value is the bootstrap servers.</param>
    /// <param name="configureSettings">Has the last word on the settings.</param>
    /// <param name="configureBuilder">Sets deserializers and handlers.</param>
    /// <exception cref="InvalidOperationException">On first use: no connection string, or no group id.</exception>
    public static void AddKafkaConsumer<TKey, TValue>(
        this IHostApplicationBuilder builder,
        string connectionName,
        Action<KafkaConsumerSettings>? configureSettings,
        Action<IServiceProvider, ConsumerBuilder<TKey, TValue>>? configureBuilder)
    {
        var settings = new KafkaConsumerSettings();
        Bind(builder.Configuration, "Consumer", connectionName, settings);
        settings.ConnectionString = builder.Configuration.GetConnectionString(connectionName) ?? settings.ConnectionString;
        configureSettings?.Invoke(settings);

        builder.Services.AddSingleton(services =>
        {
            settings.Config.BootstrapServers = Required(settings.ConnectionString, connectionName);
            if (string.IsNullOrEmpty(settings.Config.GroupId))
            {
                throw new InvalidOperationException("No group id configured.");
            }

            var consumer = new ConsumerBuilder<TKey, TValue>(settings.Config);
            configureBuilder?.Invoke(services, consumer);
            return consumer.Build();
        });
    }

    /// <summary>Registers a singleton <see cref="IProducer{TKey,TValue}"/>.</summary>
    /// <inheritdoc cref="AddKafkaConsumer{TKey,TValue}"/>
    public static void AddKafkaProducer<TKey, TValue>(
        this IHostApplicationBuilder builder,
        string connectionName,
        Action<KafkaProducerSettings>? configureSettings,
        Action<IServiceProvider, ProducerBuilder<TKey, TValue>>? configureBuilder)
    {
        var settings = new KafkaProducerSettings();
        Bind(builder.Configuration, "Producer", connectionName, settings);
        settings.ConnectionString = builder.Configuration.GetConnectionString(connectionName) ?? settings.ConnectionString;
        configureSettings?.Invoke(settings);

        builder.Services.AddSingleton(services =>
        {
            settings.Config.BootstrapServers = Required(settings.ConnectionString, connectionName);
            var producer = new ProducerBuilder<TKey, TValue>(settings.Config);
            configureBuilder?.Invoke(services, producer);
            return producer.Build();
        });
    }

    private static void Bind(IConfiguration configuration, string role, string connectionName, object settings)
    {
        var section = configuration.GetSection($"{Section}:{role}");
        section.Bind(settings);
        section.GetSection(connectionName).Bind(settings);
    }

    private static string Required(string? connectionString, string connectionName) =>
        string.IsNullOrEmpty(connectionString)
            ? throw new InvalidOperationException($"No Kafka address: set ConnectionStrings:{connectionName} to host:port.")
            : connectionString;
}

/// <summary>Settings of a Kafka consumer; section <c>Aspire:Confluent:Kafka:Consumer[:name]</c>.</summary>
public sealed class KafkaConsumerSettings
{
    /// <summary>The bootstrap servers, <c>host:port[,host:port…]</c>.</summary>
    public string? ConnectionString { get; set; }

    /// <summary>Any property of the client library.</summary>
    public ConsumerConfig Config { get; } = [];

    /// <summary>Whether the client's metrics stay off.</summary>
    public bool DisableMetrics { get; set; }

    /// <summary>Whether the health check stays off.</summary>
    public bool DisableHealthChecks { get; set; }

    /// <summary>Whether the client's spans stay off.</summary>
    public bool DisableTracing { get; set; }
}

/// <summary>Settings of a Kafka producer; section <c>Aspire:Confluent:Kafka:Producer[:name]</c>.</summary>
public sealed class KafkaProducerSettings
{
    /// <summary>The bootstrap servers, <c>host:port[,host:port…]</c>.</summary>
    public string? ConnectionString { get; set; }

    /// <summary>Any property of the client library.</summary>
    public ProducerConfig Config { get; } = [];

    /// <summary>Whether the client's metrics stay off.</summary>
    public bool DisableMetrics { get; set; }

    /// <summary>Whether the health check stays off.</summary>
    public bool DisableHealthChecks { get; set; }

    /// <summary>Whether the client's spans stay off.</summary>
    public bool DisableTracing { get; set; }
}
