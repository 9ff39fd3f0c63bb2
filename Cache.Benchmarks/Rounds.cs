namespace Cache.Benchmarks;

/// <summary>
/// Runs sides in turns, since such a machine is faster at one minute than at the next: what is compared ran at about the
/// same time.
/// </summary>
internal static class Rounds
{
    // A host can be busy for minutes.
    private const int MostTimes = 4;

    /// <summary>Runs each side once a round.</summary>
    /// <returns>The results of a side, a round each, by the side's name.</returns>
    public static Task<Dictionary<string, List<T>>> AlternateAsync<T>(int rounds, params (string Name, Func<Task<T>> Measure)[] sides) =>
        AlternateAsync(rounds, () => { }, double.MaxValue, sides);

    /// <summary>Runs each side once a round.</summary>
    /// <param name="rounds">How many.</param>
    /// <param name="prepare">Done before each round.</param>
    /// <param name="sides">Who takes turns.</param>
    /// <returns>The results of a side, a round each, by the side's name.</returns>
    public static Task<Dictionary<string, List<T>>> AlternateAsync<T>(int rounds, Action prepare, params (string Name, Func<Task<T>> Measure)[] sides) =>
        AlternateAsync(rounds, prepare, double.MaxValue, sides);

    /// <summary>
    /// Runs each side once a round, and further rounds for those of which the host took too much: at most four times as many in
    /// all, and then those count that it took least of.
    /// </summary>
    /// <param name="rounds">How many count.</param>
    /// <param name="mostStolen">What the host may take of a round that counts, percent.</param>
    /// <param name="sides">Who takes turns.</param>
    /// <returns>The results of a side, a round each, by the side's name.</returns>
    public static Task<Dictionary<string, List<T>>> AlternateUndisturbedAsync<T>(
        int rounds, double mostStolen, params (string Name, Func<Task<T>> Measure)[] sides) =>
        AlternateAsync(rounds, () => { }, mostStolen, sides);

    private static async Task<Dictionary<string, List<T>>> AlternateAsync<T>(
        int rounds, Action prepare, double mostStolen, (string Name, Func<Task<T>> Measure)[] sides)
    {
        var all = new List<(double Stolen, Dictionary<string, T> Results)>();
        while (all.Count(round => round.Stolen <= mostStolen) < rounds && all.Count < MostTimes * rounds)
        {
            prepare();
            var results = new Dictionary<string, T>();
            var worst = 0.0;

            // The other way round each time: neither side always comes after the other.
            foreach (var (name, measure) in all.Count % 2 == 1 ? sides.Reverse() : sides)
            {
                var stolen = new StolenTime();
                results[name] = await measure();
                var percent = stolen.Percent;
                worst = Math.Max(worst, percent);
                Console.Error.WriteLine($"round {all.Count + 1}/{rounds} {name}: {results[name]}, {percent:0.0} % stolen{(percent > mostStolen ? ", too much to count" : "")}");
            }

            all.Add((worst, results));
        }

        var counted = all.OrderBy(round => round.Stolen).Take(rounds).ToList();
        return sides.ToDictionary(side => side.Name, side => counted.ConvertAll(round => round.Results[side.Name]));
    }
}
