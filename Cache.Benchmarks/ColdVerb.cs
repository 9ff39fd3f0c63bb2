using System.Diagnostics;

namespace Cache.Benchmarks;

/// <summary>
/// <c>cold</c>: a backlog of a million rows for a process that has just started, as after every start and deployment, compared with a
/// bare consumer that has just started, too. Measured from its partitions to the last row, in Redis and committed.
/// </summary>
internal static class ColdVerb
{
    /// <summary>The result of one process.</summary>
    internal sealed record Result(double RowsPerSecond, double CpuMicrosPerRow);

    public static async Task RunAsync(Run run)
    {
        run.Conditions(Backlog.Partitions);
        var rows = run.Quick ? 200_000L : 1_000_000L;
        await using var broker = await run.StartBrokerAsync(Backlog.Partitions);
        broker.Fill(new(rows));
        var results = await Rounds.AlternateAsync(run.Rounds, ("service", MeasureServiceAsync), ("client", MeasureClientAsync));
        var (service, client) = (results["service"], results["client"]);
        run.Report.Add("cold_rows_per_s", "rows/s", service.Select(result => result.RowsPerSecond));
        run.Report.Add("cold_client_rows_per_s", "rows/s", client.Select(result => result.RowsPerSecond));
        run.Report.AddRatio("cold_throughput_vs_client", service.Select(result => result.RowsPerSecond), client.Select(result => result.RowsPerSecond));
        run.Report.Add("cold_cpu_us_per_row", "µs", service.Select(result => result.CpuMicrosPerRow));
        run.Report.Add("cold_client_cpu_us_per_row", "µs", client.Select(result => result.CpuMicrosPerRow));

        async Task<Result> MeasureServiceAsync()
        {
            await using var side = await Side.StartServiceAsync(broker, 1, "--cache_consume_from", "earliest");
            var result = await MeasureAsync(side, async () =>
            {
                await side.CommittedAsync(rows);
                return Stopwatch.GetTimestamp();
            });
            await side.RequireLastAsync(rows);
            return result;
        }

        async Task<Result> MeasureClientAsync()
        {
            await using var side = await Side.StartBareAsync(broker, "client", rows);
            return await MeasureAsync(side, async () => (await side.Process.LineAsync(BareConsumer.Through(rows))).At);
        }

        async Task<Result> MeasureAsync(Side side, Func<Task<long>> done)
        {
            var cpu = side.Process.Cpu;
            var elapsed = Stopwatch.GetElapsedTime(side.AssignedAt, await done());
            return new(rows / elapsed.TotalSeconds, (side.Process.Cpu - cpu).TotalMicroseconds / rows);
        }
    }
}
