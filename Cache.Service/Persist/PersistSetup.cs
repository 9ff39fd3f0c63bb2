using Aspire.StackExchange.Redis;
using Cache.Service.Consume;
using Cache.Service.Options;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>The registration of what is kept in Redis, and in the dead-letter topic.</summary>
internal static class PersistSetup
{
    public static IServiceCollection AddPersist(this IServiceCollection services) => services
        .AddSingleton(provider => new DeadLetterProducer(note => KafkaClients.DeadLetterProducer(provider.GetRequiredService<CacheOptions>(), error =>
        {
            provider.GetRequiredService<KafkaErrors>().Note(error);
            note(error);
        })))
        .AddSingleton<PersistMetrics>()
        .AddSingleton<RedisConnection>()
        .AddSingleton<RedisKeys>()
        .AddSingleton<RedisEpoch>()
        .AddSingleton<SessionStore>()
        .AddSingleton<DimensionLimit>()
        .AddSingleton<WindowStore>()
        .AddSingleton<DeadLetters>();

    /// <summary>Adds two connections: the flush's, and under <see cref="RedisConnection.Name"/> as key the readers' own.</summary>
    public static void AddRedis(this WebApplicationBuilder builder)
    {
        builder.AddRedisClient(RedisConnection.Name, Settings, Connection);
        builder.AddKeyedRedisClient(RedisConnection.Name, Settings, Connection);

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

            // Commands fail at once while Redis is down: the flush retries by itself, and a reader is told.
            redis.BacklogPolicy = BacklogPolicy.FailFast;
            redis.IncludeDetailInExceptions = false;

            // How soon a replica that was promoted is known to be the primary. The client's own default is a minute.
            redis.ConfigCheckSeconds = Math.Min(redis.ConfigCheckSeconds, 5);

            // The client takes INFO for an administrator's command; servers do not. It gives RedisConnection the run ids.
            redis.AllowAdmin = true;
        }
    }
}
