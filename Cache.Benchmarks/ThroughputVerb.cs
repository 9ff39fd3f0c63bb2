using System.Diagnostics;

namespace Cache.Benchmarks;

/// <summary>
/// <c>throughput</c>: a backlog, from the moment at which partitions are assigned to the last row visible in Redis and
/// committed, against what consuming alone costs (<see cref="BareConsumer"/>).
/// </summary>
internal static class ThroughputVerb
{
    private const int Retention = 120;

    /// <summary>One side in one round.</summary>
    internal sealed record Result(double RowsPerSecond, double CpuMicrosPerRow);

    public static async Task RunAsync(Run run)
    {
        var rows = run.Quick ? 200_000L : 1_000_000L;

        // It does some tens of thousands of rows a second: more of them tell no more.
        var seedRows = rows / 10;
        await using var kafka = await Broker.StartAsync(Backlog.Partitions, new(rows));
        await using var redis = await ServerProcess.StartRedisAsync();
        await using var side = await Side.ConnectAsync(kafka, redis);
        var results = await Rounds.AlternateAsync(
            run.Rounds,
            ("client", () => MeasureBareAsync("client", rows)),
            ("decode", () => MeasureBareAsync("decode", rows)),
            ("service", MeasureServiceAsync),
            ("seed", () => MeasureBareAsync("seed", seedRows)));

        foreach (var (name, rounds) in results)
        {
            run.Report.Add($"throughput_{name}_rows_per_s", "rows/s", rounds.Select(result => result.RowsPerSecond));
            run.Report.Add($"throughput_{name}_cpu_us_per_row", "µs", rounds.Select(result => result.CpuMicrosPerRow));
        }

        foreach (var baseline in (string[])["client", "decode", "seed"])
        {
            run.Report.AddRatio(
                $"throughput_vs_{baseline}", results["service"].Select(result => result.RowsPerSecond), results[baseline].Select(result => result.RowsPerSecond));
        }

        async Task<Result> MeasureBareAsync(string name, long sideRows)
        {
            await using var process = side.StartBare(name, sideRows);
            var (_, assigned) = await process.LineAsync(BareConsumer.Assigned);
            var (_, done) = await process.LineAsync(BareConsumer.Done);
            return new(sideRows / Stopwatch.GetElapsedTime(assigned, done).TotalSeconds, process.Cpu.TotalMicroseconds / sideRows);
        }

        async Task<Result> MeasureServiceAsync()
        {
            var result = await side.CatchUpAsync(rows);
            await side.RequireWindowsAsync(rows, Retention);
            return new(rows / result.Elapsed.TotalSeconds, result.Cpu.TotalMicroseconds / rows);
        }
    }
}
