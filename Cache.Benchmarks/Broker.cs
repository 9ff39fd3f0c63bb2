using System.Diagnostics;
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

/// <summary>
/// The Kafka of a run, with topics of its own for every side to read: by default the embedded one, in a process of its own; with
/// <c>--broker</c> one that is there, where the topics are created, and deleted at the end.
/// </summary>
internal sealed class Broker : IAsyncDisposable
{
    private const int MaxInFlight = 50_000;
    private const string Embedded = "event_metrics";
    private const string EmbeddedRoundTrips = "round_trips";

    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(30);

    private readonly ServerProcess? _process;

    private Broker(string bootstrapServers, string topic, string roundTrips, int partitions, ServerProcess? process = null) =>
        (BootstrapServers, Topic, RoundTrips, Partitions, _process) = (bootstrapServers, topic, roundTrips, partitions, process);

    /// <summary>Its address.</summary>
    public string BootstrapServers { get; }

    /// <summary>The topic with the rows.</summary>
    public string Topic { get; }

    /// <summary>The topic for round trips without the product.</summary>
    public string RoundTrips { get; }

    /// <summary>The partitions of both.</summary>
    public int Partitions { get; }

    /// <summary>What makes the service read that topic, and nothing else.</summary>
    public IEnumerable<string> ServiceArguments =>
    [
        "--ConnectionStrings:kafka", BootstrapServers, "--cache_kafka_topics", Topic,
        .. Topic == Embedded ? [] : (string[])["--metric_types", MetricTypes(2), "--cache_dead_letter_topic", DeadLetters],
    ];

    private string DeadLetters => $"{Topic}_dead_letters";

    /// <summary>Events with more measures than usual, as <c>metric_types</c>.</summary>
    public string MetricTypes(int measures)
    {
        var all = BenchmarkRows.MeasuresOf(measures).Select(measure => $$"""{"name":"{{measure.Name}}","field":"{{measure.Field}}","kind":"count"}""");
        return $$"""[{"name":"event","topics":["{{Topic}}"],"dimension":["event_type"],"measures":[{{string.Join(',', all)}}]}]""";
    }

    /// <summary>The embedded one, until it is killed.</summary>
    public static async Task RunAsync(int partitions)
    {
        await using var kafka = await EmbeddedKafka.StartAsync(1);
        kafka.CreateTopic(Embedded, partitions);
        kafka.CreateTopic(EmbeddedRoundTrips, partitions);
        kafka.CreateTopic("performance_metrics", 1);
        kafka.CreateTopic("cache_dead_letters", 1);
        Console.WriteLine($"Now listening on: kafka://{kafka.BootstrapServers}");
        await Task.Delay(System.Threading.Timeout.InfiniteTimeSpan, TimeProvider.System, CancellationToken.None);
    }

    /// <summary>Starts the embedded one in its own process.</summary>
    public static async Task<Broker> StartAsync(int partitions)
    {
        var process = await ServerProcess.StartAsync("Cache.Benchmarks.dll", "broker", Text(partitions));
        return new($"127.0.0.1:{process.Port}", Embedded, EmbeddedRoundTrips, partitions, process);
    }

    /// <summary>Creates topics on a broker that is there.</summary>
    /// <exception cref="InvalidOperationException">They could not be created.</exception>
    public static async Task<Broker> UseAsync(string bootstrapServers, int partitions)
    {
        var topic = $"cache_bench_{Guid.NewGuid():N}"[..20];
        var broker = new Broker(bootstrapServers, topic, $"{topic}_round_trips", partitions);
        using var admin = broker.Administrate();
        try
        {
            await admin.CreateTopicsAsync(
                [
                    new() { Name = broker.Topic, NumPartitions = partitions }, new() { Name = broker.RoundTrips, NumPartitions = partitions },
                    new() { Name = broker.DeadLetters, NumPartitions = 1 },
                ],
                new() { RequestTimeout = Timeout, OperationTimeout = Timeout });
        }
        catch (KafkaException exception)
        {
            throw new InvalidOperationException($"No topics could be created at {bootstrapServers}: {exception.Message}");
        }

        // The controller has created them; brokers learn of them, and of their leaders, a moment later.
        var began = Stopwatch.GetTimestamp();
        while (!new[] { (broker.Topic, partitions), (broker.RoundTrips, partitions), (broker.DeadLetters, 1) }.All(wanted => IsThere(admin, wanted.Item1, wanted.Item2)))
        {
            if (Stopwatch.GetElapsedTime(began) > Timeout)
            {
                throw new InvalidOperationException($"The topic {topic} at {bootstrapServers} has no leaders.");
            }

            await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System, CancellationToken.None);
        }

        return broker;
    }

    public async ValueTask DisposeAsync()
    {
        if (_process is not null)
        {
            await _process.DisposeAsync();
            return;
        }

        using var admin = Administrate();
        try
        {
            await admin.DeleteTopicsAsync([Topic, RoundTrips, DeadLetters], new() { RequestTimeout = Timeout, OperationTimeout = Timeout });
        }
        catch (KafkaException exception)
        {
            await Console.Error.WriteLineAsync($"Delete {Topic}, {RoundTrips} and {DeadLetters} yourself: {exception.Message}");
        }
    }

    private IAdminClient Administrate() => new AdminClientBuilder(new AdminClientConfig { BootstrapServers = BootstrapServers }).SetLogHandler((_, _) => { }).Build();

    private static bool IsThere(IAdminClient admin, string topic, int partitions) =>
        admin.GetMetadata(topic, Timeout).Topics is [{ Error.IsError: false } found] && found.Partitions.Count == partitions && found.Partitions.TrueForAll(partition => partition.Leader >= 0);

    /// <summary>Produces a backlog.</summary>
    /// <param name="backlog">The rows to produce.</param>
    /// <param name="first">The number of the first row.</param>
    /// <exception cref="InvalidOperationException">The broker did not keep all rows.</exception>
    public void Fill(Backlog backlog, long first = 0)
    {
        var produced = new long[Partitions];
        using (var producer = new ProducerBuilder<Null, byte[]>(new ProducerConfig
        {
            BootstrapServers = BootstrapServers,
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

                var partition = BenchmarkRows.PartitionOf(row, Partitions, backlog.Dimensions);
                produced[partition]++;
                producer.Produce(new TopicPartition(Topic, partition), message);
                if (row % MaxInFlight == MaxInFlight - 1)
                {
                    producer.Flush(CancellationToken.None);
                }
            }

            producer.Flush(CancellationToken.None);
        }

        // Above 5 MiB, the mock drops a partition's oldest rows. An incomplete backlog must not be measured as a complete one.
        using var consumer = new ConsumerBuilder<Ignore, Ignore>(new ConsumerConfig { BootstrapServers = BootstrapServers, GroupId = "filled" }).Build();
        for (var partition = 0; partition < Partitions; partition++)
        {
            var offsets = consumer.QueryWatermarkOffsets(new(Topic, partition), TimeSpan.FromSeconds(10));
            if (offsets.High.Value - offsets.Low.Value < produced[partition])
            {
                throw new InvalidOperationException($"Partition {partition} should have {produced[partition]} rows, but only has offsets {offsets.Low} to {offsets.High}: the backlog is too large.");
            }
        }
    }

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);
}
