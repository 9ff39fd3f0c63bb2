using System.Text.Json;
using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Options;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Benchmarks;

/// <summary>
/// The cost of consuming without the product. Each baseline runs in its own process, with its consumer configured like the
/// product's: <c>client</c> only consumes; <c>decode</c> consumes through the product's decoder, in the client's own memory, and
/// drops the rows, which is the least the job can cost; <c>seed</c> does the job naively: batches of 50 with HSET, EXPIRE and ZADD
/// per row, then a trim and a commit.
/// </summary>
internal static class BareConsumer
{
    private const int SeedBatch = 50;
    private const int SeedRetention = 120;

    /// <summary>Printed once partitions are assigned, by the product as well; from then on, rows are read.</summary>
    public const string Assigned = "partitions assigned";

    /// <summary>Printed once this many rows in total are done.</summary>
    public static string Through(long rows) => $"all {rows} rows done";

    /// <summary>Runs until it is killed.</summary>
    /// <param name="side"><c>client</c>, <c>decode</c> or <c>seed</c>.</param>
    /// <param name="bootstrapServers">The broker.</param>
    /// <param name="topic">The topic with the rows.</param>
    /// <param name="group">The consumer group.</param>
    /// <param name="rows">The number of rows after which it reports progress, each time.</param>
    /// <param name="redisPort">The port of Redis.</param>
    /// <param name="fetchWaitMs">Its <c>fetch.wait.max.ms</c>.</param>
    public static async Task RunAsync(string side, string bootstrapServers, string topic, string group, long rows, int redisPort, int fetchWaitMs)
    {
        var config = new ConsumerConfig { BootstrapServers = bootstrapServers };
        var options = new CacheOptions { KafkaBootstrapServers = bootstrapServers, ConsumerGroup = group };
        KafkaClients.Configure(config, options);
        config.SessionTimeoutMs = Side.SuspendedSessionMs;
        config.FetchWaitMaxMs = fetchWaitMs;
        switch (side)
        {
            case "client":
                Consume(new ConsumerBuilder<byte[]?, byte[]?>(config), topic, rows);
                break;

            case "decode":
                var deserializer = new RowDeserializer(options, TimeProvider.System);
                Consume(new ConsumerBuilder<RowKey, Row>(config).SetKeyDeserializer(deserializer).SetValueDeserializer(deserializer), topic, rows);
                break;

            default:
                await SeedAsync(new ConsumerBuilder<byte[]?, byte[]?>(config), topic, rows, redisPort);
                break;
        }
    }

    private static IConsumer<TKey, TValue> Subscribe<TKey, TValue>(ConsumerBuilder<TKey, TValue> builder, string topic)
    {
        var consumer = builder.SetPartitionsAssignedHandler((_, partitions) =>
        {
            Console.WriteLine($"{partitions.Count} {Assigned}");
            return partitions.Select(partition => new TopicPartitionOffset(partition, Offset.Beginning));
        }).Build();
        consumer.Subscribe(topic);
        return consumer;
    }

    private static void Consume<TKey, TValue>(ConsumerBuilder<TKey, TValue> builder, string topic, long rows)
    {
        var consumer = Subscribe(builder, topic);
        for (long row = 0; ;)
        {
            if (consumer.Consume(100) is { IsPartitionEOF: false } && ++row % rows == 0)
            {
                Print(row);
            }
        }
    }

    private static async Task SeedAsync(ConsumerBuilder<byte[]?, byte[]?> builder, string topic, long rows, int redisPort)
    {
        await using var redis = await ConnectionMultiplexer.ConnectAsync($"127.0.0.1:{redisPort}");
        var database = redis.GetDatabase();
        var consumer = Subscribe(builder, topic);
        var batch = new List<ConsumeResult<byte[]?, byte[]?>>(SeedBatch);
        for (long row = 0; ;)
        {
            if (consumer.Consume(100) is not { IsPartitionEOF: false } result)
            {
                continue;
            }

            row++;
            batch.Add(result);
            if (batch.Count == SeedBatch || row % rows == 0)
            {
                await WriteAsync(database, batch);
                consumer.Commit(batch.GroupBy(read => read.TopicPartition).Select(reads => new TopicPartitionOffset(reads.Key, reads.Last().Offset + 1)));
                batch.Clear();
            }

            if (row % rows == 0)
            {
                Print(row);
            }
        }
    }

    private static void Print(long rows) => Console.WriteLine($"{Through(rows)}: allocated={GC.GetTotalAllocatedBytes()}");

    private static async Task WriteAsync(IDatabase database, List<ConsumeResult<byte[]?, byte[]?>> rows)
    {
        const string Index = "seed:event:windows";
        var pipeline = database.CreateBatch();
        var replies = new List<Task>();
        foreach (var row in rows)
        {
            using var json = JsonDocument.Parse(row.Message.Value);
            var window = json.RootElement.GetProperty("window_start").GetInt64();
            var type = json.RootElement.GetProperty("event_type").GetString();
            var key = $"seed:event:{window}";
            replies.Add(pipeline.HashSetAsync(key,
            [
                new($"{type}.count", json.RootElement.GetProperty("event_count").GetInt64()),
                new($"{type}.users", json.RootElement.GetProperty("user_count").GetInt64()),
            ]));
            replies.Add(pipeline.KeyExpireAsync(key, TimeSpan.FromHours(6)));
            replies.Add(pipeline.SortedSetAddAsync(Index, window, window));
        }

        replies.Add(pipeline.SortedSetRemoveRangeByRankAsync(Index, 0, -SeedRetention - 1));
        pipeline.Execute();
        await Task.WhenAll(replies);
    }
}
