using Aspire.Confluent.Kafka;
using Confluent.Kafka;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// Stand-in for Aspire.Confluent.Kafka (docs/decisions/0002): the same methods and configuration sections, without the
/// package's health checks, metrics and spans, which Cache does not use.
/// </summary>
public static partial class KafkaClientExtensions
{
    private const string Section = "Aspire:Confluent:Kafka";

    /// <summary>
    /// Registers a singleton <see cref="IConsumer{TKey,TValue}"/>. Settings come from <c>Aspire:Confluent:Kafka:Consumer</c>,
    /// then <c>…:Consumer:{connectionName}</c>, then <c>ConnectionStrings:{connectionName}</c>, then the delegate; the later wins.
    /// </summary>
    /// <param name="builder">The host to add to.</param>
    /// <param name="connectionName">The name under <c>ConnectionStrings</c>; its value is the bootstrap servers.</param>
    /// <param name="configureSettings">Has the last word on the settings.</param>
    /// <param name="configureBuilder">Sets deserializers and handlers.</param>
    /// <exception cref="InvalidOperationException">On first use: no bootstrap servers, or no group id.</exception>
    public static void AddKafkaConsumer<TKey, TValue>(
        this IHostApplicationBuilder builder,
        string connectionName,
        Action<KafkaConsumerSettings>? configureSettings,
        Action<IServiceProvider, ConsumerBuilder<TKey, TValue>>? configureBuilder)
    {
        var settings = new KafkaConsumerSettings();
        Read(builder.Configuration, "Consumer", connectionName, settings, settings.Config, configureSettings);
        builder.Services.AddSingleton(services =>
        {
            RequireBootstrapServers(settings.Config, connectionName);
            if (string.IsNullOrEmpty(settings.Config.GroupId))
            {
                throw new InvalidOperationException("No group id configured.");
            }

            var consumer = new ConsumerBuilder<TKey, TValue>(settings.Config);
            var log = Log(services);
            consumer.SetLogHandler((_, message) => log(message));
            configureBuilder?.Invoke(services, consumer);
            return consumer.Build();
        });
    }

    /// <summary>
    /// Registers a singleton <see cref="IProducer{TKey,TValue}"/>. Settings come from <c>Aspire:Confluent:Kafka:Producer</c>,
    /// then <c>…:Producer:{connectionName}</c>, then <c>ConnectionStrings:{connectionName}</c>, then the delegate; the later wins.
    /// </summary>
    /// <param name="builder">The host to add to.</param>
    /// <param name="connectionName">The name under <c>ConnectionStrings</c>; its value is the bootstrap servers.</param>
    /// <param name="configureSettings">Has the last word on the settings.</param>
    /// <param name="configureBuilder">Sets serializers and handlers.</param>
    /// <exception cref="InvalidOperationException">On first use: no bootstrap servers.</exception>
    public static void AddKafkaProducer<TKey, TValue>(
        this IHostApplicationBuilder builder,
        string connectionName,
        Action<KafkaProducerSettings>? configureSettings,
        Action<IServiceProvider, ProducerBuilder<TKey, TValue>>? configureBuilder)
    {
        var settings = new KafkaProducerSettings();
        Read(builder.Configuration, "Producer", connectionName, settings, settings.Config, configureSettings);
        builder.Services.AddSingleton(services =>
        {
            RequireBootstrapServers(settings.Config, connectionName);
            var producer = new ProducerBuilder<TKey, TValue>(settings.Config);
            var log = Log(services);
            producer.SetLogHandler((_, message) => log(message));
            configureBuilder?.Invoke(services, producer);
            return producer.Build();
        });
    }

    private static void Read<TSettings>(
        IConfiguration configuration, string role, string connectionName, TSettings settings, ClientConfig config, Action<TSettings>? configure)
        where TSettings : KafkaClientSettings
    {
        var section = configuration.GetSection($"{Section}:{role}");
        section.Bind(settings);
        section.GetSection(connectionName).Bind(settings);
        settings.ConnectionString = configuration.GetConnectionString(connectionName) ?? settings.ConnectionString;
        configure?.Invoke(settings);
        config.BootstrapServers = settings.ConnectionString ?? config.BootstrapServers;
    }

    private static void RequireBootstrapServers(ClientConfig config, string connectionName)
    {
        if (string.IsNullOrEmpty(config.BootstrapServers))
        {
            throw new InvalidOperationException(
                $"No bootstrap servers configured. Set ConnectionStrings:{connectionName} to host:port[,host:port].");
        }
    }

    private static Action<LogMessage> Log(IServiceProvider services)
    {
        var logger = services.GetRequiredService<ILoggerFactory>().CreateLogger("Aspire.Confluent.Kafka");
        return message =>
        {
            var level = (LogLevel)message.LevelAs(LogLevelType.MicrosoftExtensionsLogging);
            ClientLog(logger, level, message.Name, message.Facility, message.Message);
        };
    }

    [LoggerMessage(EventId = 1, Message = "{Client} {Facility}: {Text}")]
    private static partial void ClientLog(ILogger logger, LogLevel level, string client, string facility, string text);
}
