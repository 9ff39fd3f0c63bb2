namespace Cache.Benchmarks;

/// <summary>
/// <c>types</c>: a backlog of a default type, of two measures, and one of a type of eight. With <c>--against FOLDER</c> also the
/// default type on another build of the service, the one in that folder.
/// </summary>
internal static class TypesVerb
{
    private const int ManyMeasures = 8;

    public static async Task RunAsync(Run run)
    {
        run.Conditions(Backlog.Partitions);
        // Many short rounds: the noise in a single one is as large as the difference to be measured.
        var rows = run.Quick ? 100_000L : 200_000L;
        List<Variant> variants = [new("two", new(rows)), new("eight", new(rows, Measures: ManyMeasures))];
        if (run.Against is { } folder)
        {
            variants.Add(new("before", new(rows)) { Service = Path.GetFullPath(Path.Combine(folder, "Cache.Service.dll")) });
        }

        var costs = await Variant.MeasureTogetherAsync(run, [.. variants]);
        foreach (var (name, rounds) in costs)
        {
            run.Report.Add($"types_{name}_cpu_us_per_row", "µs", rounds);
        }

        run.Report.AddRatio("types_eight_vs_two", costs["eight"], costs["two"]);
        if (run.Against is not null)
        {
            run.Report.AddRatio("types_now_vs_before", costs["two"], costs["before"]);
        }
    }
}
