namespace Cache.Tests;

/// <summary>
/// What a test needs of the machine. Missing, it skips the test and says why; named in the comma-separated environment
/// variable <c>CACHE_TESTS_REQUIRE</c>, it fails it.
/// </summary>
public static class Requirement
{
    /// <summary>The path of an installed program.</summary>
    /// <param name="program">Its file name, looked for along PATH.</param>
    /// <param name="name">What <c>CACHE_TESTS_REQUIRE</c> calls it.</param>
    public static string Program(string program, string name)
    {
        var path = (Environment.GetEnvironmentVariable("PATH") ?? "")
            .Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries)
            .Select(folder => Path.Combine(folder, program))
            .FirstOrDefault(File.Exists);
        if (path is null)
        {
            Missing($"{program} is not installed", name);
        }

        return path!;
    }

    /// <summary>Ends the test: skipped, or failed when <paramref name="name"/> is required.</summary>
    public static void Missing(string reason, string name)
    {
        var required = (Environment.GetEnvironmentVariable("CACHE_TESTS_REQUIRE") ?? "")
            .Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
        if (required.Contains(name, StringComparer.OrdinalIgnoreCase))
        {
            Assert.Fail($"{reason}, and CACHE_TESTS_REQUIRE names {name}");
        }

        Assert.Skip(reason);
    }
}
