using Confluent.Kafka;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// Asks a client for its brokers. Made after the client, and so disposed before it, once the question has ended: the process
/// does not survive a client that is disposed in the midst of one.
/// </summary>
internal sealed class KafkaProbe<TClient>(TClient client) : IDisposable where TClient : class, IClient
{
    private readonly Lock _asking = new();
    private bool _disposed;

    // On the client's own connections: no message, no second client. Asking less (DescribeCluster) needs a controller,
    // which not every broker names.
    public HealthCheckResult Ask(TimeSpan timeout)
    {
        lock (_asking)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            using var admin = new DependentAdminClientBuilder(client.Handle).Build();
            var brokers = admin.GetMetadata(timeout).Brokers.Count;
            return brokers > 0 ? HealthCheckResult.Healthy($"{brokers} brokers") : HealthCheckResult.Unhealthy("no brokers");
        }
    }

    public void Dispose()
    {
        lock (_asking)
        {
            _disposed = true;
        }
    }
}
