namespace Cache.Benchmarks;

/// <summary>
/// <c>steady</c>: the CPU time that 1,000 rows per second cost, all the time, compared with a bare consumer of the same rows at the same
/// time. First each row goes to another partition than the one before, as where keys are dimensions; then all rows of a window to the
/// same, as where keys are windows. With the default fetch wait, the embedded Kafka hands out rows only twice a second; with 1 ms it
/// hands them out as they come, as a real broker does.
/// </summary>
internal static class SteadyVerb
{
    private const int RowsPerSecond = 1000;

    // Code that runs once per batch is compiled for good only after tens of seconds.
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(30);

    public static async Task RunAsync(Run run)
    {
        await RunAsync(run, 500, "steady");
        if (run.Kafka is null)
        {
            await RunAsync(run, 1, "steady_prompt");
        }
    }

    private static async Task RunAsync(Run run, int fetchWaitMs, string prefix)
    {
        run.Conditions(Backlog.Partitions, fetchWaitMs, $", {RowsPerSecond} rows/s");
        await using var broker = await run.StartBrokerAsync(Backlog.Partitions);
        await using var service = await Side.StartServiceAsync(broker, 1, "--Kafka:fetch.wait.max.ms", $"{fetchWaitMs}");
        await using var client = await Side.StartBareAsync(broker, "client", 1_000_000, fetchWaitMs);
        using var feeder = new Feeder(broker);
        long produced = 0;

        await FeedAsync(WarmUp / (run.Quick ? 10 : 1), spread: true);
        await MeasureAsync(prefix, spread: true);
        await MeasureAsync($"{prefix}_by_window", spread: false);
        await service.CommittedAsync(produced);

        Task MeasureAsync(string name, bool spread) =>
            CpuShare.MeasureAsync(run, name, service, client, () => FeedAsync(TimeSpan.FromSeconds(run.Quick ? 3 : 10), spread));

        async Task FeedAsync(TimeSpan span, bool spread) => produced += await feeder.FeedAsync(broker.Topic, RowsPerSecond, span, spread);
    }
}
