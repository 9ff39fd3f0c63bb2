using System.Globalization;

namespace Cache.Benchmarks;

/// <summary>A service with its own settings and backlog, to compare with others.</summary>
/// <param name="Name">Its name in the results.</param>
/// <param name="Backlog">The rows it reads.</param>
/// <param name="Replicas">The number of replicas that share the work.</param>
/// <param name="Arguments">Its settings.</param>
internal sealed record Variant(string Name, Backlog Backlog, int Replicas = 1, params string[] Arguments)
{
    /// <summary>The program that is run.</summary>
    public string Service { get; init; } = Side.Service;

    // Code that runs once per batch reaches its final tier only after some rounds; comparing CPU time takes even more of them.
    private const int WarmUps = 3;
    private const int LongWarmUps = 15;
    private const int ManyRounds = 25;
    private const int ProcessesPerVariant = 2;

    /// <summary>Runs variants in turn, each with its own broker; the first rounds are warm-up and do not count.</summary>
    /// <returns>Microseconds per row, one value per round, by the variants' names.</returns>
    public static async Task<Dictionary<string, List<double>>> MeasureAsync(Run run, params Variant[] variants)
    {
        await using var all = await Running.StartAsync(run, variants);
        await AlternateAsync(run.Quick ? 1 : WarmUps);
        var costs = await AlternateAsync(run.Rounds);
        await all.RequireLastAsync();
        return costs;

        Task<Dictionary<string, List<double>>> AlternateAsync(int times) => Rounds.AlternateAsync(
            times, all.Fill, [.. all.Sides.Select(one => (one.Variant.Name, (Func<Task<double>>)(async () => (await all.CommitAsync(one)).Elapsed.TotalMicroseconds / one.Variant.Backlog.Rows)))]);
    }

    /// <summary>
    /// Measures differences smaller than the noise of the machine and of single processes. Runs variants at the same time, so that
    /// disturbances affect all of them, and several processes per variant, because even identical ones differ by some percent for
    /// their whole lives.
    /// </summary>
    /// <returns>Microseconds of CPU time per row, the mean of a variant's processes, one value per round, by the variants' names.</returns>
    public static async Task<Dictionary<string, List<double>>> MeasureTogetherAsync(Run run, params Variant[] variants)
    {
        await using var all = await Running.StartAsync(run, [.. Enumerable.Repeat(variants, run.Quick ? 1 : ProcessesPerVariant).SelectMany(_ => _)]);
        var costs = variants.ToDictionary(variant => variant.Name, _ => new List<double>());
        var rounds = run.Quick ? run.Rounds : ManyRounds;
        for (var round = run.Quick ? 0 : 1 - LongWarmUps; round <= rounds; round++)
        {
            all.Fill();

            // Reverse the order in every other round: the first to start has the machine to itself for a moment.
            var sides = round % 2 == 0 ? all.Sides : [.. all.Sides.Reverse()];
            var turns = await Task.WhenAll(sides.Select(all.CommitAsync));
            foreach (var alike in sides.Zip(turns, (one, turn) => (one.Variant, Cost: turn.Cpu.TotalMicroseconds / one.Variant.Backlog.Rows)).GroupBy(one => one.Variant.Name))
            {
                if (round > 0)
                {
                    costs[alike.Key].Add(alike.Average(one => one.Cost));
                }

                await Console.Error.WriteLineAsync($"round {round}/{rounds} {alike.Key}: {string.Join(", ", alike.Select(one => one.Cost.ToString("0.000", CultureInfo.InvariantCulture)))}");
            }
        }

        await all.RequireLastAsync();
        return costs;
    }

    /// <summary>Running variants, each with its own broker.</summary>
    private sealed class Running : IAsyncDisposable
    {
        private readonly List<(Variant Variant, Broker Broker, Side Side)> _sides = [];
        private long _rounds;

        public IReadOnlyList<(Variant Variant, Broker Broker, Side Side)> Sides => _sides;

        public static async Task<Running> StartAsync(Run run, Variant[] variants)
        {
            var running = new Running();
            foreach (var variant in variants)
            {
                var broker = await run.StartBrokerAsync(Backlog.Partitions);
                string[] measures = variant.Backlog.Measures > 2 ? ["--metric_types", broker.MetricTypes(variant.Backlog.Measures)] : [];
                running._sides.Add((variant, broker, await Side.StartBuildAsync(variant.Service, broker, variant.Replicas, [.. variant.Arguments, .. measures, .. Side.Suspended])));
            }

            // Only now: with the mock, a join can take as long as a session, and a side suspended for longer is expelled from its group.
            running._sides.ForEach(one => one.Side.Hold());
            return running;
        }

        /// <summary>Produces the backlog of a round.</summary>
        public void Fill()
        {
            _sides.ForEach(one => one.Broker.Fill(one.Variant.Backlog, _rounds * one.Variant.Backlog.Rows));
            _rounds++;
        }

        public Task<Side.Turn> CommitAsync((Variant Variant, Broker Broker, Side Side) one) => one.Side.CommitAsync(_rounds * one.Variant.Backlog.Rows);

        public async Task RequireLastAsync()
        {
            foreach (var (variant, _, side) in _sides)
            {
                await side.RequireLastAsync(_rounds * variant.Backlog.Rows, variant.Backlog.Dimensions);
            }
        }

        public async ValueTask DisposeAsync()
        {
            foreach (var (_, broker, side) in _sides)
            {
                await side.DisposeAsync();
                await broker.DisposeAsync();
            }
        }
    }
}
