using System.Buffers.Text;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using StackExchange.Redis;

namespace Cache.Benchmarks;

/// <summary>
/// <c>stream</c>: 1,000 clients of <c>GET /stream</c> at 100 updates per second, compared with <see cref="BareStream"/>. Measures
/// how much arrives, how late, and the server's cost per client and per delivery.
/// </summary>
internal static class StreamVerb
{
    private const int ClientCount = 1000;
    private const int UpdatesPerSecond = 100;

    private static readonly RedisChannel Updates = RedisChannel.Literal("cache:updates");

    /// <summary>The result of one side in one round.</summary>
    internal sealed record Result(double DeliveredPerSecond, double P50Ms, double P99Ms, double KbPerClient, double CpuMicrosPerDelivery);

    public static async Task RunAsync(Run run)
    {
        run.Conditions(1);
        await using var broker = await run.StartBrokerAsync(1);
        await using var redis = await ServerProcess.StartRedisAsync();
        await using var publisher = await ConnectionMultiplexer.ConnectAsync($"127.0.0.1:{redis.Port}");
        var span = TimeSpan.FromSeconds(run.Quick ? 2 : 6);

        var results = await Rounds.AlternateAsync(run.Rounds, ("service", MeasureServiceAsync), ("bare", MeasureBareAsync));

        var (service, bare) = (results["service"], results["bare"]);
        run.Report.Add("stream_delivered_per_s", "updates/s", service.Select(result => result.DeliveredPerSecond));
        run.Report.Add("stream_p50_ms", "ms", service.Select(result => result.P50Ms));
        run.Report.Add("stream_p99_ms", "ms", service.Select(result => result.P99Ms));
        run.Report.Add("stream_memory_kb_per_client", "kB", service.Select(result => result.KbPerClient));
        run.Report.Add("stream_cpu_us_per_delivery", "µs", service.Select(result => result.CpuMicrosPerDelivery));
        run.Report.Add("stream_bare_delivered_per_s", "updates/s", bare.Select(result => result.DeliveredPerSecond));
        run.Report.Add("stream_bare_p99_ms", "ms", bare.Select(result => result.P99Ms));
        run.Report.Add("stream_bare_memory_kb_per_client", "kB", bare.Select(result => result.KbPerClient));
        run.Report.AddRatio("stream_delivered_vs_bare", service.Select(result => result.DeliveredPerSecond), bare.Select(result => result.DeliveredPerSecond));
        run.Report.AddRatio("stream_p99_vs_bare", service.Select(result => result.P99Ms), bare.Select(result => result.P99Ms));
        run.Report.AddRatio("stream_cpu_vs_bare", service.Select(result => result.CpuMicrosPerDelivery), bare.Select(result => result.CpuMicrosPerDelivery));
        run.Report.AddRatio("stream_memory_vs_bare", service.Select(result => result.KbPerClient), bare.Select(result => result.KbPerClient));

        async Task<Result> MeasureServiceAsync()
        {
            await using var server = await ServerProcess.StartAsync(
                Side.Service, ["--urls", "http://127.0.0.1:0", .. broker.ServiceArguments, "--ConnectionStrings:redis", $"127.0.0.1:{redis.Port}"]);
            using var stop = new CancellationTokenSource();
            var publishing = Task.Run(() => TickAsync(_ => publisher.GetSubscriber().Publish(Updates, Message(), CommandFlags.FireAndForget), stop.Token));
            var result = await MeasureAsync(server, span);
            await stop.CancelAsync();
            await publishing;
            return result;
        }

        async Task<Result> MeasureBareAsync()
        {
            await using var server = await ServerProcess.StartAsync("Cache.Benchmarks.dll", "bare-stream");
            return await MeasureAsync(server, span);
        }
    }

    /// <summary>An update of four event types, with its creation time in place of the window start.</summary>
    public static byte[] Message() => Encoding.ASCII.GetBytes(
        $$$"""{"type":"event","window_start":{{{Stopwatch.GetTimestamp()}}},"fields":{"page_view.count":61,"page_view.users":22,"click.count":117,"click.users":31,"add_to_cart.count":7,"add_to_cart.users":3,"purchase.count":3,"purchase.users":2}}""");

    /// <summary>Calls an action at the rate of the updates, and catches up after delays.</summary>
    public static async Task TickAsync(Action<long> tick, CancellationToken cancellationToken)
    {
        var started = Stopwatch.GetTimestamp();
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(1));
        long ticks = 0;
        try
        {
            while (await timer.WaitForNextTickAsync(cancellationToken))
            {
                for (var due = (long)(Stopwatch.GetElapsedTime(started).TotalSeconds * UpdatesPerSecond); ticks < due; ticks++)
                {
                    tick(ticks);
                }
            }
        }
        catch (OperationCanceledException)
        {
            // The measurement is over.
        }
    }

    private static async Task<Result> MeasureAsync(ServerProcess server, TimeSpan span)
    {
        // Exclude the one-time cost of the first request.
        using (var first = await OpenAsync(server.Port))
        {
            await Task.Delay(TimeSpan.FromSeconds(1), TimeProvider.System, CancellationToken.None);
        }

        var before = server.ResidentBytes;
        var delays = new Delays();
        var sockets = new List<Socket>(ClientCount);
        var readers = new List<Task>(ClientCount);
        for (var client = 0; client < ClientCount; client++)
        {
            var socket = await OpenAsync(server.Port);
            sockets.Add(socket);
            readers.Add(ReadAsync(socket, delays));
        }

        await Task.Delay(TimeSpan.FromSeconds(1), TimeProvider.System, CancellationToken.None);
        delays.Clear();
        var (started, cpu) = (Stopwatch.GetTimestamp(), server.Cpu);
        await Task.Delay(span, TimeProvider.System, CancellationToken.None);
        var (delivered, p50, p99) = delays.Take();
        var (elapsed, spent) = (Stopwatch.GetElapsedTime(started), server.Cpu - cpu);
        var memory = server.ResidentBytes - before;

        sockets.ForEach(socket => socket.Dispose());
        await Task.WhenAll(readers);
        return new(delivered / elapsed.TotalSeconds, p50, p99, memory / 1024.0 / ClientCount, spent.TotalMicroseconds / Math.Max(1, delivered));
    }

    /// <summary>Opens a stream.</summary>
    /// <param name="port">The port of the server.</param>
    /// <param name="state">Whether with the state of the service, as the page asks for it.</param>
    public static async Task<Socket> OpenAsync(int port, bool state = false)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        await socket.ConnectAsync(IPAddress.Loopback, port);
        await socket.SendAsync(Encoding.ASCII.GetBytes($"GET /stream{(state ? "?state=true" : "")} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        return socket;
    }

    /// <summary>Reads a stream, and notes the age of each update.</summary>
    private static async Task ReadAsync(Socket socket, Delays delays)
    {
        var buffer = new byte[8192];
        var kept = 0;
        try
        {
            while (await socket.ReceiveAsync(buffer.AsMemory(kept)) is > 0 and var read)
            {
                var rest = delays.Note(buffer.AsSpan(0, kept + read));
                rest.CopyTo(buffer);
                kept = rest.Length;
            }
        }
        catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
        {
            // The round is over.
        }
    }

    /// <summary>A histogram of delays, in steps of 0.1 ms.</summary>
    private sealed class Delays
    {
        private const int StepsPerMs = 10;

        private static readonly byte[] Mark = "\"window_start\":"u8.ToArray();

        private readonly long[] _steps = new long[StepsPerMs * 30_000];

        /// <summary>Notes the updates in a buffer, and returns the rest, which belongs to an incomplete update.</summary>
        public ReadOnlySpan<byte> Note(ReadOnlySpan<byte> read)
        {
            var now = Stopwatch.GetTimestamp();
            while (read.IndexOf(Mark) is >= 0 and var at)
            {
                var number = read[(at + Mark.Length)..];
                if (!Utf8Parser.TryParse(number, out long made, out var length) || length == number.Length)
                {
                    return read[at..];
                }

                var step = (long)(Stopwatch.GetElapsedTime(made, now).TotalMilliseconds * StepsPerMs);
                Interlocked.Increment(ref _steps[Math.Clamp(step, 0, _steps.Length - 1)]);
                read = number[length..];
            }

            return read.Length < Mark.Length ? read : read[^(Mark.Length - 1)..];
        }

        public void Clear()
        {
            for (var step = 0; step < _steps.Length; step++)
            {
                Volatile.Write(ref _steps[step], 0);
            }
        }

        public (long Count, double P50, double P99) Take()
        {
            var steps = Array.ConvertAll(_steps, step => step);
            var count = steps.Sum();
            return (count, At(0.5), At(0.99));

            double At(double share)
            {
                long seen = 0;
                var step = 0;
                while (step < steps.Length - 1 && (seen += steps[step]) < share * count)
                {
                    step++;
                }

                return (double)step / StepsPerMs;
            }
        }
    }
}
