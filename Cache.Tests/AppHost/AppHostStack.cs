using System.Collections.Concurrent;
using System.Globalization;
using System.Text.Json;
using System.Text.RegularExpressions;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Aspire.Hosting.Testing;
using Cache.Tests.EndToEnd;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Cache.Tests.AppHost;

/// <summary>The AppHost's Kafka, Redis, service and simulator, started as <c>dotnet run</c> starts them.</summary>
internal sealed partial class AppHostStack : RunningStack
{
    private static readonly TimeSpan StartTimeout = TimeSpan.FromMinutes(3);

    // Tools for people only.
    private static readonly string[] LeftOut = ["kafka-ui", "redisinsight"];

    private readonly DistributedApplication _app;
    private readonly Lines _log;

    private AppHostStack(DistributedApplication app, Lines log, string kafka, string redis)
    {
        (_app, _log, KafkaAddress, RedisAddress) = (app, log, kafka, redis);

        // Not Aspire's own client, which retries on its own.
        Http = new HttpClient { BaseAddress = app.GetEndpoint("cache", "http"), Timeout = TestTimeout.Full };
    }

    public override HttpClient Http { get; }

    public override string KafkaAddress { get; }

    public override string RedisAddress { get; }

    public override string Log => _log.ToString();

    /// <summary>What the AppHost itself has logged since its start, without Aspire and the resources.</summary>
    public IReadOnlyCollection<string> OwnLog => _log.Own;

    /// <summary>The login address of the dashboard; null unless requested.</summary>
    public Uri? Dashboard { get; private init; }

    /// <summary>Starts a stack and waits until the service is ready.</summary>
    /// <param name="options">Where Kafka and Redis run, and what else the command line says. Every test says where.</param>
    /// <param name="dashboard">Whether the dashboard runs, too.</param>
    /// <param name="settings">Keys of the service's configuration.</param>
    public static async Task<AppHostStack> StartAsync(string[] options, bool dashboard = false, params (string Key, string Value)[] settings)
    {
        // The orchestrator must not inherit what other tests have open, either.
        ChildProcess.InheritNothing();
        using var deadline = new CancellationTokenSource(StartTimeout);
        var log = new Lines();
        var builder = await DistributedApplicationTestingBuilder.CreateAsync<Projects.Cache_AppHost>(
            options, (application, _) => application.DisableDashboard = !dashboard, deadline.Token);
        builder.Services.AddLogging(logging => logging.ClearProviders().AddProvider(log));
        foreach (var resource in builder.Resources.Where(resource => LeftOut.Contains(resource.Name)).ToList())
        {
            builder.Resources.Remove(resource);
        }

        // Volumes would keep data from one run to the next.
        foreach (var resource in builder.Resources)
        {
            foreach (var mount in resource.Annotations.OfType<ContainerMountAnnotation>().Where(mount => mount.Type == ContainerMountType.Volume).ToList())
            {
                resource.Annotations.Remove(mount);
            }
        }

        var cache = builder.CreateResourceBuilder((ProjectResource)builder.Resources.Single(resource => resource.Name == "cache"));
        cache.WithEnvironment("cache_consume_from", "earliest").WithEnvironment("kafka_commit_interval_ms", "100");
        foreach (var (key, value) in settings)
        {
            cache.WithEnvironment(key.Replace(":", "__", StringComparison.Ordinal), value);
        }

        DistributedApplication? app = null;
        try
        {
            app = await builder.BuildAsync(deadline.Token);
            await app.StartAsync(deadline.Token);
            await app.ResourceNotifications.WaitForResourceHealthyAsync("cache", deadline.Token);
            return new(
                app,
                log,
                await app.GetConnectionStringAsync("kafka", deadline.Token) ?? throw new InvalidOperationException("No address of Kafka."),
                await app.GetConnectionStringAsync("redis", deadline.Token) ?? throw new InvalidOperationException("No address of Redis."))
            {
                Dashboard = dashboard ? new Uri(Login().Match(log.ToString()).Groups[1].Value) : null,
            };
        }
        catch
        {
            TestContext.Current.TestOutputHelper?.WriteLine(log.ToString());
            if (app is not null)
            {
                await app.DisposeAsync();
            }

            throw;
        }
    }

    /// <summary>A resource of the model.</summary>
    public IResource Find(string resource) =>
        _app.Services.GetRequiredService<DistributedApplicationModel>().Resources.Single(candidate => candidate.Name == resource);

    /// <summary>Executes a resource's command, as the dashboard and the Aspire CLI do, and asserts that it succeeds.</summary>
    public async Task CommandAsync(string resource, string command)
    {
        var result = await _app.ResourceCommands.ExecuteCommandAsync(Find(resource), command, TestContext.Current.CancellationToken).WaitAsync(StartTimeout);
        Assert.True(result.Success, $"{resource} {command}: {result.Message}");
    }

    /// <summary>Waits until a resource is in a state.</summary>
    public Task StateAsync(string resource, string state) =>
        _app.ResourceNotifications.WaitForResourceAsync(resource, state, TestContext.Current.CancellationToken).WaitAsync(Eventually.TestTimeout);

    /// <summary>The environment that a project is started with.</summary>
    public async Task<Dictionary<string, string>> EnvironmentAsync(string project) =>
        await AppHostModel.EnvironmentAsync(Find(project), _app.Services.GetRequiredService<DistributedApplicationExecutionContext>());

    public override async Task RestartServiceAsync()
    {
        await CommandAsync("cache", KnownResourceCommands.RestartCommand);
        await _app.ResourceNotifications.WaitForResourceHealthyAsync("cache").WaitAsync(StartTimeout);

        // It is healthy as soon as one replica is.
        await Eventually.HoldsAsync(() => PipelinesAsync(Find("cache").GetReplicaCount()));
    }

    /// <summary>What each replica reports on <c>/pipeline</c>, by process id.</summary>
    /// <param name="replicas">How many there have to be.</param>
    public async Task<Dictionary<int, JsonElement>> PipelinesAsync(int replicas)
    {
        // The proxy alternates between them per connection.
        var found = new Dictionary<int, JsonElement>();
        for (var attempt = 0; attempt < 20 && found.Count < replicas; attempt++)
        {
            using var client = new HttpClient { BaseAddress = Http.BaseAddress, Timeout = TimeSpan.FromSeconds(5) };
            var pipeline = JsonElement.Parse(await client.GetStringAsync(new Uri("/pipeline", UriKind.Relative)));
            found[int.Parse(pipeline.GetProperty("instance").GetString()!.Split('/')[^1], CultureInfo.InvariantCulture)] = pipeline;
        }

        Assert.Equal(replicas, found.Count);
        return found;
    }

    /// <summary>Waits until a replica of the service has ended, and starts it again.</summary>
    public async Task StartEndedReplicaAsync()
    {
        using var deadline = new CancellationTokenSource(Eventually.TestTimeout);
        await foreach (var replica in _app.ResourceNotifications.WatchAsync(deadline.Token))
        {
            if (replica.Resource.Name == "cache" && KnownResourceStates.TerminalStates.Contains(replica.Snapshot.State?.Text))
            {
                Assert.True((await _app.ResourceCommands.ExecuteCommandAsync(replica.ResourceId, KnownResourceCommands.StartCommand, deadline.Token)).Success);
                return;
            }
        }
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        Http.Dispose();
        await _app.DisposeAsync();
    }

    [GeneratedRegex(@"Login to the dashboard at (http://\S+)")]
    private static partial Regex Login();

    /// <summary>What the AppHost logs, the resources' own output included.</summary>
    private sealed class Lines : ILoggerProvider
    {
        private const int Most = 500;

        private readonly ConcurrentQueue<string> _lines = new();

        public ConcurrentQueue<string> Own { get; } = new();

        public ILogger CreateLogger(string categoryName) => new Logger(this, categoryName);

        public void Dispose()
        {
        }

        public override string ToString() => string.Join(Environment.NewLine, _lines);

        private void Add(string line)
        {
            _lines.Enqueue(line);
            while (_lines.Count > Most)
            {
                _lines.TryDequeue(out _);
            }
        }

        private sealed class Logger(Lines owner, string category) : ILogger
        {
            public IDisposable? BeginScope<TState>(TState state) where TState : notnull => null;

            public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Information;

            public void Log<TState>(
                LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
            {
                if (IsEnabled(logLevel))
                {
                    owner.Add($"{logLevel} {category}: {formatter(state, exception)} {exception}");
                    if (category == "Cache.AppHost")
                    {
                        owner.Own.Enqueue(formatter(state, exception));
                    }
                }
            }
        }
    }
}
