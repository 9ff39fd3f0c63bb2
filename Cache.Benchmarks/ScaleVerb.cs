namespace Cache.Benchmarks;

/// <summary><c>scale</c>: what a row of a backlog costs as windows get more dimensions, as more windows stay, and as replicas share the work.</summary>
internal static class ScaleVerb
{
    public static async Task RunAsync(Run run)
    {
        var rows = run.Quick ? 200_000L : 600_000L;
        await using var redis = await ServerProcess.StartRedisAsync();
        await MeasureDimensionsAsync(run, redis, rows);

        await using var kafka = await Broker.StartAsync(Backlog.Partitions, new(rows));
        await using var side = await Side.ConnectAsync(kafka, redis);
        var retention = await Rounds.AlternateAsync(
            run.Rounds,
            ("120", () => CostAsync(side, rows, 1)),
            ("10000", () => CostAsync(side, rows, 1, "--window_retention_count", "10000")));
        Add(run, "retention", retention);
        run.Report.AddRatio("scale_retention", retention["10000"], retention["120"]);

        var replicas = await Rounds.AlternateAsync(
            run.Rounds,
            ("1", () => CostAsync(side, rows, 1)),
            ("2", () => CostAsync(side, rows, 2)),
            ("3", () => CostAsync(side, rows, 3)));
        Add(run, "replicas", replicas);
    }

    private static async Task MeasureDimensionsAsync(Run run, ServerProcess redis, long rows)
    {
        int[] dimensions = [4, 100, 10_000];
        var brokers = new Dictionary<int, (ServerProcess Kafka, Side Side)>();
        try
        {
            foreach (var number in dimensions)
            {
                var kafka = await Broker.StartAsync(Backlog.Partitions, new(rows, number));
                brokers[number] = (kafka, await Side.ConnectAsync(kafka, redis));
            }

            var costs = await Rounds.AlternateAsync(
                run.Rounds, [.. dimensions.Select(number => ($"{number}", (Func<Task<double>>)(() => CostAsync(brokers[number].Side, rows, 1))))]);
            Add(run, "dimensions", costs);
            run.Report.AddRatio("scale_dimensions", costs["10000"], costs["4"]);
        }
        finally
        {
            foreach (var (kafka, side) in brokers.Values)
            {
                await side.DisposeAsync();
                await kafka.DisposeAsync();
            }
        }
    }

    /// <summary>Microseconds a row.</summary>
    private static async Task<double> CostAsync(Side side, long rows, int replicas, params string[] arguments) =>
        (await side.CatchUpAsync(rows, replicas, arguments)).Elapsed.TotalMicroseconds / rows;

    private static void Add(Run run, string what, Dictionary<string, List<double>> costs)
    {
        foreach (var (number, rounds) in costs)
        {
            run.Report.Add($"scale_{what}_{number}_us_per_row", "µs", rounds);
        }
    }
}
