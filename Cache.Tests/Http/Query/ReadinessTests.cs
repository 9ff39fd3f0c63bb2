using System.Net;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Http.Query;

public sealed class ReadinessTests
{
    [Fact]
    public async Task SpareReplica_SaysSo_AndIsReadyWhenItTakesOver()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("cache_kafka_topics", Sessions));
        stack.Broker.CreateTopic(Sessions, partitions: 1);
        await stack.StartServiceAsync();
        await stack.ReadyAsync();
        await using var spare = await stack.StartAnotherServiceAsync();

        const string IsSpare = """{"status":"not ready","reasons":["no partitions assigned: the group has none left for this replica; it is a spare, and takes over when another one leaves"]}""";
        await SaysAsync(IsSpare);
        await stack.ReadyAsync();

        stack.Broker.BreakAllBrokers();
        await SaysAsync("no partitions assigned: Kafka does not answer: ");
        stack.Broker.MendAllBrokers();

        // Either may be the spare by now.
        await Eventually.HoldsAsync(async () =>
        {
            using var answer = await spare.Http.GetAsync("/readyz");
            Assert.DoesNotContain("does not answer", await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        });

        await stack.StopServiceAsync();
        await Eventually.HoldsAsync(async () => Assert.Equal("""{"status":"ready"}""", await spare.Http.GetStringAsync("/readyz")));

        Task SaysAsync(string reasons) => Eventually.HoldsAsync(async () =>
        {
            using var answer = await spare.Http.GetAsync("/readyz");
            Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
            Assert.Contains(reasons, await answer.Content.ReadAsStringAsync(), StringComparison.Ordinal);
        });
    }
}
