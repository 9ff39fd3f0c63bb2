using Aspire.StackExchange.Redis;
using Cache.Service.Consume;
using Cache.Service.Options;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>Registers what writes to Redis, and what writes and reads the dead-letter topic.</summary>
internal static class PersistSetup
{
    public static IServiceCollection AddPersist(this IServiceCollection services) => services
        .AddSingleton(provider =>
        {
            var (options, errors) = (provider.GetRequiredService<CacheOptions>(), provider.GetRequiredService<KafkaErrors>());
            return new DeadLetterProducer(note => KafkaClients.DeadLetterProducer(options, error =>
            {
                errors.Note(error);
                note(error);
            }));
        })
        .AddSingleton<PersistMetrics>()
        .AddSingleton(provider => new RedisConnection(
            provider.GetRequiredService<IConnectionMultiplexer>, () => provider.GetRequiredKeyedService<IConnectionMultiplexer>(RedisConnection.Name),
            provider.GetRequiredService<CacheOptions>()))
        .AddSingleton<RedisKeys>()
        .AddSingleton<RedisEpoch>()
        .AddSingleton<SessionStore>()
        .AddSingleton<DimensionLimit>()
        .AddSingleton<WindowStore>()
        .AddSingleton<DeadLetters>()
        .AddSingleton<DeadLetterReader>();

    /// <summary>Adds two connections: one for the flush, and a keyed one (<see cref="RedisConnection.Name"/>) for readers.</summary>
    public static void AddRedis(this WebApplicationBuilder builder)
    {
        builder.AddRedisClient(RedisConnection.Name, Settings, Connection);
        builder.AddKeyedRedisClient(RedisConnection.Name, Settings, Connection);

        void Settings(StackExchangeRedisSettings settings)
        {
            settings.DisableHealthChecks = true;

            // The client's profiler costs CPU per command, whether sampled or not.
            settings.DisableTracing = !builder.ExportsTelemetry();
        }

        static void Connection(ConfigurationOptions redis)
        {
            // The service itself waits for Redis, whatever the connection string says.
            redis.AbortOnConnectFail = false;

            // While Redis is down, commands fail at once: the flush retries on its own, and readers get an error.
            redis.BacklogPolicy = BacklogPolicy.FailFast;
            redis.IncludeDetailInExceptions = false;

            // How soon a promoted replica is recognized as the primary. The client's default is a minute.
            redis.ConfigCheckSeconds = Math.Min(redis.ConfigCheckSeconds, 5);

            // RedisConnection reads run ids with INFO, which the client, unlike the server, treats as an admin command.
            redis.AllowAdmin = true;
        }
    }
}
