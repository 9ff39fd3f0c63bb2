using Aspire.Confluent.Kafka;
using Confluent.Kafka;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// Kafka clients for the configurations without Aspire packages: the same calls, sections and names as
/// Aspire.Confluent.Kafka, so that a call site compiles against either.
/// </summary>
public static class KafkaClientExtensions
{
    private const string Section = "Aspire:Confluent:Kafka";
    private const string Consumer = "Consumer";
    private const string Producer = "Producer";

    private static readonly TimeSpan ProbeTimeout = TimeSpan.FromSeconds(1);

    /// <summary>Registers a consumer as the overload whose delegate sees the service provider does.</summary>
    public static void AddKafkaConsumer<TKey, TValue>(
        this IHostApplicationBuilder builder, string connectionName, Action<KafkaConsumerSettings>? configureSettings = null) =>
        builder.AddKafkaConsumer(
            connectionName, configureSettings, default(Action<IServiceProvider, ConsumerBuilder<TKey, TValue>>));

    /// <summary>Registers a consumer as the overload whose delegate sees the service provider does.</summary>
    public static void AddKafkaConsumer<TKey, TValue>(
        this IHostApplicationBuilder builder,
        string connectionName,
        Action<KafkaConsumerSettings>? configureSettings,
        Action<ConsumerBuilder<TKey, TValue>>? configureBuilder) =>
        builder.AddKafkaConsumer<TKey, TValue>(
            connectionName, configureSettings, (_, consumer) => configureBuilder?.Invoke(consumer));

    /// <summary>
    /// Registers a singleton <see cref="IConsumer{TKey,TValue}"/> with health check, metrics and logs. Settings come from
    /// <c>Aspire:Confluent:Kafka:Consumer</c>, then <c>…:Consumer:{connectionName}</c>, then
    /// <c>ConnectionStrings:{connectionName}</c>, then the delegate; the later wins.
    /// </summary>
    /// <param name="builder">The host to add to.</param>
    /// <param name="connectionName">The name under <c>ConnectionStrings</c>; its value is the bootstrap servers.</param>
    /// <param name="configureSettings">Has the last word on the settings.</param>
    /// <param name="configureBuilder">
    /// Sets deserializers and handlers. A log or statistics handler set here replaces the one that feeds
    /// logs or metrics.
    /// </param>
    /// <exception cref="InvalidOperationException">On first use: no bootstrap servers, or no group id.</exception>
    public static void AddKafkaConsumer<TKey, TValue>(
        this IHostApplicationBuilder builder,
        string connectionName,
        Action<KafkaConsumerSettings>? configureSettings,
        Action<IServiceProvider, ConsumerBuilder<TKey, TValue>>? configureBuilder)
    {
        var settings = new KafkaConsumerSettings();
        Read(builder.Configuration, Consumer, connectionName, settings);
        configureSettings?.Invoke(settings);
        Complete(settings, settings.Config);

        builder.Services.AddSingleton(services =>
        {
            RequireBootstrapServers(settings.Config, connectionName);
            if (string.IsNullOrEmpty(settings.Config.GroupId))
            {
                throw new InvalidOperationException("No group id configured.");
            }

            var consumer = new ConsumerBuilder<TKey, TValue>(settings.Config);
            configureBuilder?.Invoke(services, consumer);

            var telemetry = services.GetRequiredService<KafkaTelemetry>();
            UnlessSet(() => consumer.SetLogHandler((_, message) => telemetry.Log(message)));
            if (!settings.DisableMetrics)
            {
                UnlessSet(() => consumer.SetStatisticsHandler((_, json) => telemetry.Record(json)));
            }

            return consumer.Build();
        });
        AddTelemetryAndHealth<IConsumer<TKey, TValue>>(builder, Consumer, settings);
    }

    /// <summary>Registers a producer as the overload whose delegate sees the service provider does.</summary>
    public static void AddKafkaProducer<TKey, TValue>(
        this IHostApplicationBuilder builder, string connectionName, Action<KafkaProducerSettings>? configureSettings = null) =>
        builder.AddKafkaProducer(
            connectionName, configureSettings, default(Action<IServiceProvider, ProducerBuilder<TKey, TValue>>));

    /// <summary>Registers a producer as the overload whose delegate sees the service provider does.</summary>
    public static void AddKafkaProducer<TKey, TValue>(
        this IHostApplicationBuilder builder,
        string connectionName,
        Action<KafkaProducerSettings>? configureSettings,
        Action<ProducerBuilder<TKey, TValue>>? configureBuilder) =>
        builder.AddKafkaProducer<TKey, TValue>(
            connectionName, configureSettings, (_, producer) => configureBuilder?.Invoke(producer));

    /// <summary>
    /// Registers a singleton <see cref="IProducer{TKey,TValue}"/> with health check, metrics and logs. Settings come from
    /// <c>Aspire:Confluent:Kafka:Producer</c>, then <c>…:Producer:{connectionName}</c>, then
    /// <c>ConnectionStrings:{connectionName}</c>, then the delegate; the later wins.
    /// </summary>
    /// <param name="builder">The host to add to.</param>
    /// <param name="connectionName">The name under <c>ConnectionStrings</c>; its value is the bootstrap servers.</param>
    /// <param name="configureSettings">Has the last word on the settings.</param>
    /// <param name="configureBuilder">
    /// Sets serializers and handlers. A log or statistics handler set here replaces the one that feeds
    /// logs or metrics.
    /// </param>
    /// <exception cref="InvalidOperationException">On first use: no bootstrap servers.</exception>
    public static void AddKafkaProducer<TKey, TValue>(
        this IHostApplicationBuilder builder,
        string connectionName,
        Action<KafkaProducerSettings>? configureSettings,
        Action<IServiceProvider, ProducerBuilder<TKey, TValue>>? configureBuilder)
    {
        var settings = new KafkaProducerSettings();
        Read(builder.Configuration, Producer, connectionName, settings);
        configureSettings?.Invoke(settings);
        Complete(settings, settings.Config);

        builder.Services.AddSingleton(services =>
        {
            RequireBootstrapServers(settings.Config, connectionName);

            var producer = new ProducerBuilder<TKey, TValue>(settings.Config);
            configureBuilder?.Invoke(services, producer);

            var telemetry = services.GetRequiredService<KafkaTelemetry>();
            UnlessSet(() => producer.SetLogHandler((_, message) => telemetry.Log(message)));
            if (!settings.DisableMetrics)
            {
                UnlessSet(() => producer.SetStatisticsHandler((_, json) => telemetry.Record(json)));
            }

            return producer.Build();
        });
        AddTelemetryAndHealth<IProducer<TKey, TValue>>(builder, Producer, settings);
    }

    private static void Read(IConfiguration configuration, string role, string connectionName, KafkaClientSettings settings)
    {
        var section = configuration.GetSection($"{Section}:{role}");
        section.Bind(settings);
        section.GetSection(connectionName).Bind(settings);
        settings.ConnectionString = configuration.GetConnectionString(connectionName) ?? settings.ConnectionString;
    }

    private static void Complete(KafkaClientSettings settings, ClientConfig config)
    {
        config.BootstrapServers = settings.ConnectionString ?? config.BootstrapServers;
        if (!settings.DisableMetrics)
        {
            // One costs 0.3 ms of a core and a string of 30,000 characters at 24 partitions, both growing with them.
            config.StatisticsIntervalMs ??= 1000;
        }
    }

    private static void RequireBootstrapServers(ClientConfig config, string connectionName)
    {
        if (string.IsNullOrEmpty(config.BootstrapServers))
        {
            throw new InvalidOperationException(
                $"No bootstrap servers configured. Set ConnectionStrings:{connectionName} to host:port[,host:port].");
        }
    }

    // The builders refuse a second handler and cannot be asked whether they have one: the caller's stays.
    private static void UnlessSet(Action setHandler)
    {
        try
        {
            setHandler();
        }
        catch (InvalidOperationException)
        {
        }
    }

    private static void AddTelemetryAndHealth<TClient>(IHostApplicationBuilder builder, string role, KafkaClientSettings settings)
        where TClient : class, IClient
    {
        builder.Services.AddMetrics();
        builder.Services.TryAddSingleton<KafkaTelemetry>();
        if (!settings.DisableMetrics)
        {
            builder.Services.AddOpenTelemetry().WithMetrics(metrics => metrics.AddMeter(KafkaTelemetry.Name));
        }

        if (!settings.DisableTracing)
        {
            builder.Services.AddOpenTelemetry().WithTracing(tracing => tracing.AddSource(KafkaTelemetry.Name));
        }

        if (!settings.DisableHealthChecks)
        {
            builder.Services.TryAddSingleton<KafkaProbe<TClient>>();
            builder.AddProbe(
                $"Aspire.Confluent.Kafka.{role}",
                services => Task.FromResult(services.GetRequiredService<KafkaProbe<TClient>>().Ask(ProbeTimeout)),
                ProbeTimeout);
        }
    }
}
