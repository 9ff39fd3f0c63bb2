using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>Registers the stage that consumes rows.</summary>
internal static class ConsumeSetup
{
    public static IServiceCollection AddConsume(this IServiceCollection services) => services
        .AddSingleton<ConsumeMetrics>()
        .AddSingleton<KafkaErrors>()
        .AddSingleton<RowReader>()
        .AddSingleton<IKafkaLookups, KafkaLookups>()
        .AddSingleton<StartPositions>()
        .AddSingleton<Topics>()
        .AddSingleton<BlockUntil>(Rebalance.Block)
        .AddSingleton<RebalanceCallbacks>()
        .AddSingleton<RowSources>()
        .AddSingleton(services => services.GetRequiredService<RowSources>().Create(services.GetRequiredService<IConsumer<RowKey, Row>>()))
        .AddSingleton<Rebalance>()
        .AddSingleton<BackPressure>()
        .AddSingleton<Repositioning>()
        .AddSingleton<Rewinding>()
        .AddSingleton<Schemas>()
        .AddSingleton<SchemaClient>()
        .AddSingleton<SchemaRegistry>()
        .AddSingleton<SchemaWaits>()
        .AddSingleton<Poller>()
        .AddSingleton<ConsumeLoop>()
        .AddSingleton<IOffsetCommit, ConsumerCommits>()
        .AddSingleton<OffsetCommitter>()
        .AddSingleton<LagMonitor>()
        .AddHostedService(provider => provider.GetRequiredService<ConsumeLoop>())
        .AddHostedService(provider => provider.GetRequiredService<OffsetCommitter>())
        .AddHostedService(provider => provider.GetRequiredService<LagMonitor>())
        .AddHostedService(provider => provider.GetRequiredService<SchemaRegistry>());

    /// <summary>Adds the consumer of the metric topics.</summary>
    public static void AddKafka(this WebApplicationBuilder builder, CacheOptions options)
    {
        builder.AddKafkaConsumer<RowKey, Row>("kafka",
            settings =>
            {
                KafkaClients.Configure(settings.Config, options);
                var session = KafkaClients.SessionTimeout(settings.Config);
                builder.Services.AddSingleton(services => new Membership(session, services.GetRequiredService<TimeProvider>()));

                // Readiness asks Kafka itself, without producing anything. ReceiveSpan creates spans for sampled traces only.
                settings.DisableHealthChecks = true;
                settings.DisableTracing = true;

                // Aspire's integration would count and time every row, only to duplicate cache.kafka.records.
                settings.DisableMetrics = true;
            },
            (services, consumer) =>
            {
                var deserializer = new RowDeserializer(options, services.GetRequiredService<TimeProvider>(), services.GetRequiredService<Schemas>());
                consumer.SetKeyDeserializer(deserializer);
                consumer.SetValueDeserializer(deserializer);
                services.GetRequiredService<RebalanceCallbacks>().Attach(consumer);
                var errors = services.GetRequiredService<KafkaErrors>();
                consumer.SetErrorHandler((_, error) => errors.Note(error));
            });
    }
}
