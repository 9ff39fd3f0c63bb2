using System.Diagnostics;
using System.Globalization;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Benchmarks;

/// <summary>
/// One side of a comparison of consumers: the service, several replicas of it, or a <see cref="BareConsumer"/>, with its own consumer
/// group and its own redis-server. Between its turns, a side is suspended (SIGSTOP). This way all sides are warm, read the same
/// rows, and have the machine to themselves.
/// </summary>
internal sealed class Side : IAsyncDisposable
{
    /// <summary>The service that is measured: that of this build, or one in a folder of its own.</summary>
    public static string Service { get; private set; } = "Cache.Service.dll";

    /// <summary>Settings of a service that is suspended between its turns: Kafka must not take that for a crash.</summary>
    public static readonly string[] Suspended = ["--Kafka:session.timeout.ms", Text(SuspendedSessionMs)];

    /// <summary>The <c>session.timeout.ms</c> of sides that are suspended between their turns.</summary>
    public const int SuspendedSessionMs = 45_000;

    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(5);
    private static int _groups;

    private readonly ServerProcess _redisServer;
    private readonly List<ServerProcess> _processes = [];
    private string[] _arguments = [];
    private readonly IConsumer<Ignore, Ignore> _watcher;
    private readonly List<TopicPartition> _partitions;
    private readonly string _group;

    private Side(Broker broker, ServerProcess redisServer, ConnectionMultiplexer redis)
    {
        (_redisServer, Redis) = (redisServer, redis);
        _group = $"{broker.Topic}_{Interlocked.Increment(ref _groups)}";
        _watcher = new ConsumerBuilder<Ignore, Ignore>(new ConsumerConfig { BootstrapServers = broker.BootstrapServers, GroupId = _group }).Build();
        _partitions = [.. Enumerable.Range(0, broker.Partitions).Select(partition => new TopicPartition(broker.Topic, partition))];
    }

    /// <summary>The cost of a turn.</summary>
    internal readonly record struct Turn(TimeSpan Elapsed, TimeSpan Cpu);

    /// <summary>A connection to its Redis.</summary>
    public ConnectionMultiplexer Redis { get; }

    /// <summary>The process; the first one if there are several.</summary>
    public ServerProcess Process => _processes[0];

    /// <summary>When the last of its processes got its first partitions (<see cref="Stopwatch.GetTimestamp"/>).</summary>
    public long AssignedAt { get; private set; }

    /// <summary>Measures the service of a folder, such as a published one.</summary>
    /// <exception cref="InvalidOperationException">There is none.</exception>
    public static void MeasureServiceOf(string folder)
    {
        Service = Path.GetFullPath(Path.Combine(folder, Service));
        if (!File.Exists(Service))
        {
            throw new InvalidOperationException($"There is no {Service}.");
        }
    }

    /// <summary>Starts a baseline, which reports progress after every <paramref name="rows"/> rows.</summary>
    /// <param name="broker">The broker.</param>
    /// <param name="name">The baseline.</param>
    /// <param name="rows">The rows between two reports.</param>
    /// <param name="fetchWaitMs">Its <c>fetch.wait.max.ms</c>.</param>
    public static async Task<Side> StartBareAsync(Broker broker, string name, long rows, int fetchWaitMs = 500)
    {
        var side = await ConnectAsync(broker);
        await side.AddAsync(ServerProcess.Start("Cache.Benchmarks.dll", "consume", name, broker.BootstrapServers, broker.Topic, side._group, Text(rows), Text(side._redisServer.Port), Text(fetchWaitMs)));
        return side;
    }

    /// <summary>Starts the service, and waits until its partitions are assigned.</summary>
    /// <param name="broker">The broker.</param>
    /// <param name="replicas">Number of replicas.</param>
    /// <param name="arguments">Further settings.</param>
    public static Task<Side> StartServiceAsync(Broker broker, int replicas = 1, params string[] arguments) => StartBuildAsync(Service, broker, replicas, arguments);

    /// <summary>Starts any build of the service, and waits until its partitions are assigned.</summary>
    /// <param name="program">The program.</param>
    /// <param name="broker">The broker.</param>
    /// <param name="replicas">Number of replicas.</param>
    /// <param name="arguments">Further settings.</param>
    public static async Task<Side> StartBuildAsync(string program, Broker broker, int replicas, string[] arguments)
    {
        var side = await ConnectAsync(broker);
        side._arguments =
        [
            "--urls", "http://127.0.0.1:0", .. broker.ServiceArguments, "--ConnectionStrings:redis", $"127.0.0.1:{side._redisServer.Port}",
            "--cache_kafka_consumer_group", side._group, .. arguments,
        ];
        for (var replica = 0; replica < replicas; replica++)
        {
            await side.AddAsync(await ServerProcess.StartAsync(program, side._arguments));
        }

        return side;
    }

    /// <summary>Kills the service (SIGKILL).</summary>
    public async Task KillAsync()
    {
        await Process.DisposeAsync();
        _processes.RemoveAt(0);
    }

    /// <summary>Starts the service of this build again, without waiting for its partitions.</summary>
    public async Task RestartAsync() => _processes.Insert(0, await ServerProcess.StartAsync(Service, _arguments));

    /// <summary>Suspends it until its turn.</summary>
    public void Hold() => _processes.ForEach(process => process.Signal("STOP"));

    /// <summary>Gives a service its turn, until all rows produced so far are written and committed.</summary>
    /// <param name="rows">The number of those rows.</param>
    public Task<Turn> CommitAsync(long rows) => TakeTurnAsync(async () =>
    {
        await CommittedAsync(rows);
        return Stopwatch.GetTimestamp();
    });

    /// <summary>Gives a baseline its turn, until it has consumed all rows produced so far.</summary>
    /// <param name="rows">The number of those rows.</param>
    public Task<Turn> ReadAsync(long rows) => TakeTurnAsync(async () => (await Process.LineAsync(BareConsumer.Through(rows))).At);

    /// <summary>Waits until a number of rows is committed.</summary>
    /// <exception cref="InvalidOperationException">They were not committed within minutes.</exception>
    public async Task CommittedAsync(long rows)
    {
        var started = Stopwatch.GetTimestamp();
        long committed;
        while ((committed = _watcher.Committed(_partitions, Timeout).Sum(offset => Math.Max(0, offset.Offset.Value))) < rows)
        {
            if (Stopwatch.GetElapsedTime(started) > Timeout)
            {
                throw new InvalidOperationException($"Only {committed} of {rows} rows were committed after {Timeout}.");
            }

            await Task.Delay(Pace, TimeProvider.System, CancellationToken.None);
        }
    }

    /// <summary>Checks that Redis has the value of the last row.</summary>
    /// <param name="rows">Number of rows produced.</param>
    /// <param name="dimensions">Dimensions per window.</param>
    /// <exception cref="InvalidOperationException">It does not, so the measured work is not the job.</exception>
    public async Task RequireLastAsync(long rows, int dimensions = 4)
    {
        var last = rows - 1;
        var (window, field) = (BenchmarkRows.WindowOf(last, dimensions), $"{BenchmarkRows.DimensionOf(last, dimensions)}.count");
        var count = (long?)await Redis.GetDatabase().HashGetAsync($"metrics:event:{window}", field);
        if (count != BenchmarkRows.CountOf(last, dimensions))
        {
            throw new InvalidOperationException($"Redis has {field} = {count} in window {window} instead of {BenchmarkRows.CountOf(last, dimensions)}.");
        }
    }

    /// <summary>Checks that Redis has as many windows as retention keeps.</summary>
    /// <exception cref="InvalidOperationException">It does not.</exception>
    public async Task RequireWindowsAsync(long windows)
    {
        if (await Redis.GetDatabase().SortedSetLengthAsync("metrics:event:windows") is var actual && actual != windows)
        {
            throw new InvalidOperationException($"Redis has {actual} windows instead of {windows}.");
        }
    }

    public async ValueTask DisposeAsync()
    {
        await Task.WhenAll(_processes.Select(process => process.DisposeAsync().AsTask()));
        _watcher.Dispose();
        await Redis.DisposeAsync();
        await _redisServer.DisposeAsync();
    }

    private static async Task<Side> ConnectAsync(Broker broker)
    {
        var redis = await ServerProcess.StartRedisAsync();
        return new(broker, redis, await ConnectionMultiplexer.ConnectAsync($"127.0.0.1:{redis.Port}"));
    }

    private async Task AddAsync(ServerProcess process)
    {
        _processes.Add(process);
        AssignedAt = (await process.LineAsync(BareConsumer.Assigned)).At;
    }

    private async Task<Turn> TakeTurnAsync(Func<Task<long>> done)
    {
        var (cpu, began) = (Cpu(), Stopwatch.GetTimestamp());
        _processes.ForEach(process => process.Signal("CONT"));
        var ended = await done();
        Hold();
        return new(Stopwatch.GetElapsedTime(began, ended), Cpu() - cpu);
    }

    private TimeSpan Cpu() => new(_processes.Sum(process => process.Cpu.Ticks));

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
