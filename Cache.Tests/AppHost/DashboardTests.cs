using System.Text.RegularExpressions;
using Aspire.Hosting.ApplicationModel;
using Cache.Tests.EndToEnd;
using Cache.Tests.Page;
using Microsoft.Playwright;

namespace Cache.Tests.AppHost;

/// <summary>
/// The Aspire dashboard as people see it. The pictures are those of docs/tracing.md; they are kept where
/// <c>CACHE_SCREENSHOTS</c> says, so that the committed ones change only when asked.
/// </summary>
[Collection(EmbeddedAppHost.Collection)]
public sealed class DashboardTests : IClassFixture<Chromium>
{
    private static readonly DirectoryInfo Pictures = Directory.CreateDirectory(
        Environment.GetEnvironmentVariable("CACHE_SCREENSHOTS") ?? Directory.CreateTempSubdirectory("cache-screenshots-").FullName);

    private readonly Chromium _chromium;
    private readonly EmbeddedAppHost _host;

    public DashboardTests(Chromium chromium, EmbeddedAppHost host)
    {
        Chromium.Require();
        (_chromium, _host) = (chromium, host);
    }

    [Fact]
    public async Task Resources_AreRunning_WithTheirAddresses()
    {
        await _host.SimulateAsync(true);
        await using var window = await OpenAsync();
        var page = window.Pages[0];

        foreach (var name in new[] { "kafka", "redis", "cache-", "simulator", "sample" })
        {
            await Expect(page.GetByRole(AriaRole.Row).Filter(new() { HasText = name })).ToContainTextAsync("Running");
        }

        await Expect(page.GetByText(new Regex(@"^tcp://127\.0\.0\.1:\d+"))).ToBeVisibleAsync();
        Assert.Equal(0, await page.GetByText("Unhealthy").CountAsync());
        await PictureAsync(page, "dashboard-resources.png");
    }

    [Fact]
    public async Task TraceOfARow_GoesFromTheSimulatorToTheService_AndTheFlushHoldsTheRedisCommands()
    {
        await _host.SimulateAsync(true);
        await using var window = await OpenAsync();
        var page = window.Pages[0];

        // A service that another test has restarted since took its spans with it: then try another.
        var sent = 0;
        await Eventually.HoldsAsync(
            async () =>
            {
                await OpenTraceAsync(page, "simulator: send event_metrics", sent++ % 5);
                foreach (var resource in new[] { "simulator", "cache-" })
                {
                    await Assertions.Expect(page.GetByRole(AriaRole.Row).Filter(new() { HasText = resource }).First)
                        .ToContainTextAsync("MSG kafka event_metrics", new() { Timeout = 15_000 });
                }
            },
            TimeSpan.FromMinutes(5));
        await PictureAsync(page, "dashboard-trace.png");

        // A flush of what another test has sent may be of rejected rows only, without Redis commands, or of so many windows that not all
        // of its commands are on the screen: then try another.
        var flush = 0;
        await Eventually.HoldsAsync(
            async () =>
            {
                await OpenTraceAsync(page, "cache: flush", flush++ % 5);
                foreach (var command in new[] { "HMSET", "GET", "EXPIRE", "ZADD", "ZRANGE" })
                {
                    await Assertions.Expect(page.GetByRole(AriaRole.Row).Filter(new() { HasText = $"redis {command}" }).First).ToBeVisibleAsync(new() { Timeout = 10_000 });
                }
            },
            TimeSpan.FromMinutes(5));

        await page.GetByText("MSG kafka").First.ClickAsync();
        await Expect(page.GetByText("messaging.batch.message_count")).ToBeVisibleAsync();
        await PictureAsync(page, "dashboard-flush.png");
    }

    [Fact]
    public async Task TraceOfARead_GoesFromTheSampleToTheService()
    {
        await _host.SimulateAsync(true);
        await using var window = await OpenAsync();
        var page = window.Pages[0];

        // Among the traces of all rows, it may be out of sight.
        await OpenTraceAsync(page, "sample: window", traces: "/traces/resource/sample");

        foreach (var (resource, span) in new[] { ("sample", "GET"), ("cache-", "GET /metrics/") })
        {
            await Expect(page.GetByRole(AriaRole.Row).Filter(new() { HasText = resource }).Filter(new() { HasText = span })).ToBeVisibleAsync();
        }
    }

    [Fact]
    public async Task FlushThatRedisRefuses_LogsUnderItsTrace_AndTheLagIsAMetric()
    {
        await _host.SimulateAsync(true);
        await using var window = await OpenAsync();
        var page = window.Pages[0];
        await _host.Stack.CommandAsync("redis", KnownResourceCommands.StopCommand);
        try
        {
            await page.GotoAsync("/structuredlogs");
            var line = page.GetByRole(AriaRole.Row).Nth(1);
            await Eventually.HoldsAsync(async () =>
            {
                // Text typed before the page is connected is lost, and typing the same text again changes nothing.
                await page.Locator("input[name=structured-logs-search]").FillAsync("");
                await page.Locator("input[name=structured-logs-search]").FillAsync("did not accept a batch");
                await Assertions.Expect(line).ToContainTextAsync("did not accept a batch", new() { Timeout = 5000 });
            });
            await Expect(line).ToContainTextAsync("Warning");
            await Expect(line.GetByRole(AriaRole.Link)).ToBeVisibleAsync();
            await PictureAsync(page, "dashboard-log.png");
        }
        finally
        {
            // Other tests use the same stack.
            await _host.Stack.CommandAsync("redis", KnownResourceCommands.StartCommand);
            await _host.Stack.ReadyAsync();
        }

        await page.GotoAsync("/metrics/resource/cache?meter=Cache.Service&instrument=cache.kafka.lag&duration=5&view=Graph");
        await Expect(page.GetByRole(AriaRole.Heading, new() { Name = "cache.kafka.lag", Exact = true })).ToBeVisibleAsync();
        await Expect(page.Locator("canvas, svg.main-svg")).ToBeVisibleAsync();
        await PictureAsync(page, "dashboard-lag.png");
    }

    /// <summary>Opens a trace of a name; its row may have moved on by the time of a click.</summary>
    private static async Task OpenTraceAsync(IPage page, string name, int number = 0, string traces = "/traces")
    {
        await Eventually.HoldsAsync(
            async () =>
            {
                await page.GotoAsync(traces);
                await page.GetByText(name).Nth(number).ClickAsync(new() { Timeout = 15_000 });
                await page.WaitForURLAsync("**/traces/detail/**", new() { Timeout = 15_000 });
            },
            TimeSpan.FromMilliseconds(Chromium.Timeout));
    }

    private static ILocatorAssertions Expect(ILocator locator) => Assertions.Expect(locator.First);

    private static async Task PictureAsync(IPage page, string name)
    {
        var file = new FileInfo(Path.Combine(Pictures.FullName, name));
        await page.ScreenshotAsync(new() { Path = file.FullName });
        Assert.InRange(file.Length, 10_000, 300_000);
    }

    /// <summary>Logs in.</summary>
    private async Task<IBrowserContext> OpenAsync()
    {
        var login = _host.Stack.Dashboard!;
        var window = await _chromium.NewContextAsync(new Uri(login, "/"), page => page.ViewportSize = new() { Width = 1280, Height = 800 });
        var page = await window.NewPageAsync();
        await page.GotoAsync(login.PathAndQuery);
        return window;
    }
}
