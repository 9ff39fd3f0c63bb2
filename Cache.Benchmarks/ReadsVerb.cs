using System.Globalization;
using System.Text;
using StackExchange.Redis;

namespace Cache.Benchmarks;

/// <summary>
/// <c>reads</c>: requests per second over 32 connections, on the routes that dashboards use, while 100 updates per second
/// arrive, compared with <see cref="BareReads"/>. The updates look like another replica's: they alternate between a field of the
/// newest event window and one of the newest performance window, each with its message. So the cost is that of reading alone, not
/// of consuming. <c>uncached</c> asks the service with <c>Cache-Control: no-cache</c>, so that each answer is read from Redis.
/// </summary>
internal static class ReadsVerb
{
    private const int Windows = 120;
    private const long FirstWindow = 1_700_000_000_000;
    private const long Newest = FirstWindow + ((Windows - 1) * 60_000L);

    private static readonly string[] Routes =
    [
        "/metrics/overview", "/metrics/event/latest", "/metrics/performance/latest", "/metrics/event/windows?limit=20", "/metrics/performance/windows?limit=20",
    ];

    private const string NoCache = "Cache-Control: no-cache\r\n";

    private static readonly RedisChannel Updates = RedisChannel.Literal("cache:updates");

    /// <summary>The result of one side on one route in one round.</summary>
    internal sealed record Result(double RequestsPerSecond, double CpuMicrosPerRequest, double P99Ms);

    public static async Task RunAsync(Run run)
    {
        run.Conditions(1);
        await using var broker = await run.StartBrokerAsync(1);
        await using var redis = await ServerProcess.StartRedisAsync();
        await using var client = await ConnectionMultiplexer.ConnectAsync($"127.0.0.1:{redis.Port}");
        var database = client.GetDatabase();
        for (var window = 0; window < Windows; window++)
        {
            Write(database, FirstWindow + (window * 60_000L));
        }

        await database.PingAsync();
        await using var service = await ServerProcess.StartAsync(
            Side.Service, ["--urls", "http://127.0.0.1:0", .. broker.ServiceArguments, "--ConnectionStrings:redis", $"127.0.0.1:{redis.Port}"]);

        var answers = Directory.CreateTempSubdirectory("bench-answers-");
        try
        {
            var lengths = await SaveAsync(service, answers.FullName);
            await using var bare = await ServerProcess.StartAsync("Cache.Benchmarks.dll", "bare-reads", answers.FullName);
            await MeasureAsync(run, service, bare, lengths, database);
        }
        finally
        {
            answers.Delete(recursive: true);
        }
    }

    private static async Task MeasureAsync(Run run, ServerProcess service, ServerProcess bare, int[] lengths, IDatabase database)
    {
        // Many short rounds: the load from neighbours on the host changes within seconds, and both sides should see the same.
        var (span, rounds) = (TimeSpan.FromSeconds(0.5), run.Quick ? run.Rounds : 4 * run.Rounds);

        // Update during both sides, so that Redis and this process do the same work for each.
        using var stop = new CancellationTokenSource();
        var updating = Task.Run(() => StreamVerb.TickAsync(number => Update(database, number), stop.Token));

        // Warm up for tiered compilation, which recompiles hot code several times; the service has more of it.
        for (var route = 0; route < Routes.Length; route++)
        {
            ReadClients.Ask(service.Port, Routes[route], lengths[route], span, run.Quick ? 10_000 : 60_000);
            ReadClients.Ask(service.Port, Routes[route], lengths[route], span, run.Quick ? 2_000 : 10_000, NoCache);
            ReadClients.Ask(bare.Port, $"/{route}", lengths[route], span, run.Quick ? 10_000 : 60_000);
        }

        var results = await Rounds.AlternateAsync(rounds,
        [
            .. Enumerable.Range(0, Routes.Length).SelectMany(route => new (string, Func<Task<Result>>)[]
            {
                ($"service {Routes[route]}", () => Task.Run(() => Ask(service, Routes[route], lengths[route], span))),
                ($"uncached {Routes[route]}", () => Task.Run(() => Ask(service, Routes[route], lengths[route], span, NoCache))),
                ($"bare {Routes[route]}", () => Task.Run(() => Ask(bare, $"/{route}", lengths[route], span))),
            }),
        ]);
        await stop.CancelAsync();
        await updating;

        var worst = Routes.MinBy(route => Report.Median(Ratios(route)))!;
        foreach (var route in Routes)
        {
            var name = string.Join('_', route.Split('/', '?')[2..^(route.Contains('?') ? 1 : 0)]);
            run.Report.Add($"reads_{name}_per_s", "requests/s", results[$"service {route}"].Select(result => result.RequestsPerSecond));
            run.Report.Add($"reads_bare_{name}_per_s", "requests/s", results[$"bare {route}"].Select(result => result.RequestsPerSecond));
            run.Report.Add($"reads_{name}_vs_bare", "×", Ratios(route));
            run.Report.Add($"reads_uncached_{name}_per_s", "requests/s", results[$"uncached {route}"].Select(result => result.RequestsPerSecond));
            run.Report.AddRatio(
                $"reads_{name}_cpu_vs_bare", results[$"service {route}"].Select(result => result.CpuMicrosPerRequest), results[$"bare {route}"].Select(result => result.CpuMicrosPerRequest));
        }

        run.Report.Add("reads_vs_bare", "×", Ratios(worst));
        run.Report.Add("reads_p99_vs_bare", "×", Routes.Select(P99s).MaxBy(Report.Median)!);
        run.Report.Add("reads_uncached_vs_cached", "×", Routes.Select(Uncached).MinBy(Report.Median)!);

        IEnumerable<double> Ratios(string route) =>
            results[$"service {route}"].Zip(results[$"bare {route}"], (ours, theirs) => ours.RequestsPerSecond / theirs.RequestsPerSecond);

        IEnumerable<double> P99s(string route) => results[$"service {route}"].Zip(results[$"bare {route}"], (ours, theirs) => ours.P99Ms / theirs.P99Ms);

        IEnumerable<double> Uncached(string route) =>
            results[$"uncached {route}"].Zip(results[$"service {route}"], (uncached, cached) => uncached.RequestsPerSecond / cached.RequestsPerSecond);
    }

    private static Result Ask(ServerProcess server, string route, int length, TimeSpan span, string headers = "")
    {
        var cpu = server.Cpu;
        var (requests, elapsed, p99) = ReadClients.Ask(server.Port, route, length, span, headers: headers);
        return new(requests / elapsed.TotalSeconds, (server.Cpu - cpu).TotalMicroseconds / requests, p99.TotalMilliseconds);
    }

    /// <summary>Saves the body of each route's answer, and returns their lengths.</summary>
    private static async Task<int[]> SaveAsync(ServerProcess service, string folder)
    {
        using var http = new HttpClient { BaseAddress = new($"http://127.0.0.1:{service.Port}") };
        var lengths = new int[Routes.Length];
        for (var route = 0; route < Routes.Length; route++)
        {
            var body = await http.GetByteArrayAsync(Routes[route]);
            if (!Encoding.ASCII.GetString(body).Contains(Newest.ToString(CultureInfo.InvariantCulture), StringComparison.Ordinal))
            {
                throw new InvalidOperationException($"{Routes[route]} has no windows.");
            }

            await File.WriteAllBytesAsync(Path.Combine(folder, route.ToString(CultureInfo.InvariantCulture)), body);
            lengths[route] = body.Length;
        }

        return lengths;
    }

    /// <summary>Writes a window of each type, as the service does.</summary>
    private static void Write(IDatabase database, long window)
    {
        string[] events = ["page_view", "click", "add_to_cart", "purchase"];
        string[] devices = ["Desktop", "Mobile", "Tablet"];
        Write("event", [.. events.SelectMany(name => new HashEntry[] { new($"{name}.count", 400), new($"{name}.users", 120) })]);
        Write("perf", [.. devices.SelectMany(name => new HashEntry[] { new($"{name}.avg_load_time", "412.5"), new($"{name}.p95_load_time", "807.6") })]);

        void Write(string type, HashEntry[] fields)
        {
            database.HashSet($"metrics:{type}:{window}", fields, CommandFlags.FireAndForget);
            database.SortedSetAdd($"metrics:{type}:windows", window, window, CommandFlags.FireAndForget);
        }
    }

    /// <summary>Updates one field. Its value always has the same number of digits, so that answers always have the same length.</summary>
    private static void Update(IDatabase database, long number)
    {
        var value = 100 + (number / 2 % 900);
        var (type, segment, field, text) = number % 2 == 0 ? ("event", "event", "click.count", $"{value}") : ("performance", "perf", "Mobile.avg_load_time", $"{value}.5");
        database.HashSet($"metrics:{segment}:{Newest}", field, text, When.Always, CommandFlags.FireAndForget);
        database.Publish(Updates, $$$"""{"type":"{{{type}}}","window_start":{{{Newest}}},"fields":{"{{{field}}}":{{{text}}}}}""", CommandFlags.FireAndForget);
    }
}
