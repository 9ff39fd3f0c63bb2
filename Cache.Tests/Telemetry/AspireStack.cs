using System.Net;
using Cache.Embedded;
using Cache.Tests.EndToEnd;

namespace Cache.Tests.Telemetry;

/// <summary>
/// Service, simulator and sample as processes, with the environment that an AppHost gives them, on an embedded Kafka, a real
/// redis-server and an OTLP receiver.
/// </summary>
internal sealed class AspireStack : IAsyncDisposable
{
    /// <summary>As Aspire makes them: 22 letters and digits.</summary>
    public const string Password = "q7Zt3wXk9LmB2vNc5RfH8d";

    public const string ApiKey = "0123456789abcdef";

    private readonly List<AspireProcess> _processes = [];

    private AspireStack(EmbeddedKafka kafka, OtlpReceiver telemetry)
    {
        Requirement.Started();
        (Kafka, Telemetry) = (kafka, telemetry);
    }

    public EmbeddedKafka Kafka { get; }

    public OtlpReceiver Telemetry { get; }

    public HttpClient Http { get; private set; } = new();

    public static async Task<AspireStack> StartAsync()
    {
        var stack = new AspireStack(await EmbeddedKafka.StartAsync(), await OtlpReceiver.StartAsync());
        foreach (var topic in new[] { "event_metrics", "performance_metrics", "cache_dead_letters" })
        {
            stack.Kafka.CreateTopic(topic);
        }

        return stack;
    }

    /// <summary>Starts the service and waits until it is ready, as the AppHost does before it starts the simulator.</summary>
    /// <param name="redis">The connection string.</param>
    /// <param name="more">Further variables, which take precedence.</param>
    public async Task<AspireProcess> StartServiceAsync(string redis, params (string Name, string Value)[] more)
    {
        var environment = Environment("cache", more);
        environment.TryAdd("ConnectionStrings__redis", redis);

        // Aspire sets these, too, under the names of the flat keys. They are unusable here, so the connection string has to win.
        environment.TryAdd("REDIS_HOST", "redis.invalid");
        environment.TryAdd("REDIS_PORT", "1");
        environment.TryAdd("REDIS_PASSWORD", "wrong");
        environment.TryAdd("REDIS_URI", "redis://:wrong@redis.invalid:1");

        // Set by the AppHost, the second one if Kafka is embedded.
        environment.TryAdd("Kafka__allow_auto_create_topics", "true");
        environment.TryAdd("Kafka__fetch_wait_max_ms", "10");
        var service = AspireProcess.StartService(environment);
        _processes.Add(service);
        Http = await service.ClientAsync();
        await EventuallyAsync(async () => (await Http.GetAsync("/readyz")).StatusCode == HttpStatusCode.OK, "ready");
        return service;
    }

    public AspireProcess StartSimulator(params (string Name, string Value)[] more)
    {
        var environment = Environment("simulator", more);
        environment.TryAdd("simulator_rate", "20");
        var simulator = AspireProcess.StartSimulator(environment);
        _processes.Add(simulator);
        return simulator;
    }

    /// <summary>Starts the sample, which reads the service.</summary>
    public AspireProcess StartSample()
    {
        var sample = AspireProcess.StartSample(Environment("sample", [("services__cache__http__0", Http.BaseAddress!.ToString())]));
        _processes.Add(sample);
        return sample;
    }

    /// <summary>Waits until something holds; the test fails when it does not within a minute.</summary>
    public static Task EventuallyAsync(Func<Task<bool>> holds, string what) =>
        Eventually.HoldsAsync(async () => Assert.True(await holds(), $"Not in time: {what}"));

    /// <summary>Waits until there is one.</summary>
    public static async Task<T> EventuallyAsync<T>(Func<T?> find, string what) where T : class
    {
        T? found = null;
        await EventuallyAsync(() => Task.FromResult((found = find()) is not null), what);
        return found!;
    }

    public async ValueTask DisposeAsync()
    {
        Http.Dispose();
        foreach (var process in _processes)
        {
            await process.DisposeAsync();
        }

        await Telemetry.DisposeAsync();
        await Kafka.DisposeAsync();
    }

    private Dictionary<string, string> Environment(string name, (string Name, string Value)[] more)
    {
        var environment = more.ToDictionary(variable => variable.Name, variable => variable.Value);
        environment.TryAdd("ConnectionStrings__kafka", Kafka.BootstrapServers);
        environment.TryAdd("KAFKA_HOST", "kafka.invalid");
        environment.TryAdd("KAFKA_PORT", "1");
        environment.TryAdd("OTEL_EXPORTER_OTLP_ENDPOINT", Telemetry.GrpcEndpoint);
        environment.TryAdd("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        environment.TryAdd("OTEL_EXPORTER_OTLP_HEADERS", $"x-otlp-api-key={ApiKey}");
        environment.TryAdd("OTEL_SERVICE_NAME", name);
        environment.TryAdd("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=bqnxrvwt");

        // In development, so that the dashboard shows at once what happens.
        environment.TryAdd("OTEL_BLRP_SCHEDULE_DELAY", "1000");
        environment.TryAdd("OTEL_BSP_SCHEDULE_DELAY", "1000");
        environment.TryAdd("OTEL_METRIC_EXPORT_INTERVAL", "1000");
        environment.TryAdd("OTEL_TRACES_SAMPLER", "always_on");
        environment.TryAdd("OTEL_METRICS_EXEMPLAR_FILTER", "trace_based");
        environment.TryAdd("OTEL_DOTNET_EXPERIMENTAL_OTLP_RETRY", "in_memory");
        return environment;
    }
}
