using System.Diagnostics;
using System.Globalization;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Benchmarks;

/// <summary>
/// <c>throughput</c>: a backlog, from the moment at which partitions are assigned to the last row visible in Redis and
/// committed, against what consuming alone costs (<see cref="BareConsumer"/>).
/// </summary>
internal static class ThroughputVerb
{
    private const int Partitions = 24;
    private const int Retention = 120;

    /// <summary>One side in one round.</summary>
    internal sealed record Result(double RowsPerSecond, double CpuMicrosPerRow);

    public static async Task RunAsync(Run run)
    {
        var rows = run.Quick ? 200_000L : 1_000_000L;

        // It does some tens of thousands of rows a second: more of them tell no more.
        var seedRows = rows / 10;
        await using var kafka = await Broker.StartAsync(Partitions, rows);
        await using var redis = await ServerProcess.StartRedisAsync();
        await using var side = await Side.ConnectAsync(kafka, redis);
        var results = await Rounds.AlternateAsync(
            run.Rounds,
            ("client", () => MeasureBareAsync("client", rows)),
            ("decode", () => MeasureBareAsync("decode", rows)),
            ("service", MeasureServiceAsync),
            ("seed", () => MeasureBareAsync("seed", seedRows)));

        foreach (var (name, rounds) in results)
        {
            run.Report.Add($"throughput_{name}_rows_per_s", "rows/s", rounds.Select(result => result.RowsPerSecond));
            run.Report.Add($"throughput_{name}_cpu_us_per_row", "µs", rounds.Select(result => result.CpuMicrosPerRow));
        }

        foreach (var baseline in (string[])["client", "decode", "seed"])
        {
            run.Report.AddRatio(
                $"throughput_vs_{baseline}", results["service"].Select(result => result.RowsPerSecond), results[baseline].Select(result => result.RowsPerSecond));
        }

        async Task<Result> MeasureBareAsync(string name, long sideRows)
        {
            await using var process = side.StartBare(name, sideRows);
            var (_, assigned) = await process.LineAsync(BareConsumer.Assigned);
            var (_, done) = await process.LineAsync(BareConsumer.Done);
            return new(sideRows / Stopwatch.GetElapsedTime(assigned, done).TotalSeconds, process.Cpu.TotalMicroseconds / sideRows);
        }

        async Task<Result> MeasureServiceAsync()
        {
            await side.ClearRedisAsync();
            await using var process = side.StartService();
            var (_, assigned) = await process.LineAsync(BareConsumer.Assigned);
            await side.CommittedAsync(rows);
            var elapsed = Stopwatch.GetElapsedTime(assigned);
            var cpu = process.Cpu;
            await side.RequireWindowsAsync(rows, Retention);
            return new(rows / elapsed.TotalSeconds, cpu.TotalMicroseconds / rows);
        }
    }
}

/// <summary>Starts consumers, each in a group of its own, and asks Kafka and Redis how far they are.</summary>
internal sealed class Side : IAsyncDisposable
{
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private readonly ServerProcess _redis;
    private readonly string _bootstrapServers;
    private readonly ConnectionMultiplexer _client;
    private int _groups;

    private Side(ServerProcess kafka, ServerProcess redis, ConnectionMultiplexer client)
    {
        (_bootstrapServers, _redis, _client) = ($"127.0.0.1:{kafka.Port}", redis, client);
    }

    /// <summary>The consumer group of what was started last.</summary>
    public string Group => $"bench-{_groups}";

    public static async Task<Side> ConnectAsync(ServerProcess kafka, ServerProcess redis) =>
        new(kafka, redis, await ConnectionMultiplexer.ConnectAsync($"127.0.0.1:{redis.Port},allowAdmin=true"));

    /// <summary>Starts a baseline.</summary>
    public ServerProcess StartBare(string name, long rows)
    {
        _groups++;
        return ServerProcess.Start(
            "Cache.Benchmarks.dll", "consume", name, _bootstrapServers, Group, rows.ToString(CultureInfo.InvariantCulture), _redis.Port.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>Starts the service, which reads from the beginning, as a group of its own.</summary>
    public ServerProcess StartService(params string[] arguments)
    {
        _groups++;
        return ServerProcess.Start(
            "Cache.Service.dll", [.. ServiceArguments("earliest"), .. arguments]);
    }

    /// <summary>How the service is told where everything is.</summary>
    public string[] ServiceArguments(string consumeFrom) =>
    [
        "--urls", "http://127.0.0.1:0", "--ConnectionStrings:kafka", _bootstrapServers, "--ConnectionStrings:redis", $"127.0.0.1:{_redis.Port}",
        "--cache_kafka_consumer_group", Group, "--cache_kafka_topics", BenchmarkRows.Topic, "--cache_consume_from", consumeFrom,
    ];

    /// <summary>Empties Redis.</summary>
    public Task ClearRedisAsync() => _client.GetServers()[0].FlushAllDatabasesAsync();

    /// <summary>Ends when a number of rows is committed.</summary>
    /// <exception cref="InvalidOperationException">They were not within minutes.</exception>
    public async Task CommittedAsync(long rows)
    {
        using var consumer = new ConsumerBuilder<Ignore, Ignore>(new ConsumerConfig { BootstrapServers = _bootstrapServers, GroupId = Group }).Build();
        using var admin = new DependentAdminClientBuilder(consumer.Handle).Build();
        var partitions = admin.GetMetadata(BenchmarkRows.Topic, Patience).Topics[0].Partitions.ConvertAll(partition => new TopicPartition(BenchmarkRows.Topic, partition.PartitionId));
        var started = Stopwatch.GetTimestamp();
        long committed;
        while ((committed = consumer.Committed(partitions, Patience).Sum(offset => Math.Max(0, offset.Offset.Value))) < rows)
        {
            if (Stopwatch.GetElapsedTime(started) > Patience)
            {
                throw new InvalidOperationException($"{committed} of {rows} rows were committed after {Patience}.");
            }

            await Task.Delay(Pace, TimeProvider.System, CancellationToken.None);
        }
    }

    /// <summary>Looks that the newest windows are in Redis, and all that was said of the last one.</summary>
    /// <exception cref="InvalidOperationException">They are not: what was measured is not the job.</exception>
    public async Task RequireWindowsAsync(long rows, int retention)
    {
        var database = _client.GetDatabase();
        var windows = await database.SortedSetLengthAsync("metrics:event:windows");
        var last = rows - 1;
        var count = (long?)await database.HashGetAsync($"metrics:event:{BenchmarkRows.WindowOf(last)}", $"{BenchmarkRows.DimensionOf(last, 4)}.count");
        if (windows != Math.Min(retention, rows / BenchmarkRows.PerWindow) || count != BenchmarkRows.CountOf(last))
        {
            throw new InvalidOperationException($"Redis has {windows} windows, and {count} in the last one.");
        }
    }

    public async ValueTask DisposeAsync() => await _client.DisposeAsync();
}
