namespace Cache.Benchmarks;

/// <summary>A service with settings and a backlog of its own, to be compared with others.</summary>
/// <param name="Name">Names it in the results.</param>
/// <param name="Backlog">What it reads.</param>
/// <param name="Replicas">How many share the work.</param>
/// <param name="Arguments">Its settings.</param>
internal sealed record Variant(string Name, Backlog Backlog, int Replicas = 1, params string[] Arguments)
{
    /// <summary>Runs some in turns, each with a broker of its own, one round more than counts.</summary>
    /// <returns>Microseconds a row, a round each, by the variants' names.</returns>
    public static async Task<Dictionary<string, List<double>>> MeasureAsync(int rounds, params Variant[] variants)
    {
        var running = new List<(Variant Variant, ServerProcess Kafka, Side Side)>();
        long number = 0;
        try
        {
            foreach (var variant in variants)
            {
                var kafka = await Broker.StartAsync(Backlog.Partitions, new(0));
                running.Add((variant, kafka, await Side.StartServiceAsync(kafka, variant.Replicas, variant.Arguments)));
                running[^1].Side.Hold();
            }

            await AlternateAsync(1);
            return await AlternateAsync(rounds);
        }
        finally
        {
            foreach (var (_, kafka, side) in running)
            {
                await side.DisposeAsync();
                await kafka.DisposeAsync();
            }
        }

        Task<Dictionary<string, List<double>>> AlternateAsync(int times) => Rounds.AlternateAsync(
            times,
            () =>
            {
                running.ForEach(one => Broker.Fill(one.Side.BootstrapServers, Backlog.Partitions, one.Variant.Backlog, number * one.Variant.Backlog.Rows));
                number++;
            },
            [.. running.Select(one => (one.Variant.Name, (Func<Task<double>>)(() => MeasureAsync(one.Side, one.Variant.Backlog.Rows, number))))]);
    }

    private static async Task<double> MeasureAsync(Side side, long rows, long round) =>
        (await side.CommitAsync(rows * round)).Elapsed.TotalMicroseconds / rows;
}
