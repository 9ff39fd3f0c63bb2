using System.Globalization;
using System.Text;
using Cache.Embedded;
using Confluent.Kafka;

namespace Cache.Benchmarks;

/// <summary>The rows to fill a broker with.</summary>
/// <param name="Rows">Number of rows; 0 leaves the topic empty.</param>
/// <param name="Dimensions">Dimensions per window.</param>
/// <param name="Measures">Measures per row, 2 or more.</param>
/// <param name="Trace">The flags of each row's <c>traceparent</c>, <c>00</c> or <c>01</c>; empty for rows without one.</param>
internal sealed record Backlog(long Rows, int Dimensions = 4, int Measures = 2, string Trace = "")
{
    /// <summary>Enough partitions for a million such rows: the mock keeps 5 MiB per partition.</summary>
    public const int Partitions = 24;
}

/// <summary>The embedded Kafka in its own process, with the same backlog for every side.</summary>
internal static class Broker
{
    /// <summary>The topic for round trips without the product.</summary>
    public const string BareTopic = "round_trips";

    private const int MaxInFlight = 50_000;

    /// <summary>Runs until it is killed.</summary>
    public static async Task RunAsync(int partitions, Backlog backlog)
    {
        await using var kafka = await EmbeddedKafka.StartAsync(1);
        kafka.CreateTopic(BenchmarkRows.Topic, partitions);
        kafka.CreateTopic(BareTopic, partitions);
        kafka.CreateTopic("performance_metrics", 1);
        kafka.CreateTopic("cache_dead_letters", 1);
        if (backlog.Rows > 0)
        {
            Fill(kafka.BootstrapServers, partitions, backlog, 0);
        }

        Console.WriteLine($"Now listening on: kafka://{kafka.BootstrapServers}");
        await Task.Delay(Timeout.InfiniteTimeSpan, TimeProvider.System, CancellationToken.None);
    }

    /// <summary>Starts it in its own process.</summary>
    public static Task<ServerProcess> StartAsync(int partitions, Backlog backlog) =>
        ServerProcess.StartAsync("Cache.Benchmarks.dll", "broker", Text(partitions), Text(backlog.Rows), Text(backlog.Dimensions), backlog.Trace);

    /// <summary>Produces a backlog.</summary>
    /// <param name="bootstrapServers">The broker.</param>
    /// <param name="partitions">Number of partitions of the topic.</param>
    /// <param name="backlog">The rows to produce.</param>
    /// <param name="first">The number of the first row.</param>
    /// <exception cref="InvalidOperationException">The broker did not keep all rows.</exception>
    public static void Fill(string bootstrapServers, int partitions, Backlog backlog, long first)
    {
        var produced = new long[partitions];
        using (var producer = new ProducerBuilder<Null, byte[]>(new ProducerConfig
        {
            BootstrapServers = bootstrapServers,
            LingerMs = 20,
            QueueBufferingMaxMessages = 2 * MaxInFlight,
            EnableDeliveryReports = false,
        }).Build())
        {
            for (var row = first; row < first + backlog.Rows; row++)
            {
                var message = new Message<Null, byte[]> { Value = BenchmarkRows.Value(row, backlog.Dimensions, backlog.Measures) };
                if (backlog.Trace.Length > 0)
                {
                    message.Headers = new() { { "traceparent", Encoding.ASCII.GetBytes($"00-{row + 1:x32}-{row + 1:x16}-{backlog.Trace}") } };
                }

                var partition = BenchmarkRows.PartitionOf(row, partitions, backlog.Dimensions);
                produced[partition]++;
                producer.Produce(new TopicPartition(BenchmarkRows.Topic, partition), message);
                if (row % MaxInFlight == MaxInFlight - 1)
                {
                    producer.Flush(CancellationToken.None);
                }
            }

            producer.Flush(CancellationToken.None);
        }

        // Above 5 MiB, the mock drops a partition's oldest rows. An incomplete backlog must not be measured as a complete one.
        using var consumer = new ConsumerBuilder<Ignore, Ignore>(new ConsumerConfig { BootstrapServers = bootstrapServers, GroupId = "filled" }).Build();
        for (var partition = 0; partition < partitions; partition++)
        {
            var offsets = consumer.QueryWatermarkOffsets(new(BenchmarkRows.Topic, partition), TimeSpan.FromSeconds(10));
            if (offsets.High.Value - offsets.Low.Value < produced[partition])
            {
                throw new InvalidOperationException($"Partition {partition} should have {produced[partition]} rows, but only has offsets {offsets.Low} to {offsets.High}: the backlog is too large.");
            }
        }
    }

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
