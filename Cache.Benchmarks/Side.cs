using System.Diagnostics;
using System.Globalization;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Benchmarks;

/// <summary>Starts consumers, each in a group of its own, and asks Kafka and Redis how far they are.</summary>
internal sealed class Side : IAsyncDisposable
{
    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(20);
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5);

    private readonly ServerProcess _redis;
    private int _groups;

    private Side(ServerProcess kafka, ServerProcess redis, ConnectionMultiplexer client)
    {
        (BootstrapServers, _redis, Redis) = ($"127.0.0.1:{kafka.Port}", redis, client);
    }

    /// <summary>Where the broker is.</summary>
    public string BootstrapServers { get; }

    /// <summary>A client of Redis.</summary>
    public ConnectionMultiplexer Redis { get; }

    private string Group => $"bench-{_groups}";

    public static async Task<Side> ConnectAsync(ServerProcess kafka, ServerProcess redis) =>
        new(kafka, redis, await ConnectionMultiplexer.ConnectAsync($"127.0.0.1:{redis.Port},allowAdmin=true"));

    /// <summary>Starts a baseline.</summary>
    public ServerProcess StartBare(string name, long rows)
    {
        _groups++;
        return ServerProcess.Start(
            "Cache.Benchmarks.dll", "consume", name, BootstrapServers, Group, rows.ToString(CultureInfo.InvariantCulture), _redis.Port.ToString(CultureInfo.InvariantCulture));
    }

    /// <summary>Starts the service, which reads from now on, as a group of its own; it has its partitions.</summary>
    public async Task<ServerProcess> StartServiceAsync(params string[] arguments)
    {
        await ClearRedisAsync();
        _groups++;
        var service = await ServerProcess.StartAsync("Cache.Service.dll", [.. ServiceArguments("latest"), .. arguments]);
        await service.LineAsync(BareConsumer.Assigned);
        return service;
    }

    /// <summary>Empties Redis, and has the service, or several of it, write a backlog.</summary>
    /// <returns>How long it took from the moment at which partitions were assigned to the last commit, and what CPU time, the start too.</returns>
    public async Task<(TimeSpan Elapsed, TimeSpan Cpu)> CatchUpAsync(long rows, int replicas = 1, params string[] arguments)
    {
        await ClearRedisAsync();
        _groups++;
        var services = Enumerable.Range(0, replicas).Select(_ => ServerProcess.Start("Cache.Service.dll", [.. ServiceArguments("earliest"), .. arguments])).ToList();
        try
        {
            var assigned = await Task.WhenAll(services.Select(service => service.LineAsync(BareConsumer.Assigned)));
            await CommittedAsync(rows);
            return (Stopwatch.GetElapsedTime(assigned.Min(line => line.At)), new(services.Sum(service => service.Cpu.Ticks)));
        }
        finally
        {
            await Task.WhenAll(services.Select(service => service.DisposeAsync().AsTask()));
        }
    }

    /// <summary>How the service is told where everything is.</summary>
    private string[] ServiceArguments(string consumeFrom) =>
    [
        "--urls", "http://127.0.0.1:0", "--ConnectionStrings:kafka", BootstrapServers, "--ConnectionStrings:redis", $"127.0.0.1:{_redis.Port}",
        "--cache_kafka_consumer_group", Group, "--cache_kafka_topics", BenchmarkRows.Topic, "--cache_consume_from", consumeFrom,
    ];

    private Task ClearRedisAsync() => Redis.GetServers()[0].FlushAllDatabasesAsync();

    /// <summary>Ends when a number of rows is committed.</summary>
    /// <exception cref="InvalidOperationException">They were not within minutes.</exception>
    public async Task CommittedAsync(long rows)
    {
        using var consumer = new ConsumerBuilder<Ignore, Ignore>(new ConsumerConfig { BootstrapServers = BootstrapServers, GroupId = Group }).Build();
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
        var database = Redis.GetDatabase();
        var windows = await database.SortedSetLengthAsync("metrics:event:windows");
        var last = rows - 1;
        var count = (long?)await database.HashGetAsync($"metrics:event:{BenchmarkRows.WindowOf(last)}", $"{BenchmarkRows.DimensionOf(last)}.count");
        if (windows != Math.Min(retention, rows / BenchmarkRows.PerWindow(4)) || count != BenchmarkRows.CountOf(last))
        {
            throw new InvalidOperationException($"Redis has {windows} windows, and {count} in the last one.");
        }
    }

    public async ValueTask DisposeAsync() => await Redis.DisposeAsync();
}
