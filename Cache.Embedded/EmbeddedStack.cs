using System.Globalization;
using System.Net.Sockets;
using Cache.Producer.Simulator;
using Cache.Service.Options;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Cache.Embedded;

/// <summary>Kafka, Redis, the service and the simulator in one process.</summary>
public sealed class EmbeddedStack : IAsyncDisposable
{
    private const int Brokers = 3;
    private const int Partitions = 6;
    private const string SessionTopic = "session_metrics";
    private static readonly string[] WindowTopics = ["event_metrics", "performance_metrics"];

    /// <summary>The stack promises to stop within this time, on a busy machine as well.</summary>
    internal static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(10);

    // Their sum stays below StopTimeout.
    private static readonly TimeSpan SimulatorStop = TimeSpan.FromSeconds(2);
    private static readonly TimeSpan ServiceStop = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan ServersStop = TimeSpan.FromSeconds(2);

    private WebApplication? _service;
    private IHost? _simulator;

    private EmbeddedStack(EmbeddedKafka kafka, EmbeddedRedis redis)
    {
        Kafka = kafka;
        Redis = redis;
    }

    /// <summary>The topics to which the simulator writes; none without it.</summary>
    public IReadOnlyList<string> Topics { get; private set; } = [];

    /// <summary>The Kafka of the service and the simulator.</summary>
    public EmbeddedKafka Kafka { get; }

    /// <summary>The Redis of the service.</summary>
    public EmbeddedRedis Redis { get; }

    /// <summary>The service's first address, as reachable from this machine.</summary>
    public Uri ServiceUri { get; private set; } = new(StackOptions.DefaultUrls);

    /// <summary>A key for the service's data; null if none is needed.</summary>
    public string? ApiKey { get; private set; }

    /// <summary>Cancelled when the service stops, on its own or on a signal.</summary>
    public CancellationToken ServiceStopping { get; private set; }

    /// <summary>Starts all parts; the service may not be ready yet.</summary>
    /// <param name="options">The options from the command line.</param>
    /// <param name="cancellationToken">Cancels the start.</param>
    /// <exception cref="StackException">A port is in use, or the configuration is invalid.</exception>
    public static async Task<EmbeddedStack> StartAsync(StackOptions options, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(options);
        var kafkaStarts = StartKafkaAsync(options.Revenue, CancellationToken.None);
        EmbeddedRedis redis;
        try
        {
            redis = await EmbeddedRedis.StartAsync(options.RedisPort, cancellationToken: CancellationToken.None);
        }
        catch (IOException e)
        {
            await (await kafkaStarts).DisposeAsync();
            throw new StackException(e.Message, e);
        }

        var stack = new EmbeddedStack(await kafkaStarts, redis);
        try
        {
            await stack.StartServiceAsync(options, cancellationToken);
            if (options.Simulator)
            {
                await stack.StartSimulatorAsync(options, cancellationToken);
            }

            return stack;
        }
        catch
        {
            await stack.DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts a Kafka with the topics of the stack.</summary>
    /// <param name="revenue">Whether the topic of <see cref="RevenueType"/> is one of them.</param>
    /// <param name="cancellationToken">Cancels the start, until it has begun.</param>
    public static async Task<EmbeddedKafka> StartKafkaAsync(bool revenue = false, CancellationToken cancellationToken = default)
    {
        var kafka = await EmbeddedKafka.StartAsync(Brokers, cancellationToken);
        foreach (var topic in (string[])[.. WindowTopics, SessionTopic, "cache_dead_letters", .. revenue ? [RevenueType.Topic] : Array.Empty<string>()])
        {
            kafka.CreateTopic(topic, Partitions);
        }

        return kafka;
    }

    /// <summary>Stops the simulator, the service, then Redis and Kafka, each within its share of 9 s.</summary>
    /// <returns>The parts that did not stop in time; normally none.</returns>
    public async Task<IReadOnlyList<string>> StopAsync()
    {
        var late = new List<string>();
        if (_simulator is { } simulator)
        {
            _simulator = null;
            await WithinAsync("simulator", SimulatorStop, token => StopHostAsync(simulator, token));
        }

        if (_service is { } service)
        {
            _service = null;
            await WithinAsync("service", ServiceStop, token => StopHostAsync(service, token));
        }

        await WithinAsync("Redis and Kafka", ServersStop, async _ =>
        {
            await Redis.DisposeAsync();
            await Kafka.DisposeAsync();
        });
        return late;

        async Task WithinAsync(string part, TimeSpan limit, Func<CancellationToken, Task> stop)
        {
            using var deadline = new CancellationTokenSource(limit);
            try
            {
                // On another thread: closing a consumer blocks, and can exceed its time limit.
                await Task.Run(() => stop(deadline.Token), CancellationToken.None).WaitAsync(limit);
            }
            catch (Exception e) when (e is TimeoutException or OperationCanceledException)
            {
                late.Add(part);
            }
        }
    }

    /// <summary>Stops all parts.</summary>
    public async ValueTask DisposeAsync() => await StopAsync();

    private static async Task StopHostAsync(IHost host, CancellationToken cancellationToken)
    {
        await host.StopAsync(cancellationToken);
        if (host is IAsyncDisposable disposable)
        {
            await disposable.DisposeAsync();
        }
        else
        {
            host.Dispose();
        }
    }

    private static string[] Quiet(string connection) =>
    [
        connection,
        "--Logging:LogLevel:Default=Warning",
        // The host logs every exception that it also throws as an error with a stack trace; it logs a worker's crash as critical.
        "--Logging:LogLevel:Microsoft.Extensions.Hosting.Internal.Host=Critical",
        "--Logging:Console:FormatterName=simple",
        "--Logging:Console:FormatterOptions:SingleLine=true",
    ];

    private static T Configured<T>(Func<string[], T> build, string[] args)
    {
        try
        {
            return build(args);
        }
        catch (ConfigurationException e)
        {
            throw new StackException(e.Message, e);
        }
    }

    /// <summary>A client cannot connect to a wildcard address, so it becomes localhost.</summary>
    private static Uri Reachable(string url)
    {
        var uri = BindingAddress.Parse(url);
        var host = uri.Host is "*" or "+" or "0.0.0.0" or "[::]" ? "localhost" : uri.Host;
        return new UriBuilder(uri.Scheme, host.Trim('[', ']'), uri.Port, uri.PathBase).Uri;
    }

    private async Task StartServiceAsync(StackOptions options, CancellationToken cancellationToken)
    {
        // Later arguments win, so the user's come last.
        string[] args =
        [
            .. Quiet($"--ConnectionStrings:kafka={Kafka.BootstrapServers}"),
            $"--ConnectionStrings:redis={Redis.ConnectionString}",
            $"--urls={StackOptions.DefaultUrls}",
            "--cache_consume_from=earliest",
            .. EmbeddedKafka.ClientSettings.Select(setting => $"--Kafka:{setting.Key}={setting.Value}"),
            .. options.Sessions && !options.ServiceArguments.Any(IsTopics) ? [$"--cache_kafka_topics={string.Join(',', WindowTopics)},{SessionTopic}"] : Array.Empty<string>(),
            .. options.ServiceArguments,
        ];
        var service = Configured(Service.Program.Build, args);
        _service = service;
        ApiKey = service.Services.GetRequiredService<CacheOptions>().ApiKeys is [var key, ..] ? key : null;
        ServiceStopping = service.Lifetime.ApplicationStopping;
        try
        {
            await service.StartAsync(cancellationToken);
        }
        catch (IOException e) when (e.InnerException is AddressInUseException)
        {
            throw new StackException(PortInUse(Urls(service)), e);
        }
        catch (Exception e) when (e is InvalidOperationException or FormatException or IOException or SocketException)
        {
            throw new StackException($"The service cannot listen on --urls {Urls(service)}: {e.Message}", e);
        }

        if (service.Urls.FirstOrDefault() is { } url)
        {
            ServiceUri = Reachable(url);
        }
    }

    private async Task StartSimulatorAsync(StackOptions options, CancellationToken cancellationToken)
    {
        _simulator = Configured(
            Producer.Simulator.Program.Build,
            [.. Quiet($"--ConnectionStrings:kafka={Kafka.BootstrapServers}"), "--quiet=true", .. options.SimulatorArguments]);
        Topics = _simulator.Services.GetRequiredService<SimulatorOptions>().Topics;
        await _simulator.StartAsync(cancellationToken);
    }

    private static bool IsTopics(string argument) => argument.StartsWith("--cache_kafka_topics", StringComparison.OrdinalIgnoreCase);

    private static string Urls(WebApplication service) => service.Configuration["urls"] ?? StackOptions.DefaultUrls;

    private static string PortInUse(string urls)
    {
        if (urls.Contains(';', StringComparison.Ordinal))
        {
            return $"A port of {urls} is in use: stop what listens there, or choose others with --urls";
        }

        var uri = BindingAddress.Parse(urls);
        var other = uri.Port < 65535 ? uri.Port + 1 : uri.Port - 1;
        var example = string.Create(CultureInfo.InvariantCulture, $"{uri.Scheme}://{uri.Host}:{other}");
        return $"Port {uri.Port} is in use: stop what listens there, or choose another with --urls {example}";
    }
}
