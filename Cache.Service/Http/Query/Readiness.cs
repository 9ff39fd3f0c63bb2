using Cache.Service.Consume;
using Cache.Service.Flush;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Cache.Service.Http.Query;

/// <summary>
/// Readiness: partitions are assigned, Redis answers, batches are written, updates arrive, no row waits for a schema registry that does
/// not answer, and the total lag is within <c>ready_lag_threshold</c>. A replica whose topics are idle is ready.
/// </summary>
internal sealed class Readiness(
    ConsumeLoop loop, LagMonitor lag, Assignment assignment, BatchRetry retry, RedisConnection redis, UpdateHub hub, SchemaRegistry registry) : IHealthCheck
{
    /// <summary>Why the service is not ready; empty when it is.</summary>
    public async Task<IReadOnlyList<string>> ReasonsAsync(CancellationToken cancellationToken)
    {
        var redisAnswers = redis.AnswersAsync(cancellationToken);
        var reasons = new List<string>();
        if (assignment.Current.Count == 0)
        {
            // This includes brokers that have been down for longer than the session timeout.
            reasons.Add("no partitions assigned: " + (lag.Failure ?? (assignment.IsSpare
                ? "the group has none left for this replica; it is a spare, and takes over when another one leaves"
                : loop.WaitsFor)));
        }
        else if (lag.Obstacle is { } behind)
        {
            reasons.Add(behind);
        }

        if (registry.Obstacle is { } unanswered)
        {
            reasons.Add(unanswered);
        }

        if (retry.Obstacle is { } obstacle)
        {
            reasons.Add(obstacle);
        }

        if (!await redisAnswers)
        {
            reasons.Add("Redis does not answer");
        }
        else if (!redis.IsConnectedForReaders)
        {
            reasons.Add("the connection to Redis for readers is not there yet");
        }

        if (hub.IsSilent)
        {
            reasons.Add("no updates arrive: the subscription to Redis is silent");
        }

        return reasons;
    }

    /// <inheritdoc/>
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        var reasons = await ReasonsAsync(cancellationToken);
        return reasons.Count == 0 ? HealthCheckResult.Healthy() : HealthCheckResult.Unhealthy(string.Join("; ", reasons));
    }
}

/// <summary>Liveness: the consume loop is turning.</summary>
internal sealed class Liveness(ConsumeLoop loop) : IHealthCheck
{
    // Longer than a revocation can take to flush and commit.
    private static readonly TimeSpan HeartbeatTimeout = TimeSpan.FromSeconds(60);

    /// <inheritdoc/>
    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(loop.SinceLastHeartbeat <= HeartbeatTimeout
            ? HealthCheckResult.Healthy()
            : HealthCheckResult.Unhealthy($"the consume loop has been stuck for {loop.SinceLastHeartbeat.TotalSeconds:F0} s"));
}
