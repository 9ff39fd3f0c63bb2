using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Benchmarks;

/// <summary>
/// <c>latency</c>: from the call that produces a row to its value in Redis (as the update tells that follows the write), and to
/// its event on a stream, against a bare round trip from producer to consumer. Both consumers fetch with the same wait: the
/// mock holds an empty fetch for all of it.
/// </summary>
internal static class LatencyVerb
{
    private const int Partitions = 4;
    private const int FetchWaitMs = 5;

    // With a tenth of the processors' time stolen, the p99 of both sides doubles; of this much nothing is seen.
    private const double MostStolenPercent = 2;

    // Code is compiled and compiled again while it warms up.
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(4);
    private static readonly int[] Rates = [100, 1000, 20_000];

    /// <summary>One side in one round.</summary>
    internal sealed record Result(double P50Ms, double P99Ms, double StreamP50Ms = 0, double StreamP99Ms = 0);

    public static async Task RunAsync(Run run)
    {
        var span = TimeSpan.FromSeconds(run.Quick ? 1 : 4);
        await using var kafka = await Broker.StartAsync(Partitions, new(0));
        await using var side = await Side.StartServiceAsync(kafka, 1, "--Kafka:fetch.wait.max.ms", $"{FetchWaitMs}");
        using var feeder = new Feeder(side.BootstrapServers);

        using var stream = await StreamVerb.OpenAsync(side.Process.Port);
        var inRedis = new Arrivals(feeder);
        var onStream = new Arrivals(feeder);
        var bare = new Arrivals(feeder);
        await side.Redis.GetSubscriber().SubscribeAsync(RedisChannel.Literal("cache:updates"), (_, message) => inRedis.NoteUpdate(message));
        using var stop = new CancellationTokenSource();
        var reading = ReadAsync(stream, onStream);
        var consuming = new Thread(() => Consume(side.BootstrapServers, bare, stop.Token)) { IsBackground = true };
        consuming.Start();
        await feeder.FeedAsync(BenchmarkRows.Topic, Partitions, 1000, WarmUp);
        await feeder.FeedAsync(Broker.BareTopic, Partitions, 1000, WarmUp / 4);

        run.Report.Add("latency_fetch_wait_ms", "ms", [FetchWaitMs]);
        foreach (var rate in Rates)
        {
            var results = await Rounds.AlternateUndisturbedAsync(
                run.Rounds,
                MostStolenPercent,
                ("round trip", () => MeasureAsync(Broker.BareTopic, rate, bare)),
                ("service", () => MeasureServiceAsync(rate)));
            var name = rate >= 1000 ? $"{rate / 1000}k" : $"{rate}";
            run.Report.Add($"latency_p50_ms_{name}", "ms", results["service"].Select(result => result.P50Ms));
            run.Report.Add($"latency_p99_ms_{name}", "ms", results["service"].Select(result => result.P99Ms));
            run.Report.Add($"latency_stream_p50_ms_{name}", "ms", results["service"].Select(result => result.StreamP50Ms));
            run.Report.Add($"latency_stream_p99_ms_{name}", "ms", results["service"].Select(result => result.StreamP99Ms));
            run.Report.Add($"latency_roundtrip_p50_ms_{name}", "ms", results["round trip"].Select(result => result.P50Ms));
            run.Report.Add($"latency_roundtrip_p99_ms_{name}", "ms", results["round trip"].Select(result => result.P99Ms));
            run.Report.AddRatio(
                rate == 1000 ? "latency_p50_vs_roundtrip" : $"latency_p50_vs_roundtrip_{name}",
                results["service"].Select(result => result.P50Ms), results["round trip"].Select(result => result.P50Ms));
        }

        await stop.CancelAsync();
        consuming.Join();
        stream.Dispose();
        await reading;

        async Task<Result> MeasureServiceAsync(int rate)
        {
            onStream.Take();
            var result = await MeasureAsync(BenchmarkRows.Topic, rate, inRedis);
            var streamed = onStream.Take();
            return result with { StreamP50Ms = streamed.P50Ms, StreamP99Ms = streamed.P99Ms };
        }

        async Task<Result> MeasureAsync(string topic, int rate, Arrivals arrivals)
        {
            arrivals.Take();
            var rows = await feeder.FeedAsync(topic, Partitions, rate, span);
            return arrivals.Take(rows);
        }
    }

    private static void Consume(string bootstrapServers, Arrivals arrivals, CancellationToken cancellationToken)
    {
        using var consumer = new ConsumerBuilder<Ignore, byte[]>(new ConsumerConfig
        {
            BootstrapServers = bootstrapServers,
            GroupId = "round-trips",
            FetchWaitMaxMs = FetchWaitMs,
            EnableAutoCommit = false,
        }).Build();
        consumer.Assign(Enumerable.Range(0, Partitions).Select(partition => new TopicPartitionOffset(Broker.BareTopic, partition, Offset.Beginning)));
        while (!cancellationToken.IsCancellationRequested)
        {
            if (consumer.Consume(100) is { } read)
            {
                var json = JsonElement.Parse(read.Message.Value);
                arrivals.Note(json.GetProperty("window_start").GetInt64(), json.GetProperty("event_count").GetInt64());
            }
        }
    }

    private static async Task ReadAsync(Socket socket, Arrivals arrivals)
    {
        try
        {
            using var lines = new StreamReader(new NetworkStream(socket), Encoding.UTF8);
            while (await lines.ReadLineAsync() is { } line)
            {
                if (line.StartsWith("data: {\"type\":\"event\"", StringComparison.Ordinal))
                {
                    arrivals.NoteUpdate(line["data: ".Length..]);
                }
            }
        }
        catch (Exception exception) when (exception is IOException or ObjectDisposedException)
        {
            // The rounds are over.
        }
    }

    /// <summary>When rows arrived: a row that a later one of its field overtook has arrived with that.</summary>
    private sealed class Arrivals(Feeder feeder)
    {
        private const int Dimensions = 4;

        private readonly ConcurrentDictionary<(long Window, long Dimension), long> _next = new();
        private readonly Lock _lock = new();
        private readonly List<double> _delays = [];

        /// <summary>Notes a message of <c>cache:updates</c>.</summary>
        public void NoteUpdate(string? message)
        {
            var update = JsonElement.Parse(message!);
            var window = update.GetProperty("window_start").GetInt64();
            foreach (var field in update.GetProperty("fields").EnumerateObject())
            {
                if (field.Name.EndsWith(".count", StringComparison.Ordinal))
                {
                    Note(window, field.Value.GetInt64());
                }
            }
        }

        /// <summary>Notes a row, by its window and its event count.</summary>
        public void Note(long window, long count)
        {
            var now = Stopwatch.GetTimestamp();
            var first = BenchmarkRows.FirstRowOf(window);
            lock (_lock)
            {
                var field = (window, (count - 1) % Dimensions);
                for (var place = _next.GetValueOrDefault(field, field.Item2); place < count; place += Dimensions)
                {
                    _delays.Add(Stopwatch.GetElapsedTime(feeder.SentAt(first + place), now).TotalMilliseconds);
                    _next[field] = place + Dimensions;
                }
            }
        }

        /// <summary>Takes what arrived.</summary>
        /// <param name="rows">How many rows have to be there; fewer are an error.</param>
        public Result Take(long rows = 0)
        {
            lock (_lock)
            {
                if (_delays.Count < rows)
                {
                    throw new InvalidOperationException($"{_delays.Count} of {rows} rows arrived.");
                }

                _delays.Sort();
                var result = _delays.Count == 0 ? new(0, 0) : new Result(_delays[_delays.Count / 2], _delays[(int)(_delays.Count * 0.99)]);
                _delays.Clear();
                return result;
            }
        }
    }
}
