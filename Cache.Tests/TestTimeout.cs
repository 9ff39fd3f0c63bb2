using System.Globalization;

namespace Cache.Tests;

/// <summary>How long a test waits for what has to happen. Generous: a passing test never waits for it, mutants do.</summary>
internal static class TestTimeout
{
    public static readonly TimeSpan Full =
        TimeSpan.FromSeconds(int.TryParse(Environment.GetEnvironmentVariable("CACHE_TEST_PATIENCE_SECONDS"), CultureInfo.InvariantCulture, out var seconds) ? seconds : 20);
}
