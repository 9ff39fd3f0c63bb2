namespace Cache.Benchmarks;

/// <summary>
/// Runs sides in turn. The speed of a shared machine varies from minute to minute, so compared runs have to be close in time.
/// </summary>
internal static class Rounds
{
    /// <summary>Runs each side once per round.</summary>
    /// <returns>The results of each side, one per round, by the side's name.</returns>
    public static Task<Dictionary<string, List<T>>> AlternateAsync<T>(int rounds, params (string Name, Func<Task<T>> Measure)[] sides) =>
        AlternateAsync(rounds, _ => Task.CompletedTask, 1, double.MaxValue, sides);

    /// <summary>Runs each side once per round.</summary>
    /// <param name="rounds">Number of rounds.</param>
    /// <param name="prepare">Runs before each round.</param>
    /// <param name="sides">The sides to compare.</param>
    /// <returns>The results of each side, one per round, by the side's name.</returns>
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
    /// Runs each side once per round, and more rounds if the host steals too much CPU time, which can last for minutes. The rounds
    /// with the least stolen time count.
    /// </summary>
    /// <param name="rounds">Number of rounds that count.</param>
    /// <param name="maxTimes">Limits the rounds to this multiple of <paramref name="rounds"/>.</param>
    /// <param name="maxStolen">Maximum stolen CPU time in a round that counts, in percent.</param>
    /// <param name="prepare">Runs before each round; gets its number, from 0.</param>
    /// <param name="sides">The sides to compare.</param>
    /// <returns>The results of each side, one per round, by the side's name.</returns>
    public static Task<Dictionary<string, List<T>>> AlternateUndisturbedAsync<T>(
        int rounds, int maxTimes, double maxStolen, Func<int, Task> prepare, params (string Name, Func<Task<T>> Measure)[] sides) =>
        AlternateAsync(rounds, prepare, maxTimes, maxStolen, sides);

    private static async Task<Dictionary<string, List<T>>> AlternateAsync<T>(
        int rounds, Func<int, Task> prepare, int maxTimes, double maxStolen, (string Name, Func<Task<T>> Measure)[] sides)
    {
        var all = new List<(double Stolen, Dictionary<string, T> Results)>();
        while (all.Count(round => round.Stolen <= maxStolen) < rounds && all.Count < maxTimes * rounds)
        {
            await prepare(all.Count);
            var results = new Dictionary<string, T>();
            var worst = 0.0;

            // Reverse the order in every other round, so that no side always runs after another.
            foreach (var (name, measure) in all.Count % 2 == 1 ? sides.Reverse() : sides)
            {
                var stolen = new StolenTime();
                results[name] = await measure();
                var percent = stolen.Percent;
                worst = Math.Max(worst, percent);
                Console.Error.WriteLine($"round {all.Count + 1}/{rounds} {name}: {results[name]}, {percent:0.0} % stolen{(percent > maxStolen ? ", too much: does not count" : "")}");
            }

            all.Add((worst, results));
        }

        var counted = all.OrderBy(round => round.Stolen).Take(rounds).ToList();
        return sides.ToDictionary(side => side.Name, side => counted.ConvertAll(round => round.Results[side.Name]));
    }
}
