using System.Collections.Immutable;
using Cache.Embedded;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging;

namespace Cache.AppHost;

/// <summary>
/// A server inside this process, shown on the dashboard like any other resource: with state, health, address, log, and commands
/// that stop it and start it again at the same address.
/// </summary>
/// <param name="name">Name of the resource and of its connection string.</param>
internal abstract partial class EmbeddedServerResource(string name) : Resource(name), IResourceWithConnectionString, IAsyncDisposable
{
    private readonly TaskCompletionSource<string> _address = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly SemaphoreSlim _gate = new(1);

    /// <inheritdoc/>
    public ReferenceExpression ConnectionStringExpression => ReferenceExpression.Create($"{new PendingAddress(Name, _address.Task)}");

    /// <summary>The address for clients; null before the first start.</summary>
    public string? Address => _address.Task.IsCompletedSuccessfully ? _address.Task.Result : null;

    /// <summary>The log message after a start.</summary>
    protected abstract string Started { get; }

    /// <summary>The log message after a stop.</summary>
    protected abstract string Stopped { get; }

    /// <summary>Starts the server for the first time.</summary>
    /// <returns>Its address.</returns>
    protected abstract Task<string> StartAsync(CancellationToken cancellationToken);

    /// <summary>Starts the server again, at the same address.</summary>
    protected abstract void Resume();

    /// <summary>Stops the server: open connections are closed, new ones refused.</summary>
    protected abstract void Stop();

    /// <summary>Stops the server permanently.</summary>
    public abstract ValueTask DisposeAsync();

    /// <summary>Starts the server, and publishes its state.</summary>
    public async Task<ExecuteCommandResult> StartAsync(IServiceProvider services, CancellationToken cancellationToken)
    {
        var notifications = services.GetRequiredService<ResourceNotificationService>();
        var logger = services.GetRequiredService<ResourceLoggerService>().GetLogger(this);
        await _gate.WaitAsync(cancellationToken);
        try
        {
            await notifications.PublishUpdateAsync(this, row => row with { State = KnownResourceStates.Starting, StopTimeStamp = null });
            if (Address is null)
            {
                _address.SetResult(await StartAsync(cancellationToken));
            }
            else
            {
                await Task.Run(Resume, cancellationToken);
            }

            LogLine(logger, Started);
            await notifications.PublishUpdateAsync(this, row => row with
            {
                State = KnownResourceStates.Running,
                StartTimeStamp = TimeProvider.System.GetUtcNow().UtcDateTime,
                Urls = [.. Address!.Split(',').Select((server, number) => new UrlSnapshot($"tcp-{number + 1}", $"tcp://{server}", IsInternal: false))],
            });
            return CommandResults.Success();
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            LogNotStarted(logger, exception);
            await notifications.PublishUpdateAsync(this, row => row with { State = KnownResourceStates.FailedToStart });
            return CommandResults.Failure(exception.Message);
        }
        finally
        {
            _gate.Release();
        }
    }

    /// <summary>Stops the server, and publishes its state.</summary>
    public async Task<ExecuteCommandResult> StopAsync(IServiceProvider services, CancellationToken cancellationToken)
    {
        var notifications = services.GetRequiredService<ResourceNotificationService>();
        var logger = services.GetRequiredService<ResourceLoggerService>().GetLogger(this);
        await _gate.WaitAsync(cancellationToken);
        try
        {
            await notifications.PublishUpdateAsync(this, row => row with { State = KnownResourceStates.Stopping });
            await Task.Run(Stop, cancellationToken);
            LogLine(logger, Stopped);
            await notifications.PublishUpdateAsync(this, row => row with { State = KnownResourceStates.Exited, StopTimeStamp = TimeProvider.System.GetUtcNow().UtcDateTime, Urls = [] });
            return CommandResults.Success();
        }
        finally
        {
            _gate.Release();
        }
    }

    [LoggerMessage(1, LogLevel.Information, "{Text}")]
    private static partial void LogLine(ILogger logger, string text);

    [LoggerMessage(2, LogLevel.Error, "Failed to start.")]
    private static partial void LogNotStarted(ILogger logger, Exception exception);

    private sealed class PendingAddress(string resource, Task<string> address) : IValueProvider, IManifestExpressionProvider
    {
        public string ValueExpression => $"{{{resource}.connectionString}}";

        public async ValueTask<string?> GetValueAsync(CancellationToken cancellationToken = default) => await address.WaitAsync(cancellationToken);
    }
}

/// <summary>Kafka inside this process.</summary>
/// <param name="name">Name of the resource and of its connection string.</param>
/// <param name="revenue">Whether it has the topic of <see cref="RevenueType"/>.</param>
internal sealed class EmbeddedKafkaResource(string name, bool revenue) : EmbeddedServerResource(name)
{
    private EmbeddedKafka? _kafka;

    protected override string Started =>
        $"{_kafka!.BrokerCount} brokers listen on {Address}. Records are kept in memory only: the newest 100,000 or 5 MiB per partition.";

    protected override string Stopped => "Brokers stopped; their records are kept.";

    public override ValueTask DisposeAsync() => _kafka?.DisposeAsync() ?? default;

    protected override async Task<string> StartAsync(CancellationToken cancellationToken) =>
        (_kafka = await EmbeddedStack.StartKafkaAsync(revenue, cancellationToken)).BootstrapServers;

    protected override void Resume() => _kafka!.MendAllBrokers();

    protected override void Stop() => _kafka!.BreakAllBrokers();
}

/// <summary>Redis inside this process.</summary>
internal sealed class EmbeddedRedisResource(string name) : EmbeddedServerResource(name)
{
    private EmbeddedRedis? _redis;

    protected override string Started => $"Listening on {Address}. Redis is empty; its data is kept in memory only.";

    protected override string Stopped => "Stopped; all data is lost.";

    public override ValueTask DisposeAsync() => _redis?.DisposeAsync() ?? default;

    protected override async Task<string> StartAsync(CancellationToken cancellationToken) =>
        (_redis = await EmbeddedRedis.StartAsync(cancellationToken: cancellationToken)).ConnectionString;

    protected override void Resume() => _redis!.Mend();

    protected override void Stop() => _redis!.Break();
}

/// <summary>Adds the embedded servers to the application.</summary>
internal static class EmbeddedServerExtensions
{
    /// <summary>Adds Kafka, with the stack's topics; that of <see cref="RevenueType"/> is one of them if the stack has the type.</summary>
    public static IResourceBuilder<EmbeddedKafkaResource> AddEmbeddedKafka(this IDistributedApplicationBuilder builder, [ResourceName] string name, bool revenue)
    {
        var kafka = new EmbeddedKafkaResource(name, revenue);
        return builder.AddEmbedded(kafka, "Embedded Kafka", checks =>
            checks.Add(new HealthCheckRegistration($"{name}_check", _ => new KafkaHealthCheck(() => kafka.Address), failureStatus: null, tags: null)));
    }

    /// <summary>Adds Redis, empty.</summary>
    public static IResourceBuilder<EmbeddedRedisResource> AddEmbeddedRedis(this IDistributedApplicationBuilder builder, [ResourceName] string name)
    {
        var redis = new EmbeddedRedisResource(name);
        return builder.AddEmbedded(redis, "Embedded Redis", checks =>
            checks.AddRedis(_ => redis.Address ?? throw new InvalidOperationException("the address is not known yet"), name: $"{name}_check"));
    }

    /// <summary>Configures a client for the embedded Kafka.</summary>
    public static IResourceBuilder<ProjectResource> WithEmbeddedKafkaSettings(this IResourceBuilder<ProjectResource> client)
    {
        foreach (var (name, value) in EmbeddedKafka.ClientSettings)
        {
            client.WithEnvironment($"Kafka__{name.Replace('.', '_')}", value);
        }

        return client;
    }

    private static IResourceBuilder<T> AddEmbedded<T>(
        this IDistributedApplicationBuilder builder, T resource, string type, Action<IHealthChecksBuilder> addCheck) where T : EmbeddedServerResource
    {
        // Created by the service container, which therefore disposes it, after every process that uses it has exited.
        builder.Services.AddKeyedSingleton<EmbeddedServerResource>(resource.Name, (_, _) => resource);
        addCheck(builder.Services.AddHealthChecks());
        return builder.AddResource(resource)
            .WithHealthCheck($"{resource.Name}_check")
            .WithInitialState(new()
            {
                ResourceType = type,
                State = KnownResourceStates.NotStarted,
                CreationTimeStamp = TimeProvider.System.GetUtcNow().UtcDateTime,
                Properties = ImmutableArray<ResourcePropertySnapshot>.Empty,
            })
            .ExcludeFromManifest()
            .OnInitializeResource(async (_, initialize, cancellationToken) =>
            {
                var server = initialize.Services.GetRequiredKeyedService<EmbeddedServerResource>(resource.Name);
                await initialize.Eventing.PublishAsync(new BeforeResourceStartedEvent(resource, initialize.Services), cancellationToken);
                if ((await server.StartAsync(initialize.Services, cancellationToken)).Success)
                {
                    await initialize.Eventing.PublishAsync(new ConnectionStringAvailableEvent(resource, initialize.Services), cancellationToken);
                }
            })
            .WithServerCommand(KnownResourceCommands.StartCommand, "Start", "Play", running: false, resource.StartAsync)
            .WithServerCommand(KnownResourceCommands.StopCommand, "Stop", "Stop", running: true, resource.StopAsync)
            .WithServerCommand(KnownResourceCommands.RestartCommand, "Restart", "ArrowCounterclockwise", running: true, async (services, cancellationToken) =>
            {
                await resource.StopAsync(services, cancellationToken);
                return await resource.StartAsync(services, cancellationToken);
            });
    }

    private static IResourceBuilder<T> WithServerCommand<T>(
        this IResourceBuilder<T> builder,
        string name,
        string displayName,
        string icon,
        bool running,
        Func<IServiceProvider, CancellationToken, Task<ExecuteCommandResult>> execute) where T : EmbeddedServerResource =>
        builder.WithCommand(name, displayName, context => execute(context.Services, context.CancellationToken), new()
        {
            IconName = icon,
            IsHighlighted = true,
            UpdateState = context => context.ResourceSnapshot.State?.Text switch
            {
                _ when context.ResourceSnapshot.State == KnownResourceStates.Running => running ? ResourceCommandState.Enabled : ResourceCommandState.Hidden,
                _ when KnownResourceStates.TerminalStates.Contains(context.ResourceSnapshot.State?.Text) => running ? ResourceCommandState.Hidden : ResourceCommandState.Enabled,
                _ => ResourceCommandState.Disabled,
            },
        });
}
