namespace Cache.Benchmarks;

/// <summary>
/// Runs sides in turns, since such a machine is faster at one minute than at the next: what is compared ran at about the
/// same time.
/// </summary>
internal static class Rounds
{
    /// <summary>Runs each side once a round.</summary>
    /// <returns>The results of a side, a round each, by the side's name.</returns>
    public static Task<Dictionary<string, List<T>>> AlternateAsync<T>(int rounds, params (string Name, Func<Task<T>> Measure)[] sides) =>
        AlternateAsync(rounds, _ => Task.CompletedTask, 1, double.MaxValue, sides);

    /// <summary>Runs each side once a round.</summary>
    /// <param name="rounds">How many.</param>
    /// <param name="prepare">Done before each round.</param>
    /// <param name="sides">Who takes turns.</param>
    /// <returns>The results of a side, a round each, by the side's name.</returns>
    public static Task<Dictionary<string, List<T>>> AlternateAsync<T>(int rounds, Action prepare, params (string Name, Func<Task<T>> Measure)[] sides) =>
        AlternateAsync(
            rounds,
            _ =>
            {
                prepare();
                return Task.CompletedTask;
            },
            1,
            double.MaxValue,
            sides);

    /// <summary>
    /// Runs each side once a round, and further rounds for those of which the host took too much, which it can for minutes; then
    /// those count that it took least of.
    /// </summary>
    /// <param name="rounds">How many count.</param>
    /// <param name="mostTimes">How many times as many are run at most.</param>
    /// <param name="mostStolen">What the host may take of a round that counts, percent.</param>
    /// <param name="prepare">Done before each round; gets its number, from 0.</param>
    /// <param name="sides">Who takes turns.</param>
    /// <returns>The results of a side, a round each, by the side's name.</returns>
    public static Task<Dictionary<string, List<T>>> AlternateUndisturbedAsync<T>(
        int rounds, int mostTimes, double mostStolen, Func<int, Task> prepare, params (string Name, Func<Task<T>> Measure)[] sides) =>
        AlternateAsync(rounds, prepare, mostTimes, mostStolen, sides);

    private static async Task<Dictionary<string, List<T>>> AlternateAsync<T>(
        int rounds, Func<int, Task> prepare, int mostTimes, double mostStolen, (string Name, Func<Task<T>> Measure)[] sides)
    {
        var all = new List<(double Stolen, Dictionary<string, T> Results)>();
        while (all.Count(round => round.Stolen <= mostStolen) < rounds && all.Count < mostTimes * rounds)
        {
            await prepare(all.Count);
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
