using Aspire.StackExchange.Redis;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging;
using OpenTelemetry.Trace;
using StackExchange.Redis;
using StackExchange.Redis.Configuration;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// The Redis client for the configurations without Aspire packages: the same call, section and names as
/// Aspire.StackExchange.Redis, so that a call site compiles against either.
/// </summary>
public static class RedisClientExtensions
{
    private const string Section = "Aspire:StackExchange:Redis";
    private const string HealthCheck = "StackExchange.Redis";

    private static readonly TimeSpan ProbeTimeout = TimeSpan.FromSeconds(1);

    /// <summary>
    /// Registers a singleton <see cref="IConnectionMultiplexer"/> with health check, spans and logs. It does not need
    /// Redis to be there when it is made, but then making it blocks for the connect timeout (5 s by default). Settings
    /// come from <c>Aspire:StackExchange:Redis</c>, then <c>Aspire:StackExchange:Redis:{connectionName}</c>, then
    /// <c>ConnectionStrings:{connectionName}</c>, then the delegate; the later wins.
    /// </summary>
    /// <param name="builder">The host to add to.</param>
    /// <param name="connectionName">The name under <c>ConnectionStrings</c>; its value is left as it is.</param>
    /// <param name="configureSettings">Has the last word on the settings.</param>
    /// <param name="configureOptions">
    /// Has the last word on the client's options, after the connection string and the sections' <c>ConfigurationOptions</c>.
    /// </param>
    /// <exception cref="InvalidOperationException">On first use: no connection string.</exception>
    public static void AddRedisClient(
        this IHostApplicationBuilder builder,
        string connectionName,
        Action<StackExchangeRedisSettings>? configureSettings = null,
        Action<ConfigurationOptions>? configureOptions = null)
    {
        var section = builder.Configuration.GetSection(Section);
        var named = section.GetSection(connectionName);
        var settings = new StackExchangeRedisSettings();
        section.Bind(settings);
        named.Bind(settings);
        settings.ConnectionString = builder.Configuration.GetConnectionString(connectionName) ?? settings.ConnectionString;
        configureSettings?.Invoke(settings);

        builder.Services.AddSingleton<IConnectionMultiplexer>(services =>
        {
            if (string.IsNullOrEmpty(settings.ConnectionString))
            {
                throw new InvalidOperationException(
                    $"No endpoints specified. Set ConnectionStrings:{connectionName} to host:port[,password=…].");
            }

            var options = ConfigurationOptions.Parse(settings.ConnectionString);
            if (options.Defaults.GetType() == typeof(DefaultOptionsProvider))
            {
                options.Defaults = new PatientDefaults();
            }

            section.GetSection(nameof(ConfigurationOptions)).Bind(options);
            named.GetSection(nameof(ConfigurationOptions)).Bind(options);
            configureOptions?.Invoke(options);
            options.LoggerFactory ??= services.GetService<ILoggerFactory>();

            var redis = ConnectionMultiplexer.Connect(options);
            if (!settings.DisableTracing)
            {
                redis.RegisterProfiler(RedisCommandSpans.Session);
            }

            return redis;
        });

        if (!settings.DisableAutoActivation)
        {
            builder.Services.AddHostedService<RedisActivation>();
        }

        if (!settings.DisableTracing)
        {
            builder.Services.AddOpenTelemetry().WithTracing(tracing => tracing
                .AddSource(RedisCommandSpans.SourceName)
                .AddProcessor(new RedisCommandSpans()));
        }

        if (!settings.DisableHealthChecks)
        {
            builder.AddProbe(HealthCheck, ProbeAsync, ProbeTimeout);
        }
    }

    private static async Task<HealthCheckResult> ProbeAsync(IServiceProvider services)
    {
        // The first to ask for the client may wait until it is connected or has given up.
        var redis = services.GetRequiredService<IConnectionMultiplexer>();
        if (!redis.IsConnected)
        {
            return HealthCheckResult.Unhealthy("not connected");
        }

        var took = await redis.GetDatabase().PingAsync();
        return HealthCheckResult.Healthy($"PING took {took.TotalMilliseconds:0.0} ms");
    }

    // A default and not a fixed value: a connection string that says abortConnect=true has its way.
    private sealed class PatientDefaults : DefaultOptionsProvider
    {
        public override bool AbortOnConnectFail => false;
    }
}
