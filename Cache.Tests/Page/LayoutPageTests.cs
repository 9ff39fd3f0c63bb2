using Cache.Tests.EndToEnd;
using Microsoft.Playwright;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Page;

/// <summary>The live page at four sizes and in two colour schemes: nothing is cut, nothing moves, everything is accessible.</summary>
public sealed class LayoutPageTests : IClassFixture<Chromium>
{
    private const double MaxShift = 0.05;

    private static readonly int[] Widths = [360, 1024, 1440, 1920];
    private static readonly ColorScheme[] Schemes = [ColorScheme.Light, ColorScheme.Dark];

    private readonly Chromium _chromium;

    public LayoutPageTests(Chromium chromium)
    {
        Chromium.Require();
        _chromium = chromium;
    }

    [Fact]
    public async Task Live_WithSessionsAndManyDimensions() => await AtEverySizeAsync(
        "live",
        async stack =>
        {
            for (var minute = -9; minute <= 0; minute++)
            {
                await stack.Kafka.SendAsync(Events, 0, [.. Enumerable.Range(0, 200).Select(i => Event(Recent(10 * minute), $"event.type.{i:D3}", 9_000_000 + (i * 1000), 123_456))]);
                await stack.Kafka.SendAsync(Performance, 0, [.. Enumerable.Range(0, 25).Select(i => Load(Recent(10 * minute), $"Device model {i:D2}", 34_415.25 + i, 192_136.5 + i))]);
            }

            await stack.Kafka.SendAsync(Sessions, 0, [.. Enumerable.Range(0, 8).Select(i => Session($"s-1666730634-{i}", DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(), $"u-{i}", "Mobile"))]);
        },
        async browser =>
        {
            await browser.StatesAsync("Live.");
            await browser.ContainsAsync("[data-type=event] .legend", "193 others");
            await browser.ContainsAsync("#sessions tbody", "s-1666730634-7");
            await browser.ContainsAsync("#fleet tbody", "(this one)");
            Assert.Empty(await browser.Page.EvaluateAsync<string[]>(
                "[...document.querySelectorAll('.windows .group')].filter(group => group.scrollWidth > group.clientWidth).map(group => group.textContent)"));
        });

    [Fact]
    public async Task Stale() => await AtEverySizeAsync(
        "stale",
        stack => stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1_234_567, 1), Event(Window(2), "a", 2_345_678, 1)),
        browser => browser.StatesAsync("No new event windows since Mar 9, 2024, 16:02:00"));

    [Fact]
    public async Task Empty() => await AtEverySizeAsync("empty", _ => Task.CompletedTask, browser => browser.StatesAsync("Ready, waiting for the first row."));

    [Fact]
    public async Task RedisAway() => await AtEverySizeAsync(
        "redis-away",
        async stack =>
        {
            await stack.Kafka.SendAsync(Events, 0, Event(Recent(-1), "a", 1), Event(Recent(0), "a", 2));
            await stack.EverythingIsCommittedAsync(Events);
            stack.OwnRedis.Break();
        },
        browser => browser.StatesAsync("Redis does not answer"),
        "503");

    [Fact]
    public async Task KeyRequired() => await AtEverySizeAsync(
        "key", _ => Task.CompletedTask, browser => browser.StatesAsync("The service requires an API key."), "401", ("api_keys", "0123456789abcdef"));

    private async Task AtEverySizeAsync(string name, Func<InProcessStack, Task> prepare, Func<OpenPage, Task> shows, string complaint = "none", params (string Key, string Value)[] settings)
    {
        await using var stack = await InProcessStack.PrepareAsync(null, [("cache_kafka_topics", $"{Events},{Performance},{Sessions}"), .. settings]);
        stack.Broker.CreateTopic(Sessions, partitions: 1);
        await stack.StartServiceAsync();
        await stack.ReadyAsync();
        await prepare(stack);
        foreach (var (width, scheme) in Widths.SelectMany(width => Schemes.Select(scheme => (width, scheme))))
        {
            await using var browser = await _chromium.OpenAsync(stack.Http.BaseAddress!, page =>
            {
                (page.ColorScheme, page.ViewportSize) = (scheme, new() { Width = width, Height = width == 360 ? 780 : 900 });
                (page.IsMobile, page.HasTouch) = (width == 360, width == 360);
            });
            await browser.Expects(complaint).LoadAsync();
            await shows(browser);
            var shift = await browser.ShiftAsync();
            Assert.True(shift < MaxShift || name != "live", $"{name} at {width}: layout shift {shift:F3}");
            await browser.AssertAccessibleAsync();
            await browser.PictureAsync($"{name}-{width}-{scheme}");
        }
    }
}
