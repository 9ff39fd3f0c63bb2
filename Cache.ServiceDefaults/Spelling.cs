namespace Microsoft.Extensions.Hosting;

/// <summary>Finds the name that somebody meant.</summary>
public static class Spelling
{
    // More of them are no help.
    private const int MaxSuggestions = 4;

    // A shorter beginning could be that of anything; one letter in as many may be wrong.
    private const int MinBeginning = 6;

    private static readonly char[] WordEnds = ['_', '-', ':'];

    /// <summary>Suggests known names in place of an unknown one: the nearest, otherwise those that have its words, otherwise one that begins much like it.</summary>
    /// <returns>The end of a sentence, such as <c>; did you mean redis_port?</c>; empty if no name comes near.</returns>
    public static string DidYouMean(string name, IEnumerable<string> known)
    {
        ArgumentNullException.ThrowIfNull(name);
        string[] all = [.. known.Distinct(StringComparer.OrdinalIgnoreCase)];
        string[] meant =
            Nearest(name, all) is { } nearest ? [nearest]
            : all.Where(other => HasWords(other, name)).Order(StringComparer.Ordinal).ToArray() is { Length: > 0 } same ? same
            : name.Length >= MinBeginning && all.MinBy(other => Costs(name, other).Min()) is { } longer && Costs(name, longer).Min() <= name.Length / MinBeginning ? [longer]
            : [];
        return meant.Length switch
        {
            0 or > MaxSuggestions => "",
            1 => $"; did you mean {meant[0]}?",
            _ => $"; did you mean {string.Join(", ", meant[..^1])} or {meant[^1]}?",
        };
    }

    /// <summary>The known name with the smallest edit distance; null if even that is another word.</summary>
    public static string? Nearest(string name, IEnumerable<string> known)
    {
        ArgumentNullException.ThrowIfNull(name);
        var nearest = known.MinBy(other => Distance(name, other));
        return nearest is not null && Distance(name, nearest) is var distance && distance <= Math.Max(2, name.Length / 3) && distance < name.Length ? nearest : null;
    }

    /// <summary>The case-insensitive edit distance: letters to insert, delete or replace to turn one text into the other.</summary>
    public static int Distance(string from, string to)
    {
        ArgumentNullException.ThrowIfNull(from);
        ArgumentNullException.ThrowIfNull(to);
        return Costs(from, to)[^1];
    }

    /// <summary>The distances of a text to each beginning of another.</summary>
    private static int[] Costs(string from, string to)
    {
        var costs = Enumerable.Range(0, to.Length + 1).ToArray();
        foreach (var letter in from)
        {
            var diagonal = costs[0]++;
            for (var i = 1; i < costs.Length; i++)
            {
                var changed = diagonal + (char.ToUpperInvariant(letter) == char.ToUpperInvariant(to[i - 1]) ? 0 : 1);
                diagonal = costs[i];
                costs[i] = Math.Min(changed, 1 + Math.Min(costs[i], costs[i - 1]));
            }
        }

        return costs;
    }

    private static bool HasWords(string name, string words)
    {
        var given = Words(words);
        return given.Length > 0 && given.All(Words(name).Contains);
    }

    private static string[] Words(string name) =>
        [.. name.Split(WordEnds, StringSplitOptions.RemoveEmptyEntries).Select(word => word.ToLowerInvariant().TrimEnd('s'))];
}
