using Confluent.Kafka;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Cache.AppHost;

/// <summary>Asks Kafka for its brokers. Unlike the check in Aspire's package, it does not produce messages.</summary>
/// <param name="address">The bootstrap servers; null until they are known.</param>
internal sealed class KafkaHealthCheck(Func<string?> address) : IHealthCheck
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(2);

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        // The client blocks.
        Task.Run(Check, CancellationToken.None);

    private HealthCheckResult Check()
    {
        if (address() is not { } servers)
        {
            return HealthCheckResult.Unhealthy("the address is not known yet");
        }

        try
        {
            using var admin = new AdminClientBuilder(new AdminClientConfig { BootstrapServers = servers })
                .SetLogHandler(static (_, _) => { }).SetErrorHandler(static (_, _) => { }).Build();
            var brokers = admin.GetMetadata(Timeout).Brokers.Count;
            return brokers > 0 ? HealthCheckResult.Healthy($"{brokers} brokers") : HealthCheckResult.Unhealthy("no brokers");
        }
        catch (KafkaException exception)
        {
            return HealthCheckResult.Unhealthy(exception.Error.Reason);
        }
    }
}
