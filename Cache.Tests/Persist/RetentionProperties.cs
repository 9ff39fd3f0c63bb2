using Cache.Service.Model;
using CsCheck;

namespace Cache.Tests.Persist;

public sealed class RetentionProperties(RedisServers servers)
{
    private static readonly Gen<long[][]> Batches = Gen.Long[1, 25].Array[1, 8].Array[1, 8];

    [Theory]
    [InlineData(RedisKind.Embedded)]
    [InlineData(RedisKind.Real)]
    public async Task ExactlyTheNewestWindowsStay_InWhateverOrderTheyArrive(RedisKind kind)
    {
        // The first caller starts the server, or skips the test.
        await servers.ConnectAsync(kind);
        await Gen.Select(Batches, Gen.Int[1, 6]).SampleAsync(
            async (batches, retention) =>
            {
                var redis = await servers.StagesAsync(kind, retention);
                foreach (var batch in batches)
                {
                    await redis.WriteAsync(batch.SelectMany<long, Row>(window =>
                        [TestRows.Event(window, "a", count: window), TestRows.Performance(-window + 100, "a", p95: window)]));
                }

                var windows = batches.SelectMany(batch => batch).Distinct().Order().ToList();
                var events = windows.TakeLast(retention).ToList();
                var performance = windows.Take(retention).Select(window => 100 - window).Order().ToList();
                var expected = new SortedDictionary<string, string>(StringComparer.Ordinal)
                {
                    ["metrics:event:windows"] = RedisStages.SortedSet(events.Select(window => (window, (double)window))),
                    ["metrics:perf:windows"] = RedisStages.SortedSet(performance.Select(window => (window, (double)window))),
                };
                events.ForEach(window => expected.Add($"metrics:event:{window}", $"a.count={window}"));
                performance.ForEach(window => expected.Add($"metrics:perf:{window}", $"a.p95_load_time={100 - window}"));
                Assert.Equal(expected, await redis.ContentAsync());
            },
            iter: 60);
    }
}
