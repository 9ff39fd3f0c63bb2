using Microsoft.Extensions.Hosting;

namespace Cache.AppHost;

/// <summary>
/// Stops the projects as the application begins to stop, while Kafka and Redis still answer. The orchestrator would otherwise end
/// them after the AppHost and its embedded servers are gone, so that each waits for what does not come back: 15 s in the
/// place of 6.
/// </summary>
internal sealed class ProjectsStopFirst(DistributedApplicationModel model, ResourceCommandService commands) : IHostedService
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        // One that does not run refuses, and is none the worse for it.
        var stops = model.Resources.OfType<ProjectResource>()
            .Select(project => commands.ExecuteCommandAsync(project, KnownResourceCommands.StopCommand, cancellationToken));
        Task all = Task.WhenAll(stops);
        await all.WaitAsync(Timeout, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }
}
