using System.Diagnostics.Metrics;
using Cache.Service.Model;
using Cache.Service.Persist;
using Cache.Tests.Flush;
using Microsoft.Extensions.DependencyInjection;

namespace Cache.Tests.Persist;

public sealed class PersistMetricsTests
{
    [Fact]
    public void Counters_HaveTheirReasonOrType()
    {
        using var services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        var meters = services.GetRequiredService<IMeterFactory>();
        using var counters = new Counters(meters);
        var metrics = new PersistMetrics(meters);

        metrics.DeadLetter(RejectReason.NotJson);
        metrics.DeadLetter(RejectReason.NotJson);
        metrics.DeadLetter(RejectReason.TooLarge);
        metrics.DeadLetterGivenUp();
        metrics.Trimmed("event", 3);
        metrics.Trimmed("performance", 4);
        metrics.SessionsInactive(5);

        Assert.Equal(
            (2, 1, 1, 3, 4, 5),
            (counters["cache.dead.letters[not_json]"], counters["cache.dead.letters[too_large]"], counters["cache.dead.letters.given.up"],
                counters["cache.windows.trimmed[event]"], counters["cache.windows.trimmed[performance]"], counters["cache.sessions.inactive"]));
    }
}
