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
        AlternateAsync(rounds, () => { }, sides);

    /// <summary>Runs each side once a round.</summary>
    /// <param name="rounds">How many.</param>
    /// <param name="prepare">Done before each round.</param>
    /// <param name="sides">Who takes turns.</param>
    /// <returns>The results of a side, a round each, by the side's name.</returns>
    public static async Task<Dictionary<string, List<T>>> AlternateAsync<T>(int rounds, Action prepare, params (string Name, Func<Task<T>> Measure)[] sides)
    {
        var results = sides.ToDictionary(side => side.Name, _ => new List<T>());
        for (var round = 1; round <= rounds; round++)
        {
            prepare();

            // The other way round each time: neither side always comes after the other.
            foreach (var (name, measure) in round % 2 == 0 ? sides.Reverse() : sides)
            {
                var result = await measure();
                results[name].Add(result);
                Console.Error.WriteLine($"round {round}/{rounds} {name}: {result}");
            }
        }

        return results;
    }
}
