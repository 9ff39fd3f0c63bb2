using Microsoft.Extensions.Hosting;

namespace Cache.AppHost;

/// <summary>
/// Stops the projects as soon as the application starts to stop, while Kafka and Redis still answer. Otherwise, the orchestrator
/// would stop them after the AppHost and its embedded servers, and each would wait for servers that are gone: 15 s instead of 6.
/// </summary>
internal sealed class ProjectsStopFirst(DistributedApplicationModel model, ResourceCommandService commands) : IHostedService
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(5);

    /// <inheritdoc/>
    public Task StartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <inheritdoc/>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        // Projects that are not running refuse the command, which does no harm.
        var stops = model.Resources.OfType<ProjectResource>()
            .Select(project => commands.ExecuteCommandAsync(project, KnownResourceCommands.StopCommand, cancellationToken));
        Task all = Task.WhenAll(stops);
        await all.WaitAsync(Timeout, cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }
}
