using System.Collections.Concurrent;

namespace Cache.Tests;

/// <summary>
/// What a test needs of the machine. Missing, it skips the test and says why; named in the comma-separated environment
/// variable <c>CACHE_TESTS_REQUIRE</c>, it fails it. What <c>CACHE_TESTS_BLIND</c> names counts as missing.
/// </summary>
/// <remarks>
/// A test asks before it starts anything, so that a test that skips leaves nothing behind: whoever asks later fails, wherever the
/// program is installed. In a test class a constructor is a good place, in a test the first line.
/// </remarks>
public static class Requirement
{
    private const string Require = "CACHE_TESTS_REQUIRE";
    private const string Blind = "CACHE_TESTS_BLIND";

    private static readonly ConcurrentDictionary<string, AskedByTest> Tests = new();

    /// <summary>The path of an installed program.</summary>
    /// <param name="program">Its file name, looked for along PATH.</param>
    /// <param name="name">What the environment variables call it.</param>
    /// <exception cref="InvalidOperationException">The test has started something already.</exception>
    public static string Program(string program, string name)
    {
        var path = (Environment.GetEnvironmentVariable("PATH") ?? "")
            .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .Select(folder => Path.Combine(folder, program))
            .FirstOrDefault(File.Exists);
        Ask(path is not null, $"{program} is not installed", name);
        return path!;
    }

    /// <summary>Goes on when it is there; else ends the test: skipped, or failed when <paramref name="name"/> is required.</summary>
    /// <param name="isThere">Whether the machine has it.</param>
    /// <param name="reason">What to say when it has not.</param>
    /// <param name="name">What the environment variables call it.</param>
    /// <exception cref="InvalidOperationException">The test has started something already.</exception>
    public static void Ask(bool isThere, string reason, string name)
    {
        if (CurrentTest is { } test && !test.Names.ContainsKey(name))
        {
            if (test.HasStarted)
            {
                throw new InvalidOperationException($"Ask for {name} before anything is started: a test that skips leaves nothing behind.");
            }

            test.Names[name] = true;
        }

        if (IsHidden(name))
        {
            (isThere, reason) = (false, $"{Blind} names {name}");
        }

        if (isThere)
        {
            return;
        }

        if (Names(Require, name))
        {
            Assert.Fail($"{reason}, and {Require} names {name}");
        }

        Assert.Skip(reason);
    }

    /// <summary>Whether something is to be taken for missing, wherever it is installed.</summary>
    /// <param name="name">What the environment variables call it.</param>
    public static bool IsHidden(string name) => Names(Blind, name);

    /// <summary>The test has started something that it must not leave behind: now it is too late to ask for anything new.</summary>
    public static void Started()
    {
        if (CurrentTest is { } test)
        {
            test.HasStarted = true;
        }
    }

    // Fixtures have no test: what they start outlives the one that comes first.
    private static AskedByTest? CurrentTest =>
        TestContext.Current.Test is { } test ? Tests.GetOrAdd(test.UniqueID, _ => new()) : null;

    private static bool Names(string variable, string name) =>
        (Environment.GetEnvironmentVariable(variable) ?? "")
            .Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)
            .Contains(name, StringComparer.OrdinalIgnoreCase);

    private sealed class AskedByTest
    {
        public ConcurrentDictionary<string, bool> Names { get; } = new(StringComparer.OrdinalIgnoreCase);

        public volatile bool HasStarted;
    }
}
