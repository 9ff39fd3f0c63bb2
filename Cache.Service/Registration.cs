using Aspire.StackExchange.Redis;
using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Enqueue;
using Cache.Service.Flush;
using Cache.Service.Persist;
using Cache.Service.Protect;
using Cache.Service.Query;
using Cache.Service.Streaming;
using Cache.Service.Telemetry;
using OpenTelemetry.Metrics;
using Scalar.AspNetCore;
using StackExchange.Redis;

namespace Cache.Service;

/// <summary>One registration a stage, in the order in which a row passes them.</summary>
internal static class Registration
{
    /// <summary>Reads the configuration, and makes the connection strings of host and port where there are none.</summary>
    /// <exception cref="ConfigurationException">At least one key is wrong.</exception>
    public static CacheOptions AddCacheOptions(this WebApplicationBuilder builder)
    {
        var options = CacheOptionsReader.Read(builder.Configuration);
        builder.Configuration["ConnectionStrings:kafka"] = options.KafkaBootstrapServers;
        builder.Configuration["ConnectionStrings:redis"] = options.RedisConnection ?? $"{options.RedisHost}:{options.RedisPort}";
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(Random.Shared);
        builder.Services.AddSingleton<FatalError>();
        return options;
    }

    public static void AddConsume(this WebApplicationBuilder builder, CacheOptions options)
    {
        builder.AddKafkaConsumer<RowKey, Row>("kafka",
            settings =>
            {
                KafkaClients.Configure(settings.Config, options);
                var session = KafkaClients.SessionTimeout(settings.Config);
                builder.Services.AddSingleton(services => new Membership(session, services.GetRequiredService<TimeProvider>()));

                // Readiness asks Kafka itself, without producing anything, and Tracing makes the spans, only where a trace is sampled.
                settings.DisableHealthChecks = true;
                settings.DisableTracing = true;

                // Aspire's integration would count and time each row, to say what cache.kafka.records says.
                settings.DisableMetrics = true;
            },
            (services, consumer) =>
            {
                var deserializer = new RowDeserializer(options, services.GetRequiredService<TimeProvider>());
                consumer.SetKeyDeserializer(deserializer);
                consumer.SetValueDeserializer(deserializer);
                Rebalance.Attach(services, consumer);
                consumer.SetErrorHandler((_, error) => services.GetRequiredService<KafkaErrors>().Note(error));
            });

        builder.Services.AddSingleton<Assignment>();
        builder.Services.AddSingleton<KafkaErrors>();
        builder.Services.AddSingleton<RowReader>();
        builder.Services.AddSingleton<IKafkaLookups, KafkaLookups>();
        builder.Services.AddSingleton<StartPositions>();
        builder.Services.AddSingleton<Topics>();
        builder.Services.AddSingleton<BlockUntil>(Rebalance.Block);
        builder.Services.AddSingleton<Rebalance>();
        builder.Services.AddSingleton<RebuildRequests>();
        builder.Services.AddSingleton<ConsumeLoop>();
        builder.Services.AddSingleton<ConsumerLifetime>();
        builder.Services.AddSingleton<IOffsetCommit>(services => services.GetRequiredService<ConsumeLoop>());
        builder.Services.AddSingleton<OffsetCommitter>();
        builder.Services.AddSingleton<LagMonitor>();
    }

    public static void AddEnqueue(this WebApplicationBuilder builder) => builder.Services.AddSingleton<RowQueue>();

    public static void AddPersist(this WebApplicationBuilder builder, CacheOptions options)
    {
        builder.AddRedisClient(RedisLink.Name, Settings, Connection);
        builder.AddKeyedRedisClient(RedisLink.Name, Settings, Connection);

        builder.Services.AddSingleton(services => new DeadLetterProducer(note => KafkaClients.DeadLetterProducer(options, error =>
        {
            services.GetRequiredService<KafkaErrors>().Note(error);
            note(error);
        })));
        builder.Services.AddSingleton<RedisLink>();
        builder.Services.AddSingleton<RedisKeys>();
        builder.Services.AddSingleton<RedisEpoch>();
        builder.Services.AddSingleton<SessionStore>();
        builder.Services.AddSingleton<DimensionLimit>();
        builder.Services.AddSingleton<WindowStore>();
        builder.Services.AddSingleton<DeadLetters>();

        void Settings(StackExchangeRedisSettings settings)
        {
            settings.DisableHealthChecks = true;

            // The client's profiler costs CPU for each command, sampled or not.
            settings.DisableTracing = !builder.ExportsTelemetry();
        }

        static void Connection(ConfigurationOptions redis)
        {
            // Waiting for Redis is the service's own business, whatever the connection string says.
            redis.AbortOnConnectFail = false;

            // Commands fail at once while Redis is away: the flush tries again by itself, and a reader is told.
            redis.BacklogPolicy = BacklogPolicy.FailFast;
            redis.IncludeDetailInExceptions = false;

            // How soon a replica that was promoted is known to be the primary. The client's own default is a minute.
            redis.ConfigCheckSeconds = Math.Min(redis.ConfigCheckSeconds, 5);

            // The client takes INFO for an administrator's command; servers do not. It tells RedisLink the run ids.
            redis.AllowAdmin = true;
        }
    }

    /// <summary>Adds the flush, and the order in which the workers start.</summary>
    public static void AddFlush(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<BatchRetry>();
        builder.Services.AddHostedService<FlushWorker>();
        builder.Services.AddHostedService(services => services.GetRequiredService<ConsumeLoop>());
        builder.Services.AddHostedService(services => services.GetRequiredService<OffsetCommitter>());
        builder.Services.AddHostedService(services => services.GetRequiredService<LagMonitor>());
    }

    public static void AddQuery(this WebApplicationBuilder builder, CacheOptions options)
    {
        // Not in appsettings.json, where it would win over ASPNETCORE_URLS.
        if (!HostSettings.NamesAddress(builder.Configuration))
        {
            builder.WebHost.UseUrls("http://*:8080");
        }

        builder.ListenForProbes(options);

        builder.Services.AddProblemDetails();
        builder.Services.AddOpenApi(api => ApiDescription.Configure(api, options));
        builder.Services.AddSingleton<LargeReads>();
        builder.Services.AddSingleton<WindowReader>();
        builder.Services.AddSingleton<KeptAnswers>();
        builder.Services.AddSingleton<WindowAnswers>();
        builder.Services.AddSingleton<SessionReader>();
        builder.Services.AddSingleton<Readiness>();
        builder.Services.AddSingleton<ReadinessMonitor>();
        builder.Services.AddHostedService(services => services.GetRequiredService<ReadinessMonitor>());
        builder.Services.AddHealthChecks()
            .AddCheck<Liveness>("consume loop", tags: [Extensions.LiveTag])
            .AddCheck<Readiness>("ready");
    }

    public static void AddStreaming(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<UpdateHub>();
        builder.Services.AddSingleton<StreamFilters>();
        builder.Services.AddSingleton<UnsentBytes>();
        builder.Services.AddHostedService(services => services.GetRequiredService<UpdateHub>());
    }

    public static void AddTelemetry(this WebApplicationBuilder builder)
    {
        builder.Services.AddSingleton<CacheMetrics>();
        builder.Services.AddOpenTelemetry()
            .WithMetrics(metrics => metrics.AddMeter(CacheMetrics.MeterName).AddPrometheusExporter())
            .WithTracing(tracing => tracing.AddSource(Tracing.SourceName));
    }

    public static void MapQuery(this WebApplication app, CacheOptions options)
    {
        var data = app.MapProtected(options);
        data.MapMetrics();
        data.MapSessions();
        data.MapStream();
        data.MapPipeline();
        app.MapHealth();
        app.MapDefaultEndpoints();
        app.MapPrometheusScrapingEndpoint("/metrics");
        app.MapOpenApi().LimitRate(options);
        app.MapScalarApiReference("/scalar", page =>
        {
            // A page of this service alone: nothing is fetched from, or told to, anybody else.
            page.Title = "Cache";
            page.Telemetry = false;
            page.DefaultFonts = false;
            page.ShowDeveloperTools = DeveloperToolsVisibility.Never;
            page.WithNonce();
        });
    }
}
