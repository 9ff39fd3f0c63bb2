using System.Globalization;
using Cache.Embedded;
using Confluent.Kafka;

namespace Cache.Benchmarks;

/// <summary>The embedded Kafka in a process of its own, with a backlog to read: the same one for every side.</summary>
internal static class Broker
{
    // A client of librdkafka's own numbers fills no faster by more.
    private const int MostInFlight = 50_000;

    /// <summary>Runs until it is killed.</summary>
    /// <param name="partitions">Partitions of the topic.</param>
    /// <param name="rows">Rows to fill it with; 0 leaves it empty.</param>
    /// <param name="dimensions">Dimensions of a window.</param>
    public static async Task RunAsync(int partitions, long rows, int dimensions)
    {
        await using var kafka = await EmbeddedKafka.StartAsync(1);
        kafka.CreateTopic(BenchmarkRows.Topic, partitions);
        kafka.CreateTopic("performance_metrics", 1);
        kafka.CreateTopic("cache_dead_letters", 1);
        if (rows > 0)
        {
            Fill(kafka.BootstrapServers, partitions, rows, dimensions);
        }

        Console.WriteLine($"Now listening on: kafka://{kafka.BootstrapServers}");
        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, CancellationToken.None);
    }

    /// <summary>Starts it in a process of its own.</summary>
    public static Task<ServerProcess> StartAsync(int partitions, long rows, int dimensions = 4) =>
        ServerProcess.StartAsync("Cache.Benchmarks.dll", "broker", Text(partitions), Text(rows), Text(dimensions));

    private static void Fill(string bootstrapServers, int partitions, long rows, int dimensions)
    {
        using (var producer = new ProducerBuilder<Null, byte[]>(new ProducerConfig
        {
            BootstrapServers = bootstrapServers,
            LingerMs = 20,
            QueueBufferingMaxMessages = 2 * MostInFlight,
            EnableDeliveryReports = false,
        }).Build())
        {
            for (long row = 0; row < rows; row++)
            {
                producer.Produce(
                    new TopicPartition(BenchmarkRows.Topic, BenchmarkRows.PartitionOf(row, partitions)), new() { Value = BenchmarkRows.Value(row, dimensions) });
                if (row % MostInFlight == MostInFlight - 1)
                {
                    producer.Flush(CancellationToken.None);
                }
            }

            producer.Flush(CancellationToken.None);
        }

        // The mock drops a partition's oldest rows beyond 5 MiB: a backlog that is not whole would be measured as one.
        using var consumer = new ConsumerBuilder<Ignore, Ignore>(new ConsumerConfig { BootstrapServers = bootstrapServers, GroupId = "filled" }).Build();
        long there = 0;
        for (var partition = 0; partition < partitions; partition++)
        {
            var offsets = consumer.QueryWatermarkOffsets(new(BenchmarkRows.Topic, partition), TimeSpan.FromSeconds(10));
            there += offsets.High.Value - offsets.Low.Value;
        }

        if (there != rows)
        {
            throw new InvalidOperationException($"The backlog has {there} rows in place of {rows}: they do not fit into {partitions} partitions.");
        }
    }

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
