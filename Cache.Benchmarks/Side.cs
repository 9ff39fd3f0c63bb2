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
    /// <summary>The service of this build.</summary>
    public const string Service = "Cache.Service.dll";

    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(5);
    private static int _groups;

    private readonly ServerProcess _kafka;
    private readonly ServerProcess _redisServer;
    private readonly List<ServerProcess> _processes = [];
    private readonly IConsumer<Ignore, Ignore> _watcher;
    private readonly List<TopicPartition> _partitions;
    private readonly string _group = $"bench-{Interlocked.Increment(ref _groups)}";

    private Side(ServerProcess kafka, ServerProcess redisServer, ConnectionMultiplexer redis)
    {
        (_kafka, _redisServer, Redis) = (kafka, redisServer, redis);
        _watcher = new ConsumerBuilder<Ignore, Ignore>(new ConsumerConfig { BootstrapServers = BootstrapServers, GroupId = _group }).Build();
        using var admin = new DependentAdminClientBuilder(_watcher.Handle).Build();
        _partitions = admin.GetMetadata(BenchmarkRows.Topic, Timeout).Topics[0].Partitions.ConvertAll(partition => new TopicPartition(BenchmarkRows.Topic, partition.PartitionId));
    }

    /// <summary>The cost of a turn.</summary>
    internal readonly record struct Turn(TimeSpan Elapsed, TimeSpan Cpu);

    /// <summary>The address of the broker.</summary>
    public string BootstrapServers => $"127.0.0.1:{_kafka.Port}";

    /// <summary>A connection to its Redis.</summary>
    public ConnectionMultiplexer Redis { get; }

    /// <summary>The process; the first one if there are several.</summary>
    public ServerProcess Process => _processes[0];

    /// <summary>Starts a baseline, which reports progress after every <paramref name="rows"/> rows.</summary>
    public static async Task<Side> StartBareAsync(ServerProcess kafka, string name, long rows)
    {
        var side = await ConnectAsync(kafka);
        await side.AddAsync(ServerProcess.Start("Cache.Benchmarks.dll", "consume", name, side.BootstrapServers, side._group, Text(rows), Text(side._redisServer.Port)));
        return side;
    }

    /// <summary>Starts the service, and waits until its partitions are assigned.</summary>
    /// <param name="kafka">The broker.</param>
    /// <param name="replicas">Number of replicas.</param>
    /// <param name="arguments">Further settings.</param>
    public static Task<Side> StartServiceAsync(ServerProcess kafka, int replicas = 1, params string[] arguments) => StartBuildAsync(Service, kafka, replicas, arguments);

    /// <summary>Starts any build of the service, and waits until its partitions are assigned.</summary>
    /// <param name="program">The program.</param>
    /// <param name="kafka">The broker.</param>
    /// <param name="replicas">Number of replicas.</param>
    /// <param name="arguments">Further settings.</param>
    public static async Task<Side> StartBuildAsync(string program, ServerProcess kafka, int replicas, string[] arguments)
    {
        var side = await ConnectAsync(kafka);
        for (var replica = 0; replica < replicas; replica++)
        {
            await side.AddAsync(await ServerProcess.StartAsync(
                program,
                [
                    "--urls", "http://127.0.0.1:0", "--ConnectionStrings:kafka", side.BootstrapServers,
                    "--ConnectionStrings:redis", $"127.0.0.1:{side._redisServer.Port}",
                    "--cache_kafka_consumer_group", side._group, "--cache_kafka_topics", BenchmarkRows.Topic, .. arguments,
                ]));
        }

        return side;
    }

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

    private static async Task<Side> ConnectAsync(ServerProcess kafka)
    {
        var redis = await ServerProcess.StartRedisAsync();
        return new(kafka, redis, await ConnectionMultiplexer.ConnectAsync($"127.0.0.1:{redis.Port}"));
    }

    private async Task AddAsync(ServerProcess process)
    {
        _processes.Add(process);
        await process.LineAsync(BareConsumer.Assigned);
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
