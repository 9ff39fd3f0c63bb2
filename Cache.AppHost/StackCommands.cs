using System.Text;
using Cache.Embedded;
using Cache.Metrics;
using Microsoft.Extensions.Configuration;
using StackExchange.Redis;

// Aspire marks process commands as experimental.
#pragma warning disable ASPIREPROCESSCOMMAND001

namespace Cache.AppHost;

/// <summary>Dashboard commands that put the stack's promises to the test.</summary>
internal static class StackCommands
{
    /// <summary>Adds commands for one-off simulator runs alongside the running one.</summary>
    /// <param name="simulator">The simulator.</param>
    /// <param name="kafka">Where the rows go.</param>
    /// <param name="options">Further options of each run.</param>
    public static IResourceBuilder<ProjectResource> WithRowCommands(
        this IResourceBuilder<ProjectResource> simulator, IResourceWithConnectionString kafka, string[] options) =>
        simulator
            .WithRun("send-burst", "Send a burst", "Rocket", "Sends 5,000 rows as fast as Kafka accepts them.", kafka, ["--count=5000", "--rate=0", .. options])
            .WithRun("send-malformed", "Send malformed rows", "Warning", "Sends 100 rows that the service has to reject; they go to the dead-letter topic.", kafka, ["--count=100", "--rate=0", "--malformed_share=1", .. options]);

    /// <summary>Adds a command that empties Redis.</summary>
    public static IResourceBuilder<T> WithDataLossCommand<T>(this IResourceBuilder<T> redis) where T : IResourceWithConnectionString =>
        redis.WithCommand("lose-data", "Lose all data", async context =>
        {
            var options = ConfigurationOptions.Parse(await redis.Resource.GetConnectionStringAsync(context.CancellationToken) ?? "");
            options.AllowAdmin = true;
            await using var connection = await ConnectionMultiplexer.ConnectAsync(options);
            await connection.GetDatabase().ExecuteAsync("FLUSHALL");
            return CommandResults.Success("Redis is empty. The service now rebuilds the windows from Kafka.");
        }, new()
        {
            Description = "Empties Redis (FLUSHALL), so that the service has to rebuild everything.",
            ConfirmationMessage = "Empty Redis? The service will rebuild the windows from Kafka.",
            IconName = "Delete",
            UpdateState = EnabledWhileRunning,
        });

    /// <summary>Makes the service consume sessions if the simulator sends them.</summary>
    /// <param name="cache">The service.</param>
    /// <param name="sessions">Whether the simulator sends sessions: <c>true</c> or <c>false</c>.</param>
    public static IResourceBuilder<ProjectResource> WithSessions(this IResourceBuilder<ProjectResource> cache, ParameterResource sessions) =>
        cache.WithEnvironment(async context =>
        {
            if (bool.TryParse(await sessions.GetValueAsync(context.CancellationToken), out var sends) && sends)
            {
                context.EnvironmentVariables["cache_kafka_topics"] = "event_metrics,performance_metrics,session_metrics";
            }
        });

    /// <summary>Adds the metric type of <see cref="RevenueType"/>.</summary>
    /// <param name="project">The service or the simulator.</param>
    /// <param name="publishing">Whether the stack is being published.</param>
    public static IResourceBuilder<ProjectResource> WithRevenue(this IResourceBuilder<ProjectResource> project, bool publishing)
    {
        if (!publishing)
        {
            return project.WithEnvironment(MetricTypesReader.Key, RevenueType.MetricTypes);
        }

        // As indexed keys, because braces are expressions in a manifest.
        using var json = new MemoryStream(Encoding.UTF8.GetBytes($"{{\"{MetricTypesReader.Key}\":{RevenueType.MetricTypes}}}"));
        foreach (var (key, value) in new ConfigurationBuilder().AddJsonStream(json).Build().AsEnumerable().Where(setting => setting.Value is not null))
        {
            project.WithEnvironment(key.Replace(":", "__", StringComparison.Ordinal), value);
        }

        return project;
    }

    private static IResourceBuilder<ProjectResource> WithRun(
        this IResourceBuilder<ProjectResource> simulator,
        string name,
        string displayName,
        string icon,
        string description,
        IResourceWithConnectionString kafka,
        string[] options) =>
        simulator.WithProcessCommand(name, displayName, async context => new ProcessCommandSpec("dotnet")
        {
            Arguments =
            [
                typeof(Producer.Simulator.Program).Assembly.Location,
                .. options,
                $"--ConnectionStrings:kafka={await kafka.GetConnectionStringAsync(context.CancellationToken)}",
            ],
        }, new() { Description = description, IconName = icon });

    private static ResourceCommandState EnabledWhileRunning(UpdateCommandStateContext context) =>
        context.ResourceSnapshot.State == KnownResourceStates.Running ? ResourceCommandState.Enabled : ResourceCommandState.Disabled;
}
