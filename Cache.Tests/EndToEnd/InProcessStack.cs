using Cache.Embedded;

namespace Cache.Tests.EndToEnd;

/// <summary>
/// The service, in this process or in its own, on its own embedded Kafka and on any Redis (by default, its own embedded one).
/// </summary>
internal sealed class InProcessStack : RunningStack
{
    private readonly EmbeddedRedis? _ownRedis;
    private readonly Dictionary<string, string> _settings;
    private ServiceInProcess? _service;
    private ServiceProcess? _process;

    private InProcessStack(EmbeddedKafka broker, EmbeddedRedis? ownRedis, string redis, IEnumerable<(string Key, string Value)> settings)
    {
        (Broker, _ownRedis, RedisAddress) = (broker, ownRedis, redis);
        _settings = new(StringComparer.OrdinalIgnoreCase)
        {
            ["ConnectionStrings:kafka"] = broker.BootstrapServers,
            ["ConnectionStrings:redis"] = redis,
            ["Kafka:fetch.wait.max.ms"] = "5",
            ["Kafka:session.timeout.ms"] = "3000",
            ["Kafka:heartbeat.interval.ms"] = "300",

            // The embedded Kafka forgets a member that waits longer than its session for others to join, and never answers it.
            // The member asks again after this time plus 3 s.
            ["Kafka:max.poll.interval.ms"] = "15000",
            ["Kafka:reconnect.backoff.ms"] = "20",
            ["Kafka:reconnect.backoff.max.ms"] = "200",
            ["cache_kafka_consumer_group"] = "cache-tests",
            ["cache_consume_from"] = "earliest",
            ["kafka_commit_interval_ms"] = "100",
        };
        foreach (var (key, value) in settings)
        {
            _settings[key] = value;
        }
    }

    public EmbeddedKafka Broker { get; }

    /// <summary>The embedded Redis, if the stack has its own.</summary>
    public EmbeddedRedis OwnRedis => _ownRedis ?? throw new InvalidOperationException("The stack was given its Redis.");

    public ServiceInProcess Service => _service ?? throw new InvalidOperationException("The service is not running.");

    /// <summary>The service's process, if it runs in its own.</summary>
    public ServiceProcess Process => _process ?? throw new InvalidOperationException("The service's process is not running.");

    public override HttpClient Http => _process?.Http ?? Service.Http;

    public override string KafkaAddress => Broker.BootstrapServers;

    public override string RedisAddress { get; }

    public override string KeyPrefix => _settings.GetValueOrDefault("redis_key_prefix", "");

    public override string Group => _settings["cache_kafka_consumer_group"];

    public override string DeadLetterTopic => _settings.GetValueOrDefault("cache_dead_letter_topic", base.DeadLetterTopic);

    public override string Log => _service?.RecentLog ?? _process?.Output ?? "";

    /// <summary>Starts a stack with its topics, which have two partitions each.</summary>
    /// <param name="redis">The address of a running Redis; null for an embedded one.</param>
    /// <param name="settings">Further keys of the service's configuration; they override the defaults.</param>
    public static async Task<InProcessStack> StartAsync(string? redis = null, params (string Key, string Value)[] settings)
    {
        var stack = await PrepareAsync(redis, settings);
        try
        {
            await stack.StartServiceAsync();
            return stack;
        }
        catch
        {
            await stack.DisposeAsync();
            throw;
        }
    }

    /// <summary>Like <see cref="StartAsync"/>, but does not start the service.</summary>
    public static async Task<InProcessStack> PrepareAsync(string? redis = null, params (string Key, string Value)[] settings)
    {
        var own = redis is null ? await EmbeddedRedis.StartAsync() : null;
        var stack = await PrepareWithoutTopicsAsync(redis ?? own!.ConnectionString, own, settings);
        stack.Broker.CreateTopic(Rows.Events, partitions: 2);
        stack.Broker.CreateTopic(Rows.Performance, partitions: 2);
        stack.Broker.CreateTopic(stack.DeadLetterTopic is "" ? "unused" : stack.DeadLetterTopic, partitions: 1);
        return stack;
    }

    /// <summary>Prepares a stack without topics, and does not start the service.</summary>
    public static async Task<InProcessStack> PrepareWithoutTopicsAsync(
        string redis, EmbeddedRedis? own = null, params (string Key, string Value)[] settings) =>
        new(await EmbeddedKafka.StartAsync(), own, redis, settings);

    /// <summary>The service's configuration.</summary>
    public IReadOnlyDictionary<string, string> Settings => _settings;

    public void Set(string key, string value) => _settings[key] = value;

    /// <summary>Starts the service in its own process, in place of one that has ended.</summary>
    /// <param name="under">A program to start it with; see <see cref="ServiceProcess.StartUnderAsync"/>.</param>
    public async Task StartProcessAsync(params string[] under)
    {
        if (_process is not null)
        {
            await _process.DisposeAsync();
        }

        _process = await ServiceProcess.StartUnderAsync(under, _settings);
    }

    public async Task StartServiceAsync() => _service = await ServiceInProcess.StartAsync(_settings);

    /// <summary>Stops the service as SIGTERM does.</summary>
    public async Task StopServiceAsync()
    {
        await Service.DisposeAsync();
        _service = null;
    }

    /// <summary>Starts another service in the same group.</summary>
    public Task<ServiceInProcess> StartAnotherServiceAsync() => ServiceInProcess.StartAsync(_settings);

    /// <inheritdoc/>
    public override async Task RestartServiceAsync()
    {
        await StopServiceAsync();
        await StartServiceAsync();
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        if (_service is not null)
        {
            await _service.DisposeAsync();
        }

        if (_process is not null)
        {
            await _process.DisposeAsync();
        }

        await Broker.DisposeAsync();
        if (_ownRedis is not null)
        {
            await _ownRedis.DisposeAsync();
        }
    }
}
