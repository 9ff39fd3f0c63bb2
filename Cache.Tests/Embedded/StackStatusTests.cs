using System.Net;
using System.Text.Json;
using Cache.Embedded;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Embedded;

public sealed class StackStatusTests
{
    private static readonly DateTimeOffset Now = new(2026, 11, 29, 12, 0, 30, TimeSpan.Zero);

    [Theory]
    [InlineData("""{"ready":false,"reasons":["a","b"]}""", "not ready: a; b")]
    [InlineData("""{"ready":true,"windows":[{"newest":null}],"lag":[{"rows":null}]}""", "20 rows/s   no windows yet   lag not known yet")]
    [InlineData("""{"ready":true,"windows":[{"newest":1795953600000},{"newest":1795953625000}],"lag":[{"rows":1200},{"rows":34}]}""", "20 rows/s   newest window TIME (5 s ago)   lag 1,234 rows")]
    [InlineData("""{"ready":true,"windows":[{"newest":1795953000000}],"lag":[]}""", "20 rows/s   newest window TIME (10 min ago)   lag 0 rows")]
    [InlineData("""{"ready":true,"windows":[{"newest":1795957200000}],"lag":[]}""", "20 rows/s   newest window TIME (in the future)   lag 0 rows")]
    public void Line_HasRowsPerSecond_TheNewestWindow_AndTheLag(string pipeline, string line) =>
        Assert.Matches($"^{line.Replace("(", @"\(", StringComparison.Ordinal).Replace(")", @"\)", StringComparison.Ordinal).Replace("TIME", "[0-9:]{8}", StringComparison.Ordinal)}$", StackStatus.Describe(JsonElement.Parse(pipeline), 20, Now));

    [Fact]
    public async Task Rate_IsThatOfTheLastSeconds()
    {
        var service = new FakeService();
        using var client = new HttpClient(service) { BaseAddress = new("http://cache") };
        var time = new FakeTimeProvider(Now);
        var status = new StackStatus(client, time);
        Assert.StartsWith("…", (await status.ReadAsync(TestContext.Current.CancellationToken)).Text, StringComparison.Ordinal);

        // 100 rows per second for a while, then 10.
        for (var second = 1; second <= 20; second++)
        {
            time.Advance(TimeSpan.FromSeconds(1));
            service.Rows += second <= 10 ? 100 : 10;
            var (text, isReady) = await status.ReadAsync(TestContext.Current.CancellationToken);
            Assert.True(isReady);
            if (second is 10 or 20)
            {
                Assert.StartsWith(second == 10 ? "100 rows/s" : "10 rows/s", text, StringComparison.Ordinal);
            }
        }

        service.Fails = true;
        Assert.Equal(("the service does not answer: gone", false), await status.ReadAsync(TestContext.Current.CancellationToken));
    }

    private sealed class FakeService : HttpMessageHandler
    {
        public long Rows { get; set; } = 1_000_000;

        public bool Fails { get; set; }

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken) =>
            Fails ? throw new HttpRequestException("gone")
            : Task.FromResult(new HttpResponseMessage(HttpStatusCode.OK) { Content = new StringContent($$"""{"ready":true,"reasons":[],"rows":{"a":{{Rows}},"b":7},"windows":[],"lag":[]}""") });
    }
}
