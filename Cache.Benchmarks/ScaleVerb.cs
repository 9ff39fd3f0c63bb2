namespace Cache.Benchmarks;

/// <summary><c>scale</c>: the cost per row of a backlog with more dimensions per window, with longer retention, and with more replicas.</summary>
internal static class ScaleVerb
{
    public static async Task RunAsync(Run run)
    {
        run.Conditions(Backlog.Partitions);
        var rows = run.Quick ? 200_000L : 600_000L;
        int[] dimensions = [4, 100, 10_000];
        var costs = await MeasureAsync(run, "dimensions", [.. dimensions.Select(number => new Variant($"{number}", new(rows, number)))]);
        run.Report.AddRatio("scale_dimensions", costs["10000"], costs["4"]);

        costs = await MeasureAsync(run, "retention", [new("120", new(rows)), new("10000", new(rows), 1, "--window_retention_count", "10000")]);
        run.Report.AddRatio("scale_retention", costs["10000"], costs["120"]);

        await MeasureAsync(run, "replicas", [new("1", new(rows)), new("2", new(rows), 2), new("3", new(rows), 3)]);
    }

    private static async Task<Dictionary<string, List<double>>> MeasureAsync(Run run, string what, Variant[] variants)
    {
        var costs = await Variant.MeasureAsync(run, variants);
        foreach (var (number, rounds) in costs)
        {
            run.Report.Add($"scale_{what}_{number}_us_per_row", "µs", rounds);
        }

        return costs;
    }
}
