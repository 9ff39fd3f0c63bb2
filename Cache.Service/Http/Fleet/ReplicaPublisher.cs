using Cache.Service.Hosting;
using Cache.Service.Http.Query;
using Cache.Service.Partitions;

namespace Cache.Service.Http.Fleet;

/// <summary>
/// Publishes the state of this replica for the others: every few seconds, and soon after partitions, readiness or a revocation
/// changed. Nothing depends on it, so failures are ignored: the next publication follows anyway.
/// </summary>
internal sealed class ReplicaPublisher(
    OwnReplica own, ReplicaStore store, Assignment assignment, ReadinessMonitor readiness, TimeProvider time, FatalError fatal, ILogger<ReplicaPublisher> logger)
    : Worker(fatal, time, logger)
{
    /// <summary>How often it publishes at most, whatever changes.</summary>
    public static readonly TimeSpan MinInterval = TimeSpan.FromSeconds(0.5);

    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan SampleInterval = TimeSpan.FromSeconds(1);

    // Releasing partitions can take longer; others then see them without an owner.
    private static readonly TimeSpan ReleaseTimeout = TimeSpan.FromSeconds(4);

    /// <summary>Stops publishing once the partitions are released, so that others see what that waits for; then removes this replica.</summary>
    public override async Task StopAsync(CancellationToken cancellationToken)
    {
        await base.StopAsync(cancellationToken);
        using var released = new CancellationTokenSource(ReleaseTimeout, Time);
        for (var change = Change(); assignment.Current.Count > 0 && !released.IsCancellationRequested; change = Change())
        {
            await PublishAsync(released.Token);
            await Task.WhenAny(change, Task.Delay(Timeout.InfiniteTimeSpan, Time, released.Token));
        }

        await TryAsync(stop => store.RemoveAsync(own.Id, stop), CancellationToken.None);
    }

    /// <inheritdoc/>
    protected internal override async Task RunAsync(CancellationToken stoppingToken)
    {
        var change = Change();
        long? published = null;
        while (!stoppingToken.IsCancellationRequested)
        {
            own.Sample();
            if (change.IsCompleted || published is not { } last || Time.GetElapsedTime(last) >= Interval)
            {
                // Before the state is read, so that no change is missed; and only once it is used up, because signals keep who waits for them.
                change = change.IsCompleted ? Change() : change;
                published = Time.GetTimestamp();
                await PublishAsync(stoppingToken);
                await Task.Delay(MinInterval, Time, stoppingToken);
            }

            await Task.WhenAny(change, Task.Delay(SampleInterval, Time, stoppingToken));
        }
    }

    private Task<Task> Change() => Task.WhenAny(assignment.Changed.Next, readiness.Changed.Next);

    private Task PublishAsync(CancellationToken cancellationToken) => TryAsync(stop => store.WriteAsync(own.Id, own.State(), stop), cancellationToken);

    private static async Task TryAsync(Func<CancellationToken, Task> action, CancellationToken cancellationToken)
    {
        using var deadline = ApiAnswers.Deadline(cancellationToken);
        try
        {
            await action(deadline.Token);
        }
        catch (Exception exception) when (ReplicaStore.IsOfRedis(exception))
        {
            // Whatever Redis refuses is logged by those who depend on it.
        }
    }
}
