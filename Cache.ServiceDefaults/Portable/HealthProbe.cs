using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Microsoft.Extensions.Hosting;

/// <summary>
/// A check that answers in time whatever its probe does: making a client may block for seconds, so the probe runs on the
/// thread pool, one at a time however many ask, and who waits too long is told so.
/// </summary>
internal sealed class HealthProbe(Func<Task<HealthCheckResult>> probe, TimeSpan timeout, TimeProvider time) : IHealthCheck
{
    private readonly Lock _gate = new();
    private Task<HealthCheckResult>? _running;

    public async Task<HealthCheckResult> CheckHealthAsync(
        HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        try
        {
            return await Running().WaitAsync(timeout, time, cancellationToken);
        }
        catch (TimeoutException)
        {
            return new(context.Registration.FailureStatus, $"no answer within {timeout.TotalSeconds} s");
        }
    }

    private Task<HealthCheckResult> Running()
    {
        lock (_gate)
        {
            return _running is { IsCompleted: false } ? _running : _running = Task.Run(probe);
        }
    }
}

internal static class HealthProbeExtensions
{
    /// <summary>Adds a health probe unless there is one of this name; as a singleton, so that its callers share a run.</summary>
    public static void AddProbe(
        this IHostApplicationBuilder builder,
        string name,
        Func<IServiceProvider, Task<HealthCheckResult>> probe,
        TimeSpan timeout)
    {
        if (!builder.Properties.TryAdd(name, true))
        {
            return;
        }

        builder.Services.AddKeyedSingleton(name, (services, _) =>
            new HealthProbe(() => probe(services), timeout, services.GetService<TimeProvider>() ?? TimeProvider.System));
        builder.Services.AddHealthChecks().Add(new HealthCheckRegistration(
            name, services => services.GetRequiredKeyedService<HealthProbe>(name), failureStatus: null, tags: null));
    }
}
