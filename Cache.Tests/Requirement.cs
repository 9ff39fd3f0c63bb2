using System.Collections.Concurrent;

namespace Cache.Tests;

/// <summary>
/// Something that a test needs from the machine. If it is missing, the test is skipped with the reason, or fails if the
/// comma-separated environment variable <c>CACHE_TESTS_REQUIRE</c> names it. Anything named in <c>CACHE_TESTS_BLIND</c> counts as
/// missing.
/// </summary>
/// <remarks>
/// A test must ask before it starts anything, so that a skipped test leaves nothing behind. A test that asks later fails, even where
/// the program is installed. Good places are the constructor of the test class and the first line of the test.
/// </remarks>
public static class Requirement
{
    private const string Require = "CACHE_TESTS_REQUIRE";
    private const string Blind = "CACHE_TESTS_BLIND";

    private static readonly ConcurrentDictionary<string, AskedByTest> Tests = new();

    /// <summary>Returns the path of an installed program.</summary>
    /// <param name="program">Its file name, looked up in PATH.</param>
    /// <param name="name">Its name in the environment variables.</param>
    /// <exception cref="InvalidOperationException">The test has already started something.</exception>
    public static string Program(string program, string name)
    {
        var path = (Environment.GetEnvironmentVariable("PATH") ?? "")
            .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .Select(folder => Path.Combine(folder, program))
            .FirstOrDefault(File.Exists);
        Ask(path is not null, $"{program} is not installed", name);
        return path!;
    }

    /// <summary>Returns if the machine has it; otherwise skips the test, or fails it if <paramref name="name"/> is required.</summary>
    /// <param name="isThere">Whether the machine has it.</param>
    /// <param name="reason">The message if it does not.</param>
    /// <param name="name">Its name in the environment variables.</param>
    /// <exception cref="InvalidOperationException">The test has already started something.</exception>
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

    /// <summary>Whether something counts as missing even where it is installed.</summary>
    /// <param name="name">Its name in the environment variables.</param>
    public static bool IsHidden(string name) => Names(Blind, name);

    /// <summary>Records that the test has started something that needs cleanup: asking for anything new is now an error.</summary>
    public static void Started()
    {
        if (CurrentTest is { } test)
        {
            test.HasStarted = true;
        }
    }

    // Null in fixtures, which belong to no test: what they start outlives the first test that needs it.
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
