using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Benchmarks;

/// <summary>
/// <c>limits</c>: how much one kind of load harms the others. Three loads, one after another: a reader that requests 120 windows
/// of 10,000 dimensions in a loop; 5,000 streams with one update per second; 10,000 idle sockets. Under each load, rows are
/// flushed and <c>/healthz</c> is probed, compared with no load. The memory of the service, which has its own process, is
/// measured, too.
/// </summary>
internal static class LimitsVerb
{
    private const int Windows = 120;
    private const int Dimensions = 10_000;
    private const int Streams = 5000;
    private const int IdleSockets = 10_000;

    // Files that this process has open apart from the load.
    private const int OtherFiles = 1000;

    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(20);

    // A slower probe is a failure.
    private static readonly TimeSpan ProbeTimeout = TimeSpan.FromSeconds(1);

    /// <summary>The measurements under a load.</summary>
    internal sealed record Result(double FlushP99Ms, double HealthMaxMs, int HealthFailures, double MaxMb);

    public static async Task RunAsync(Run run)
    {
        run.Conditions(1, 5);
        var (streams, idle) = Scaled(run.Quick ? Streams / 10 : Streams, run.Quick ? IdleSockets / 10 : IdleSockets);
        var span = TimeSpan.FromSeconds(run.Quick ? 5 : 30);
        await using var broker = await run.StartBrokerAsync(1);
        await using var side = await Side.StartServiceAsync(
            broker, 1, "--Kafka:fetch.wait.max.ms", "5", "--http_max_connections", $"{IdleSockets + Streams}", "--stream_max_clients_per_client", $"{Streams}");
        using var producer = new ProducerBuilder<Null, byte[]>(new ProducerConfig { BootstrapServers = broker.BootstrapServers, LingerMs = 0 }).Build();
        using var http = new HttpClient { BaseAddress = new($"http://127.0.0.1:{side.Process.Port}"), Timeout = TimeSpan.FromSeconds(20) };
        var rows = new Rows(producer, broker.Topic, http);
        await FillAsync(side.Redis.GetDatabase());

        // Warm up: code is compiled first.
        await MeasureAsync(side, rows, TimeSpan.FromSeconds(5));
        var alone = await MeasureAsync(side, rows, span);
        var reader = await DuringAsync("a large reader", () => LargeReader.Start(side.Process.Port));
        var streamers = await DuringAsync($"{streams} streams", () => StreamReaders.StartAsync(side.Process.Port, streams));
        var sockets = await DuringAsync($"{idle} idle sockets", () => Idle.StartAsync(side.Process.Port, idle));

        Result[] all = [reader, streamers, sockets];
        run.Report.Add("limits_flush_p99_ms", "ms", [alone.FlushP99Ms]);
        run.Report.Add("limits_flush_p99_reader", "×", [reader.FlushP99Ms / alone.FlushP99Ms]);
        run.Report.Add("limits_flush_p99_streams", "×", [streamers.FlushP99Ms / alone.FlushP99Ms]);
        run.Report.Add("limits_flush_p99_idle", "×", [sockets.FlushP99Ms / alone.FlushP99Ms]);
        run.Report.Add("limits_flush_p99_worst", "×", [all.Max(result => result.FlushP99Ms) / alone.FlushP99Ms]);
        run.Report.Add("limits_health_most_ms", "ms", [all.Max(result => result.HealthMaxMs)]);
        run.Report.Add("limits_health_failures", "", [all.Sum(result => result.HealthFailures)]);
        run.Report.Add("limits_rss_mb", "MB", [all.Max(result => result.MaxMb)]);
        run.Report.Add("limits_reader_mb_above_idle", "MB", [reader.MaxMb - alone.MaxMb]);

        async Task<Result> DuringAsync<TLoad>(string name, Func<Task<TLoad>> start)
            where TLoad : IAsyncDisposable
        {
            Result result;
            await using (var load = await start())
            {
                result = await MeasureAsync(side, rows, span);
                await Console.Error.WriteLineAsync($"{name}: {result}; {load}");
            }

            return result;
        }
    }

    /// <summary>Reduces both loads to the number of files that this process may open, and reports it.</summary>
    private static (int Streams, int Idle) Scaled(int streams, int idle)
    {
        var files = File.Exists("/proc/self/limits")
            ? long.Parse(File.ReadLines("/proc/self/limits").First(line => line.StartsWith("Max open files", StringComparison.Ordinal))
                .Split(' ', StringSplitOptions.RemoveEmptyEntries)[3], CultureInfo.InvariantCulture)
            : 1024;
        var max = (int)Math.Min(Math.Max(0, files - OtherFiles), int.MaxValue);
        if (max < Math.Max(streams, idle))
        {
            Console.Error.WriteLine($"The limit of {files} open files allows only {Math.Min(streams, max)} streams and {Math.Min(idle, max)} idle sockets instead of {streams} and {idle}.");
        }

        return (Math.Min(streams, max), Math.Min(idle, max));
    }

    /// <summary>Flushes rows one by one, each in its own batch, with probes in parallel.</summary>
    private static async Task<Result> MeasureAsync(Side side, Rows rows, TimeSpan span)
    {
        var (flushes, slowest, failures, memory) = (new List<double>(), 0.0, 0, 0L);
        var began = Stopwatch.GetTimestamp();
        var probing = Task.Run(ProbeAsync);
        while (Stopwatch.GetElapsedTime(began) < span)
        {
            flushes.Add(await rows.FlushAsync());
            memory = Math.Max(memory, side.Process.ResidentBytes);
            await Task.Delay(Pace, TimeProvider.System, CancellationToken.None);
        }

        await probing;
        flushes.Sort();
        return new(flushes[(int)(flushes.Count * 0.99)], slowest, failures, memory / 1e6);

        async Task ProbeAsync()
        {
            // One connection per probe, like an orchestrator.
            using var prober = new HttpClient(new SocketsHttpHandler { PooledConnectionLifetime = TimeSpan.Zero }) { BaseAddress = new($"http://127.0.0.1:{side.Process.Port}") };
            while (Stopwatch.GetElapsedTime(began) < span)
            {
                var asked = Stopwatch.GetTimestamp();
                try
                {
                    using var answer = await prober.GetAsync("/healthz");
                    failures += answer.StatusCode == HttpStatusCode.OK && Stopwatch.GetElapsedTime(asked) < ProbeTimeout ? 0 : 1;
                }
                catch (HttpRequestException)
                {
                    failures++;
                }

                slowest = Math.Max(slowest, Stopwatch.GetElapsedTime(asked).TotalMilliseconds);
                await Task.Delay(Pace, TimeProvider.System, CancellationToken.None);
            }
        }
    }

    private static async Task FillAsync(IDatabase database)
    {
        // Older than the windows of the rows, but within retention.
        var fields = Enumerable.Range(0, Dimensions)
            .SelectMany(dimension => new HashEntry[] { new($"type_{dimension}.count", 400 + dimension), new($"type_{dimension}.users", 120) }).ToArray();
        for (var window = 1; window < Windows; window++)
        {
            var start = BenchmarkRows.WindowOf(0) - (window * 60_000L);
            await database.HashSetAsync($"metrics:event:{start}", fields);
            await database.SortedSetAddAsync("metrics:event:windows", start, start);
        }
    }

    /// <summary>Rows of one window, each sent once the previous one is written: one flush per row.</summary>
    private sealed class Rows(IProducer<Null, byte[]> producer, string topic, HttpClient http)
    {
        private long _next;
        private (long Time, double Seconds) _last;

        /// <summary>Sends a row, and returns the duration of its flush in milliseconds.</summary>
        public async Task<double> FlushAsync()
        {
            await producer.ProduceAsync(new TopicPartition(topic, 0), new() { Value = BenchmarkRows.Value(_next++ % 100) });
            while (true)
            {
                using var pipeline = JsonDocument.Parse(await http.GetStringAsync("/pipeline"));
                if (pipeline.RootElement.GetProperty("last_flush") is { ValueKind: JsonValueKind.Object } flush
                    && (flush.GetProperty("time").GetInt64(), flush.GetProperty("seconds").GetDouble()) is var seen && seen != _last)
                {
                    _last = seen;
                    return seen.Item2 * 1000;
                }

                await Task.Delay(TimeSpan.FromMilliseconds(2), TimeProvider.System, CancellationToken.None);
            }
        }
    }

    /// <summary>Requests the longest possible list in a loop.</summary>
    private sealed class LargeReader : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly Task _reading;
        private long _answers;
        private long _bytes;
        private int _refused;

        private LargeReader(int port) => _reading = ReadAsync(port);

        public static Task<LargeReader> Start(int port) => Task.FromResult(new LargeReader(port));

        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{_answers} answers, {_refused} refused, {_bytes / 1e6:0} MB");

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await _reading;
            _stop.Dispose();
        }

        private async Task ReadAsync(int port)
        {
            using var http = new HttpClient { BaseAddress = new($"http://127.0.0.1:{port}"), Timeout = TimeSpan.FromMinutes(2) };
            var buffer = new byte[64 * 1024];
            try
            {
                while (true)
                {
                    using var answer = await http.GetAsync($"/metrics/event/windows?limit={Windows}", HttpCompletionOption.ResponseHeadersRead, _stop.Token);
                    _refused += answer.IsSuccessStatusCode ? 0 : 1;
                    await using var body = await answer.Content.ReadAsStreamAsync(_stop.Token);
                    while (await body.ReadAsync(buffer, _stop.Token) is > 0 and var read)
                    {
                        _bytes += read;
                    }

                    _answers++;
                }
            }
            catch (OperationCanceledException)
            {
                // The load is over.
            }
        }
    }

    /// <summary>Stream clients that read everything.</summary>
    private sealed class StreamReaders : IAsyncDisposable
    {
        private readonly List<Socket> _sockets = [];
        private readonly List<Task> _readers = [];
        private long _bytes;

        public static async Task<StreamReaders> StartAsync(int port, int count)
        {
            var streams = new StreamReaders();
            for (var stream = 0; stream < count; stream++)
            {
                var socket = await StreamVerb.OpenAsync(port);
                streams._sockets.Add(socket);
                streams._readers.Add(streams.ReadAsync(socket));
            }

            return streams;
        }

        public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{_bytes / 1e6:0} MB");

        public async ValueTask DisposeAsync()
        {
            _sockets.ForEach(socket => socket.Dispose());
            await Task.WhenAll(_readers);
        }

        private async Task ReadAsync(Socket socket)
        {
            var buffer = new byte[4096];
            try
            {
                while (await socket.ReceiveAsync(buffer) is > 0 and var read)
                {
                    Interlocked.Add(ref _bytes, read);
                }
            }
            catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
            {
                // The load is over.
            }
        }
    }

    /// <summary>Sockets that send nothing. A closed one is reopened.</summary>
    private sealed class Idle : IAsyncDisposable
    {
        private readonly CancellationTokenSource _stop = new();
        private readonly List<Task> _sockets = [];
        private int _closed;

        public static async Task<Idle> StartAsync(int port, int count)
        {
            var idle = new Idle();
            for (var socket = 0; socket < count; socket++)
            {
                var opened = new TaskCompletionSource();
                idle._sockets.Add(idle.StayAsync(port, opened));
                await opened.Task;
            }

            return idle;
        }

        public override string ToString() => $"{_closed} closed by the service";

        public async ValueTask DisposeAsync()
        {
            await _stop.CancelAsync();
            await Task.WhenAll(_sockets);
            _stop.Dispose();
        }

        private async Task StayAsync(int port, TaskCompletionSource opened)
        {
            var buffer = new byte[1];
            while (!_stop.IsCancellationRequested)
            {
                try
                {
                    using var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
                    await socket.ConnectAsync(IPAddress.Loopback, port, _stop.Token);
                    opened.TrySetResult();
                    await socket.ReceiveAsync(buffer, _stop.Token);
                    Interlocked.Increment(ref _closed);
                }
                catch (Exception exception) when (exception is SocketException or OperationCanceledException)
                {
                    opened.TrySetResult();
                }
            }
        }
    }
}
