using Cache.Metrics;
using Cache.Service.Http.Query;

namespace Cache.Tests.Http.Query;

/// <summary>The rule by which a metric type is fresh.</summary>
public sealed class FreshnessTests
{
    private static readonly DateTimeOffset Now = DateTimeOffset.FromUnixTimeMilliseconds(1_710_000_000_000);

    [Theory]
    [InlineData(null, 0)]
    [InlineData(60, 60.0)]
    public void TypeWithoutWindows_IsNotFresh(int? windowSeconds, double length) =>
        Assert.Equal(new("sales", null, null, length == 0 ? null : length, false), Freshness.Of(Type(windowSeconds), [], Now));

    /// <param name="windowSeconds">The type's own length; null without one.</param>
    /// <param name="length">The length that counts, in seconds; 0 if it is not known.</param>
    /// <param name="gaps">The gaps between the windows, from the newest on, in milliseconds.</param>
    [Theory]
    [InlineData(null, 0)]
    [InlineData(null, 5, 5000)]
    [InlineData(null, 0.25, 250, 250)]
    [InlineData(null, 5, 15_000, 5000, 60_000, 10_000)]
    [InlineData(null, 60, 3_600_000, 60_000)]
    [InlineData(null, 5, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000, 10_000, 5000)]
    [InlineData(60, 60)]
    [InlineData(60, 60, 5000)]
    [InlineData(5, 5, 60_000, 60_000)]
    [InlineData(86_400, 86_400, 86_400_000)]
    public void Type_IsFresh_ForLessThanTwoWindowsAndAMinute(int? windowSeconds, double length, params int[] gaps)
    {
        var limit = (long)(2000 * length) + 60_000;

        Assert.All([0, 1, limit - 1], age => AssertFreshness(age, true));
        Assert.All([limit, limit + 1, 10 * limit, limit + 31_536_000_000], age => AssertFreshness(age, false));

        // A window that has not begun.
        AssertFreshness(-86_400_000, true);

        void AssertFreshness(long age, bool isFresh)
        {
            var newest = Now.ToUnixTimeMilliseconds() - age;
            long[] starts = [newest, .. gaps.Select((_, at) => newest - gaps[..(at + 1)].Sum(gap => (long)gap))];
            Assert.Equal(new("sales", newest, age / 1000.0, length == 0 ? null : length, isFresh), Freshness.Of(Type(windowSeconds), starts, Now));
        }
    }

    private static MetricType Type(int? windowSeconds) => new()
    {
        Name = "sales",
        Key = "sales",
        Topics = ["sales"],
        DimensionFields = ["shop"],
        Measures = [new("count", "count", MeasureKind.Count, Rollup.Sum)],
        WindowSeconds = windowSeconds,
    };
}
