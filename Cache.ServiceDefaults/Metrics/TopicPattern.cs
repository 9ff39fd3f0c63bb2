using System.Collections.Concurrent;
using System.Text.RegularExpressions;

namespace Cache.Metrics;

/// <summary>
/// A pattern of topic names, which begins with <c>^</c>. The Kafka client subscribes by it (POSIX extended, in librdkafka), and the
/// service finds by it what type a topic has (.NET), so only what means the same in both is accepted.
/// </summary>
public static partial class TopicPattern
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(1);

    // Patterns come from the configuration, so there are few.
    private static readonly ConcurrentDictionary<string, Regex> Compiled = new();

    /// <summary>Whether a topic of a type is a pattern.</summary>
    public static bool IsPattern(string topic) => topic.StartsWith('^');

    /// <summary>Whether a text can be the name of a topic.</summary>
    public static bool IsName(string topic) =>
        topic.Length is > 0 and <= 249 && topic is not ("." or "..")
        && topic.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-');

    /// <summary>Why a pattern cannot be used, as the end of a sentence; null if it can.</summary>
    public static string? Error(string pattern)
    {
        if (Ambiguous.IsMatch(pattern))
        {
            return @"use only what every regular expression knows: no \d, \w and the like, no (?…), no [:…:], no lazy quantifiers.";
        }

        try
        {
            _ = Compile(pattern);
            return null;
        }
        catch (Exception exception) when (exception is ArgumentException or NotSupportedException)
        {
            return "that is not a regular expression, or too large a one.";
        }
    }

    /// <summary>Whether a topic is of this name, or matches this pattern.</summary>
    public static bool Matches(string pattern, string topic) => IsPattern(pattern) ? Compile(pattern).IsMatch(topic) : pattern == topic;

    private static Regex Compile(string pattern) =>
        Compiled.GetOrAdd(pattern, static pattern => new(pattern, RegexOptions.CultureInvariant | RegexOptions.NonBacktracking, Timeout));

    [GeneratedRegex(@"\\[^^.$|()\[\]{}*+?\\-]|\(\?|\[[:.=]|[*+?}][?+]")]
    private static partial Regex Ambiguous { get; }
}
