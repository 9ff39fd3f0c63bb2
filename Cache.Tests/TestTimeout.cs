using System.Globalization;

namespace Cache.Tests;

/// <summary>How long a test waits for something that must happen. Generous: only a failing test, or a mutant, waits that long.</summary>
internal static class TestTimeout
{
    public static readonly TimeSpan Full =
        TimeSpan.FromSeconds(int.TryParse(Environment.GetEnvironmentVariable("CACHE_TEST_PATIENCE_SECONDS"), CultureInfo.InvariantCulture, out var seconds) ? seconds : 60);
}
