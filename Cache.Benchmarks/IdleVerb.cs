namespace Cache.Benchmarks;

/// <summary>
/// <c>idle</c>: CPU time and memory while no rows come, first without readers, then with one page open, compared with a bare consumer at
/// the same time; and memory after 300,000 rows.
/// </summary>
internal static class IdleVerb
{
    private const long Rows = 300_000;

    private static readonly TimeSpan Settle = TimeSpan.FromSeconds(15);

    // Code that runs once a second is compiled for good only after more than a minute.
    private static readonly TimeSpan Compiled = TimeSpan.FromSeconds(90);

    public static async Task RunAsync(Run run)
    {
        run.Conditions(Backlog.Partitions);
        var (settle, span) = (run.Quick ? Settle / 5 : Settle, TimeSpan.FromSeconds(run.Quick ? 3 : 20));
        await using var broker = await run.StartBrokerAsync(Backlog.Partitions);
        await using var service = await Side.StartServiceAsync(broker);
        await using var client = await Side.StartBareAsync(broker, "client", Rows);
        await WaitAsync(run.Quick ? settle : Compiled);
        await CpuShare.MeasureAsync(run, "idle", service, client, () => WaitAsync(span));
        run.Report.Add("rss_idle_mb", "MB", [service.Process.ResidentBytes / 1e6]);
        run.Report.Add("rss_idle_client_mb", "MB", [client.Process.ResidentBytes / 1e6]);

        // What an open page has: its stream. It reads windows once, and again only if it may have missed updates.
        using (await StreamVerb.OpenAsync(service.Process.Port, state: true))
        {
            await WaitAsync(settle / 5);
            await CpuShare.MeasureAsync(run, "idle_page", service, client, () => WaitAsync(span));
        }

        broker.Fill(new(Rows));
        await service.CommittedAsync(Rows);
        await WaitAsync(settle);
        run.Report.Add("rss_after_300k_rows_mb", "MB", [service.Process.ResidentBytes / 1e6]);
        run.Report.Add("rss_after_300k_rows_client_mb", "MB", [client.Process.ResidentBytes / 1e6]);
    }

    private static Task WaitAsync(TimeSpan span) => Task.Delay(span, TimeProvider.System, CancellationToken.None);
}
