using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using StackExchange.Redis;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// The Redis client for the configurations without Aspire packages: the same call, section and names as
/// Aspire.StackExchange.Redis, so that a call site compiles against either.
/// </summary>
public static class RedisClientExtensions
{
    private const string Section = "Aspire:StackExchange:Redis";

    /// <summary>
    /// Registers a singleton <see cref="IConnectionMultiplexer"/> that does not need Redis to be there when it is made.
    /// </summary>
    /// <param name="builder">The host to add to.</param>
    /// <param name="connectionName">The name under <c>ConnectionStrings</c>; its value is left as it is.</param>
    /// <param name="configureSettings">Has the last word on the settings.</param>
    /// <param name="configureOptions">Has the last word on the client's options.</param>
    /// <exception cref="InvalidOperationException">On first use: no connection string.</exception>
    public static void AddRedisClient(
        this IHostApplicationBuilder builder,
        string connectionName,
        Action<StackExchangeRedisSettings>? configureSettings = null,
        Action<ConfigurationOptions>? configureOptions = null)
    {
        var section = builder.Configuration.GetSection(Section);
        var settings = new StackExchangeRedisSettings();
        section.Bind(settings);
        section.GetSection(connectionName).Bind(settings);
        settings.ConnectionString = builder.Configuration.GetConnectionString(connectionName) ?? settings.ConnectionString;
        configureSettings?.Invoke(settings);

        builder.Services.AddSingleton<IConnectionMultiplexer>(_ =>
        {
            if (string.IsNullOrEmpty(settings.ConnectionString))
            {
                throw new InvalidOperationException($"No Redis address: set ConnectionStrings:{connectionName} to host:port.");
            }

            var options = ConfigurationOptions.Parse(settings.ConnectionString);
            options.AbortOnConnectFail = false;
            configureOptions?.Invoke(options);
            return ConnectionMultiplexer.Connect(options);
        });
    }
}

/// <summary>Settings of the Redis client; section <c>Aspire:StackExchange:Redis[:name]</c>.</summary>
public sealed class StackExchangeRedisSettings
{
    /// <summary>A StackExchange.Redis connection string: addresses, then options, comma separated.</summary>
    public string? ConnectionString { get; set; }

    /// <summary>Whether the health check stays off.</summary>
    public bool DisableHealthChecks { get; set; }

    /// <summary>Whether the client's spans stay off.</summary>
    public bool DisableTracing { get; set; }

    /// <summary>Whether the connection is made on first use only and not when the host starts.</summary>
    public bool DisableAutoActivation { get; set; }
}
