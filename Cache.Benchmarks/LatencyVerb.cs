using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Benchmarks;

/// <summary>
/// <c>latency</c>: the time from producing a row to its value in Redis (as reported by the update that follows the write) and
/// to its event on a stream, compared with a bare round trip from producer to consumer. Both consumers use the same
/// <c>fetch.wait.max.ms</c>.
/// </summary>
internal static class LatencyVerb
{
    private const int Partitions = 4;
    // With a tenth of the CPU time stolen, the p99 of both sides doubles; this much has no visible effect.
    private const double MaxStolenPercent = 2;

    // The p99 at 1,000 rows/s matters enough for many more rounds on a busy host.
    private const int MaxTimes = 20;
    private const int RoundsPerStage = 10;

    // Time for tiered compilation.
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(4);
    private static readonly int[] Rates = [100, 1000, 20_000];

    /// <summary>The result of one side in one round.</summary>
    internal sealed record Result(double P50Ms, double P99Ms, double StreamP50Ms = 0, double StreamP99Ms = 0);

    public static async Task RunAsync(Run run)
    {
        // Short, because a busy host is more often quiet for a few seconds than for many.
        var span = TimeSpan.FromSeconds(run.Quick ? 1 : 2);
        run.Conditions(Partitions, FetchWait(run));
        run.Report.Add("latency_fetch_wait_ms", "ms", [FetchWait(run)]);
        foreach (var rate in Rates)
        {
            Stage? stage = null;
            var results = await Rounds.AlternateUndisturbedAsync(
                run.Rounds,
                rate == 1000 ? MaxTimes : 2,
                MaxStolenPercent,
                async round =>
                {
                    if (round % RoundsPerStage == 0)
                    {
                        await (stage?.DisposeAsync() ?? ValueTask.CompletedTask);
                        stage = await Stage.StartAsync(run);
                    }
                },
                ("round trip", () => stage!.MeasureRoundTripAsync(rate, span)),
                ("service", () => stage!.MeasureServiceAsync(rate, span)));
            await stage!.DisposeAsync();
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
            run.Report.AddRatio(
                rate == 1000 ? "latency_p99_vs_roundtrip" : $"latency_p99_vs_roundtrip_{name}",
                results["service"].Select(result => result.P99Ms), results["round trip"].Select(result => result.P99Ms));
        }
    }

    // The mock holds an empty fetch for as long as it may; a real broker answers as soon as there is a row.
    private static int FetchWait(Run run) => run.Kafka is null ? 5 : 500;

    /// <summary>Both sides, on a fresh broker: the mock, and with it both sides, gets slower the more it holds.</summary>
    private sealed class Stage : IAsyncDisposable
    {
        private readonly Broker _broker;
        private readonly Side _side;
        private readonly Feeder _feeder;
        private readonly Arrivals _inRedis;
        private readonly Arrivals _onStream;
        private readonly Arrivals _bare;
        private readonly CancellationTokenSource _stop = new();
        private readonly Socket _stream;
        private readonly Task _reading;
        private readonly Thread _consuming;

        private Stage(Broker broker, int fetchWaitMs, Side side, Socket stream)
        {
            (_broker, _side, _stream) = (broker, side, stream);
            _feeder = new(broker);
            (_inRedis, _onStream, _bare) = (new(_feeder), new(_feeder), new(_feeder));
            _reading = ReadAsync(stream, _onStream);
            _consuming = new Thread(() => Consume(broker, fetchWaitMs, _bare, _stop.Token)) { IsBackground = true };
            _consuming.Start();
        }

        /// <summary>Starts both sides, and warms them up.</summary>
        public static async Task<Stage> StartAsync(Run run)
        {
            var broker = await run.StartBrokerAsync(Partitions);
            var side = await Side.StartServiceAsync(broker, 1, "--Kafka:fetch.wait.max.ms", $"{FetchWait(run)}");
            var stage = new Stage(broker, FetchWait(run), side, await StreamVerb.OpenAsync(side.Process.Port));
            await side.Redis.GetSubscriber().SubscribeAsync(RedisChannel.Literal("cache:updates"), (_, message) => stage._inRedis.NoteUpdate(message));
            await stage._feeder.FeedAsync(broker.Topic, 1000, WarmUp);
            await stage._feeder.FeedAsync(broker.RoundTrips, 1000, WarmUp / 4);
            return stage;
        }

        public Task<Result> MeasureRoundTripAsync(int rate, TimeSpan span) => MeasureAsync(_broker.RoundTrips, rate, span, _bare);

        public async Task<Result> MeasureServiceAsync(int rate, TimeSpan span)
        {
            _onStream.Take();
            var result = await MeasureAsync(_broker.Topic, rate, span, _inRedis);
            var streamed = _onStream.Take();
            return result with { StreamP50Ms = streamed.P50Ms, StreamP99Ms = streamed.P99Ms };
        }

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            _consuming.Join();
            _stop.Dispose();
            _stream.Dispose();
            await _reading;
            _feeder.Dispose();
            await _side.DisposeAsync();
            await _broker.DisposeAsync();
        }

        private async Task<Result> MeasureAsync(string topic, int rate, TimeSpan span, Arrivals arrivals)
        {
            arrivals.Take();
            var rows = await _feeder.FeedAsync(topic, rate, span);
            await arrivals.WaitAsync(rows);
            return arrivals.Take();
        }
    }

    private static void Consume(Broker broker, int fetchWaitMs, Arrivals arrivals, CancellationToken cancellationToken)
    {
        using var consumer = new ConsumerBuilder<Ignore, byte[]>(new ConsumerConfig
        {
            BootstrapServers = broker.BootstrapServers,
            GroupId = "round-trips",
            FetchWaitMaxMs = fetchWaitMs,
            EnableAutoCommit = false,
        }).Build();
        consumer.Assign(Enumerable.Range(0, Partitions).Select(partition => new TopicPartitionOffset(broker.RoundTrips, partition, Offset.Beginning)));
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

    /// <summary>When rows arrived. A row that was coalesced into a later one arrives together with it.</summary>
    private sealed class Arrivals(Feeder feeder)
    {
        private const int Dimensions = 4;

        private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(1);
        private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(50);

        private readonly ConcurrentDictionary<(long Window, long Dimension), long> _next = new();
        private readonly Lock _lock = new();
        private readonly List<double> _delays = [];

        private int Count
        {
            get
            {
                lock (_lock)
                {
                    return _delays.Count;
                }
            }
        }

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

        /// <summary>Waits until a number of rows has arrived.</summary>
        /// <exception cref="InvalidOperationException">They did not arrive in time.</exception>
        public async Task WaitAsync(long rows)
        {
            var started = Stopwatch.GetTimestamp();
            while (Count < rows)
            {
                if (Stopwatch.GetElapsedTime(started) > Timeout)
                {
                    throw new InvalidOperationException($"{Count} of {rows} rows arrived.");
                }

                await Task.Delay(Pace, TimeProvider.System, CancellationToken.None);
            }
        }

        /// <summary>Returns the delays so far, and starts over.</summary>
        public Result Take()
        {
            lock (_lock)
            {
                _delays.Sort();
                var result = _delays.Count == 0 ? new(0, 0) : new Result(_delays[_delays.Count / 2], _delays[(int)(_delays.Count * 0.99)]);
                _delays.Clear();
                return result;
            }
        }
    }
}
