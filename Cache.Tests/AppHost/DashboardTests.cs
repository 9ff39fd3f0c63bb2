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
    // Aspire's integration hands over Redis commands every ten seconds.
    private const float TestTimeout = 60_000;

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

        foreach (var name in new[] { "kafka", "redis", "cache-", "simulator" })
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

        await OpenTraceAsync(page, "simulator: send event_metrics");
        foreach (var resource in new[] { "simulator", "cache-" })
        {
            await Expect(page.GetByRole(AriaRole.Row).Filter(new() { HasText = resource })).ToContainTextAsync("MSG kafka event_metrics");
        }

        await PictureAsync(page, "dashboard-trace.png");

        // A flush of rejected rows only, which another test may have sent, has no Redis commands: then try another.
        var flush = 0;
        await Eventually.HoldsAsync(
            async () =>
            {
                await OpenTraceAsync(page, "cache: flush", flush++ % 5);
                await Assertions.Expect(page.GetByRole(AriaRole.Row).Filter(new() { HasText = "redis HMSET" }).First).ToBeVisibleAsync(new() { Timeout = 15_000 });
            },
            TimeSpan.FromMilliseconds(2 * TestTimeout));
        foreach (var command in new[] { "GET", "HMSET", "EXPIRE", "ZADD", "ZRANGE" })
        {
            await Expect(page.GetByRole(AriaRole.Row).Filter(new() { HasText = $"redis {command}" })).ToBeVisibleAsync();
        }

        await page.GetByText("MSG kafka").First.ClickAsync();
        await Expect(page.GetByText("messaging.batch.message_count")).ToBeVisibleAsync();
        await PictureAsync(page, "dashboard-flush.png");
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
            await Eventually.HoldsAsync(
                async () =>
                {
                    // Text typed before the page is connected is lost, and typing the same text again changes nothing.
                    await page.Locator("input[name=structured-logs-search]").FillAsync("");
                    await page.Locator("input[name=structured-logs-search]").FillAsync("did not accept a batch");
                    await Assertions.Expect(line).ToContainTextAsync("did not accept a batch", new() { Timeout = 5000 });
                },
                TimeSpan.FromMilliseconds(TestTimeout));
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
    private static async Task OpenTraceAsync(IPage page, string name, int number = 0)
    {
        await page.GotoAsync("/traces");
        await Eventually.HoldsAsync(async () =>
        {
            await page.GetByText(name).Nth(number).ClickAsync(new() { Timeout = 10_000 });
            await page.WaitForURLAsync("**/traces/detail/**", new() { Timeout = 3000 });
        });
    }

    private static ILocatorAssertions Expect(ILocator locator)
    {
        Assertions.SetDefaultExpectTimeout(TestTimeout);
        return Assertions.Expect(locator.First);
    }

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
        window.SetDefaultTimeout(TestTimeout);
        var page = await window.NewPageAsync();
        await page.GotoAsync(login.PathAndQuery);
        return window;
    }
}
