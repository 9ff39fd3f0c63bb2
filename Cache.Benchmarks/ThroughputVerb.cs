namespace Cache.Benchmarks;

/// <summary>
/// <c>throughput</c>: the time for a backlog, until its last row is visible in Redis and committed, compared with the cost of
/// consuming alone (<see cref="BareConsumer"/>). Each side is one process for all rounds. The first round, in which code is still
/// being compiled, is reported separately as <c>cold</c>; the second does not count.
/// </summary>
internal static class ThroughputVerb
{
    private const int Retention = 120;

    public static async Task RunAsync(Run run)
    {
        run.Conditions(Backlog.Partitions);
        var rows = run.Quick ? 200_000L : 1_000_000L;
        await using var broker = await run.StartBrokerAsync(Backlog.Partitions);
        await using var service = await Side.StartServiceAsync(broker, 1, Side.Suspended);
        await using var client = await Side.StartBareAsync(broker, "client", rows);
        await using var decode = await Side.StartBareAsync(broker, "decode", rows);
        Side[] all = [service, client, decode];
        Array.ForEach(all, side => side.Hold());

        long produced = 0;
        var cold = await AlternateAsync(1);
        await AlternateAsync(1);
        var warm = await AlternateAsync(run.Quick ? run.Rounds : 9);
        await service.RequireLastAsync(produced);
        await service.RequireWindowsAsync(Retention);

        foreach (var (name, turns) in warm)
        {
            run.Report.Add($"throughput_{name}_rows_per_s", "rows/s", turns.Select(Rate));
            run.Report.Add($"throughput_{name}_cpu_us_per_row", "µs", turns.Select(result => result.Turn.Cpu.TotalMicroseconds / result.Rows));
        }

        foreach (var baseline in (string[])["client", "decode", "seed"])
        {
            run.Report.AddRatio($"throughput_vs_{baseline}", warm["service"].Select(Rate), warm[baseline].Select(Rate));
        }

        run.Report.AddRatio(
            "cpu_per_row_vs_client",
            warm["service"].Select(result => result.Turn.Cpu.TotalMicroseconds / result.Rows), warm["client"].Select(result => result.Turn.Cpu.TotalMicroseconds / result.Rows));
        run.Report.AddRatio("throughput_cold_vs_decode", cold["service"].Select(Rate), cold["decode"].Select(Rate));

        Task<Dictionary<string, List<Result>>> AlternateAsync(int rounds) => Rounds.AlternateAsync(
            rounds,
            () =>
            {
                broker.Fill(new(rows), produced);
                produced += rows;
            },
            ("client", async () => new Result(rows, await client.ReadAsync(produced))),
            ("decode", async () => new Result(rows, await decode.ReadAsync(produced))),
            ("service", async () => new Result(rows, await service.CommitAsync(produced))),
            ("seed", MeasureSeedAsync));

        // It manages some tens of thousands of rows per second, so more rows would add nothing. The first half is the warm-up.
        async Task<Result> MeasureSeedAsync()
        {
            var some = rows / 10;
            await using var seed = await Side.StartBareAsync(broker, "seed", some);
            await seed.ReadAsync(some);
            return new(some, await seed.ReadAsync(2 * some));
        }
    }

    private static double Rate(Result result) => result.Rows / result.Turn.Elapsed.TotalSeconds;

    /// <summary>The result of one side in one round.</summary>
    private sealed record Result(long Rows, Side.Turn Turn);
}
