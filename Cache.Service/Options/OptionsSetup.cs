namespace Cache.Service.Options;

/// <summary>Registers the configuration.</summary>
internal static class OptionsSetup
{
    /// <summary>Reads the configuration, and builds missing connection strings from host and port.</summary>
    /// <param name="builder">The service.</param>
    /// <param name="errors">Errors of the command line, which are reported with the others.</param>
    /// <exception cref="ConfigurationException">At least one key is invalid.</exception>
    public static CacheOptions AddCacheOptions(this WebApplicationBuilder builder, IEnumerable<string> errors)
    {
        var options = CacheOptionsReader.Read(builder.Configuration, errors);
        builder.Services.AddSingleton(new GivenSettings(builder.Configuration));
        builder.Configuration["ConnectionStrings:kafka"] = options.KafkaBootstrapServers;
        builder.Configuration["ConnectionStrings:redis"] = options.RedisConnection ?? $"{options.RedisHost}:{options.RedisPort}";
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton(TimeProvider.System);
        builder.Services.AddSingleton(Random.Shared);
        return options;
    }
}
