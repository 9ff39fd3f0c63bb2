using System.Collections.Concurrent;
using System.Diagnostics;
using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Aspire.Hosting.Testing;
using Cache.Tests.EndToEnd;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Cache.Tests.AppHost;

/// <summary>
/// The AppHost's Kafka, Redis and service in containers and processes, all of them new: without the volumes that would keep
/// data from one run to the next, and without the simulator.
/// </summary>
internal sealed class AppHostStack : RunningStack
{
    // Images may have to be fetched first.
    private static readonly TimeSpan StartPatience = TimeSpan.FromMinutes(10);

    private static readonly string[] LeftOut = ["simulator", "simulator-rate", "kafka-ui", "redisinsight"];

    private readonly DistributedApplication _app;
    private readonly Lines _log;

    private AppHostStack(DistributedApplication app, Lines log, string kafka, string redis)
    {
        (_app, _log, KafkaAddress, RedisAddress) = (app, log, kafka, redis);
        Http = app.CreateHttpClient("cache", "http");
    }

    public override HttpClient Http { get; }

    public override string KafkaAddress { get; }

    public override string RedisAddress { get; }

    public override string Log => _log.ToString();

    public override async Task RestartServiceAsync()
    {
        var cache = _app.Services.GetRequiredService<DistributedApplicationModel>().Resources.Single(resource => resource.Name == "cache");
        var result = await _app.ResourceCommands.ExecuteCommandAsync(cache, KnownResourceCommands.RestartCommand);
        Assert.True(result.Success);
        await _app.ResourceNotifications.WaitForResourceHealthyAsync("cache");
    }

    /// <summary>Starts the stack; skips the test where no container engine answers.</summary>
    /// <param name="settings">Keys of the service's configuration.</param>
    public static async Task<AppHostStack> StartAsync(params (string Key, string Value)[] settings)
    {
        await RequireEngineAsync();
        using var deadline = new CancellationTokenSource(StartPatience);
        var log = new Lines();
        var builder = await DistributedApplicationTestingBuilder.CreateAsync<Projects.Cache_AppHost>(deadline.Token);
        builder.Services.AddLogging(logging => logging.AddProvider(log));
        foreach (var resource in builder.Resources.Where(resource => LeftOut.Contains(resource.Name)).ToList())
        {
            builder.Resources.Remove(resource);
        }

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
                await app.GetConnectionStringAsync("redis", deadline.Token) ?? throw new InvalidOperationException("No address of Redis."));
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

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        Http.Dispose();
        await _app.DisposeAsync();
    }

    /// <summary>A program named docker is not enough: an engine has to answer.</summary>
    private static async Task RequireEngineAsync() =>
        Requirement.Ask(await EngineAnswersAsync(), "no container engine answers (docker info, podman info)", "containers");

    private static async Task<bool> EngineAnswersAsync()
    {
        foreach (var engine in new[] { "docker", "podman" }.Where(engine => !Requirement.IsHidden(engine)))
        {
            try
            {
                using var process = ChildProcess.Start(engine, "info");
                process.BeginOutputReadLine();
                process.BeginErrorReadLine();
                await process.WaitForExitAsync().WaitAsync(TimeSpan.FromSeconds(20));
                if (process.ExitCode == 0)
                {
                    return true;
                }
            }
            catch (Exception exception) when (exception is System.ComponentModel.Win32Exception or TimeoutException)
            {
                // Not installed, or it does not answer.
            }
        }

        return false;
    }

    /// <summary>What the AppHost logs, the resources' own output included.</summary>
    private sealed class Lines : ILoggerProvider
    {
        private const int Most = 500;

        private readonly ConcurrentQueue<string> _lines = new();

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
                }
            }
        }
    }
}

/// <summary>The shared scenarios, on the AppHost's containers.</summary>
[Trait("needs", "containers")]
public sealed class HttpOnAppHostTests : HttpTests
{
    protected override async Task<RunningStack> StartAsync(params (string Key, string Value)[] settings) =>
        await AppHostStack.StartAsync(settings);
}
