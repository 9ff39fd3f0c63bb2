using System.Globalization;
using System.Text.RegularExpressions;
using Confluent.Kafka;

namespace Cache.Benchmarks;

/// <summary>
/// <c>memory</c>: a long run, fed as fast as it is consumed. Measures the bytes allocated per row beyond those of the bare client,
/// and of the bare client with the product's decoder; the process's peak memory; and its growth over the second half.
/// </summary>
internal static partial class MemoryVerb
{
    // What the mock can hold in 24 partitions, with some headroom.
    private const long MaxAhead = 500_000;

    /// <summary>The result of one side.</summary>
    internal sealed record Result(double BytesPerRow, double PeakMb, double SlopeMbPerMillionRows);

    public static async Task RunAsync(Run run)
    {
        run.Conditions(Backlog.Partitions);
        var rows = run.Quick ? 1_000_000L : 10_000_000L;
        var service = await MeasureServiceAsync(run, rows);
        var client = await MeasureBareAsync(run, "client", rows / 10);
        var decode = await MeasureBareAsync(run, "decode", rows / 10);
        run.Report.Add("memory_client_alloc_bytes_per_row", "B", [client]);
        run.Report.Add("memory_decode_alloc_bytes_per_row", "B", [decode]);
        run.Report.Add("alloc_bytes_per_row_process", "B", [service.BytesPerRow]);
        run.Report.Add("alloc_bytes_per_row", "B", [service.BytesPerRow - client]);
        run.Report.Add("alloc_bytes_per_row_vs_decode", "B", [service.BytesPerRow - decode]);
        run.Report.Add("rss_peak_mb", "MB", [service.PeakMb]);
        run.Report.Add("rss_slope_mb_per_million_rows", "MB", [service.SlopeMbPerMillionRows]);
    }

    private static async Task<Result> MeasureServiceAsync(Run run, long rows)
    {
        await using var broker = await run.StartBrokerAsync(Backlog.Partitions);
        await using var side = await Side.StartServiceAsync(broker);
        var service = side.Process;
        using var http = new HttpClient { BaseAddress = new($"http://127.0.0.1:{service.Port}") };

        // Exclude the cost of starting, which is over after the first rows.
        const long WarmUp = 100_000;
        await FeedAsync(broker, side, 0, WarmUp);
        var before = await AllocatedAsync(http);
        var samples = new List<(double MillionRows, double Mb)>();
        await FeedAsync(broker, side, WarmUp, WarmUp + rows, done => samples.Add((done / 1e6, service.ResidentBytes / 1e6)));
        await side.CommittedAsync(WarmUp + rows);
        var allocated = await AllocatedAsync(http) - before;
        return new(allocated / rows, samples.Max(sample => sample.Mb), Slope(samples[(samples.Count / 2)..]));
    }

    private static async Task<double> MeasureBareAsync(Run run, string name, long rows)
    {
        await using var broker = await run.StartBrokerAsync(Backlog.Partitions);
        broker.Fill(new(rows));
        await using var side = await Side.StartBareAsync(broker, name, rows / 2);
        var (half, all) = (await AllocatedAtAsync(rows / 2), await AllocatedAtAsync(rows));
        return (all - half) / (rows / 2.0);

        async Task<double> AllocatedAtAsync(long read)
        {
            var (line, _) = await side.Process.LineAsync(BareConsumer.Through(read));
            return double.Parse(line[(line.IndexOf('=', StringComparison.Ordinal) + 1)..], CultureInfo.InvariantCulture);
        }
    }

    /// <summary>Produces rows, never further ahead of the commits than the mock can hold.</summary>
    private static async Task FeedAsync(Broker broker, Side side, long from, long to, Action<long>? progress = null)
    {
        using var producer = new ProducerBuilder<Null, byte[]>(new ProducerConfig
        {
            BootstrapServers = broker.BootstrapServers,
            LingerMs = 20,
            QueueBufferingMaxMessages = (int)MaxAhead,
            EnableDeliveryReports = false,
        }).Build();
        const int Step = 50_000;
        for (var row = from; row < to;)
        {
            for (var end = Math.Min(to, row + Step); row < end; row++)
            {
                producer.Produce(
                    new TopicPartition(broker.Topic, BenchmarkRows.PartitionOf(row, broker.Partitions)), new() { Value = BenchmarkRows.Value(row) });
            }

            producer.Flush(CancellationToken.None);
            await side.CommittedAsync(row - MaxAhead);
            progress?.Invoke(row);
            if (row % 1_000_000 == 0)
            {
                await Console.Error.WriteLineAsync($"{row:N0} rows");
            }
        }

        await side.CommittedAsync(to);
    }

    private static async Task<double> AllocatedAsync(HttpClient http) => double.Parse(
        Allocated().Match(await http.GetStringAsync("/metrics")).Groups[1].Value, CultureInfo.InvariantCulture);

    /// <summary>The slope of the least-squares line.</summary>
    private static double Slope(List<(double X, double Y)> points)
    {
        var (x, y) = (points.Average(point => point.X), points.Average(point => point.Y));
        var spread = points.Sum(point => (point.X - x) * (point.X - x));
        return spread == 0 ? 0 : points.Sum(point => (point.X - x) * (point.Y - y)) / spread;
    }

    [GeneratedRegex(@"^dotnet_gc_heap_total_allocated_bytes_total(?:\{[^}]*\})? ([0-9.eE+]+)", RegexOptions.Multiline)]
    private static partial Regex Allocated();
}
