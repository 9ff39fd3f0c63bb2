namespace Cache.Service.Options;

/// <summary>The registration of the configuration.</summary>
internal static class OptionsSetup
{
    /// <summary>Reads the configuration, and makes connection strings of host and port where there are none.</summary>
    /// <exception cref="ConfigurationException">At least one key is wrong.</exception>
    public static CacheOptions AddCacheOptions(this WebApplicationBuilder builder)
    {
        var options = CacheOptionsReader.Read(builder.Configuration);
        builder.Configuration["ConnectionStrings:kafka"] = options.KafkaBootstrapServers;
        builder.Configuration["ConnectionStrings:redis"] = options.RedisConnection ?? $"{options.RedisHost}:{options.RedisPort}";
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(Random.Shared);
        return options;
    }
}
