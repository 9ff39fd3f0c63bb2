using System.Globalization;
using Cache.Tests.EndToEnd;
using Microsoft.Playwright;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Page;

/// <summary>What the live page says is so: how fresh the data is, which window the numbers are of, and what is missing.</summary>
public sealed class TruthPageTests : IClassFixture<Chromium>
{
    private const string DrawnNames =
        """
        type => echarts.getInstanceByDom(document.querySelector(`[data-type=${type}] .canvas`)).getOption().series
          .filter(series => series.data.some(value => value !== null)).map(series => series.id.replace(/^\d /, ""))
        """;

    private readonly Chromium _chromium;

    public TruthPageTests(Chromium chromium)
    {
        Chromium.Require();
        _chromium = chromium;
    }

    [Fact]
    public async Task Page_WithoutNewWindows_IsNotGreen_AndSaysSinceWhen_UntilThereAreSome()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        var stalled = Second(-240);
        await SendAsync(stack, Event(stalled - 5000, "a", 1), Event(stalled, "a", 2));
        await stack.EverythingIsCommittedAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();

        await browser.StatesAsync($"No new event windows since {Clock(stalled)}");
        await browser.ContainsAsync("#state-age", " (4 min).");
        await browser.ContainsAsync("#state-advice", "Check that the stream processor runs");
        await Assertions.Expect(browser.Page.Locator("#state")).ToHaveAttributeAsync("data-tone", "warn");
        await Assertions.Expect(browser.Page.Locator("[data-type=event] [data-note]")).ToHaveTextAsync("5 s windows, newest 4 min ago");
        await Assertions.Expect(browser.Page.Locator("[data-type=event] [data-note]")).ToHaveAttributeAsync("data-tone", "warn");
        Assert.Equal("Cache: no new windows", await browser.Page.TitleAsync());

        // A type without windows does not count, and has no card. Once it has one, another type's being stale still does.
        await Assertions.Expect(browser.Page.Locator("[data-type=performance], [data-windows=performance]").And(browser.Page.Locator(":visible"))).ToHaveCountAsync(0);
        var now = Second(0);
        await SendAsync(stack, Load(now - 5000, "tv", 1, 2), Load(now, "tv", 1, 2));
        await Assertions.Expect(browser.Page.Locator("[data-type=performance]")).ToBeVisibleAsync();
        await browser.StatesAsync($"No new event windows since {Clock(stalled)}");
        await Assertions.Expect(browser.Page.Locator("[data-type=performance] [data-note]")).ToHaveAttributeAsync("data-tone", "");

        await SendAsync(stack, Event(Second(0), "a", 3));
        await browser.StatesAsync("Live.");
        await Assertions.Expect(browser.Page.Locator("#state")).ToHaveAttributeAsync("data-tone", "good");
        await browser.ContainsAsync("#state-age", "Newest window started");
        await browser.PictureAsync("fresh-again");
    }

    [Fact]
    public async Task AfterAGap_ChartsShowWhatIsOnTheirAxis_AndAnAbsentWindowIsNotZero()
    {
        await using var stack = await InProcessStack.StartAsync();

        // Read once: sending may take longer than a window.
        var now = Second(0);
        for (var second = 0; second < 20; second++)
        {
            await SendAsync(stack, [.. Enumerable.Range(0, 8).Select(i => Event(now - 900_000 + (5000 * second), $"old {i}", 100_000 + i))]);
            await SendAsync(stack, [.. Enumerable.Range(0, 8).Select(i => Load(now - 900_000 + (5000 * second), $"old {i}", 90_000 + i, 100_000 + i))]);
        }

        foreach (var ago in new[] { -25_000, -20_000, -10_000 })
        {
            await SendAsync(stack, Event(now + ago, "new 1", 7), Event(now + ago, "new 2", 8), Load(now + ago, "phone", 9, 10));
        }

        await stack.EverythingIsCommittedAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        await browser.ShowsAsync("event", "new 1", "7", "–");
        await browser.ShowsAsync("performance", "phone", "9", "10");
        await Eventually.HoldsAsync(async () =>
        {
            Assert.Equal(["new 1", "new 2"], await browser.Page.EvaluateAsync<string[]>(DrawnNames, "event"));
            Assert.Equal(["phone", "phone"], await browser.Page.EvaluateAsync<string[]>(DrawnNames, "performance"));
        });

        // The slot before the newest window has none.
        var chart = browser.Page.GetByRole(AriaRole.Slider, new() { Name = "Window of the events chart" });
        await chart.PressAsync("ArrowLeft");
        await browser.ShowsAsync("event", "new 1", "–", "–");
        await Assertions.Expect(browser.Page.Locator("[data-type=event] [data-which]")).ToHaveTextAsync("pinned, no window");
        await Assertions.Expect(browser.Page.Locator("[data-type=event] [data-total]")).ToHaveTextAsync("–");
        await Assertions.Expect(browser.Page.Locator("[data-type=performance] [data-which]")).ToHaveTextAsync("pinned, no window");
        await browser.AssertAccessibleAsync();
        await browser.PictureAsync("gap");
    }

    [Fact]
    public async Task Headline_IsOfTheLastCompleteWindow_WithItsChange_AndTheNewestIsMarkedAsFilling()
    {
        await using var stack = await InProcessStack.StartAsync();
        var hour = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 3_600_000 * 3_600_000;
        await SendAsync(stack, [.. Enumerable.Range(3, 40).Select(ago => Event(hour - (ago * 3_600_000L), "a", 1_000_000, 1))]);
        await SendAsync(stack, Event(hour - 7_200_000, "a", 1_234_567, 7), Event(hour - 3_600_000, "a", 1_382_715, 12), Event(hour - 3_600_000, "b", 0, 2), Event(hour, "a", 5, 1));
        await stack.EverythingIsCommittedAsync(Events);
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        var card = browser.Page.Locator("[data-type=event]");

        await Assertions.Expect(card.Locator("[data-total]")).ToHaveTextAsync("1,382,715");
        await Assertions.Expect(card.Locator("[data-change]")).ToHaveTextAsync("+12%");
        await Assertions.Expect(card.Locator("[data-which]")).ToHaveTextAsync("last complete");
        await browser.ContainsAsync("[data-type=event] [data-at]", Clock(hour - 3_600_000));
        await browser.ContainsAsync("[data-type=event] [data-note]", "1 h windows, newest ");
        await browser.ContainsAsync("[data-type=event] [data-note]", ", filling");
        await browser.ContainsAsync("[data-windows=event] thead", "filling");

        // Exact, and all of a column in one unit.
        await browser.ShowsAsync("event", "a", "1,382,715", "12");
        await Assertions.Expect(browser.Page.Locator("[data-windows=event] tbody").First).ToContainTextAsync("1,382,7151,234,5671,000,000");

        // The axis has dates where the day changes.
        var ticks = await browser.Page.EvaluateAsync<string[]>("""async hour => (await import("/format.js")).ticks(Array.from({ length: 60 }, (_, i) => hour - (59 - i) * 3600000), 3600000).filter(Boolean)""", hour);
        Assert.Contains(ticks, tick => tick == DateTimeOffset.FromUnixTimeMilliseconds(hour).ToString("MMM d", CultureInfo.InvariantCulture));
        Assert.InRange(ticks.Length, 3, 7);
        await browser.ContainsAsync("#zone", "UTC");
        await browser.AssertAccessibleAsync();
        await browser.PictureAsync("hourly");
    }

    [Fact]
    public async Task PickedWindow_IsATime_WhichAllChartsShow_AndStaysWhateverArrives()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, [.. Enumerable.Range(0, 30).Select(minute => Event(Window(minute), "a", minute + 100))]);
        await SendAsync(stack, [.. Enumerable.Range(0, 10).Select(third => Load(Window(3 * third), "tv", third + 1, third + 2))]);
        await stack.EverythingIsCommittedAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        var page = browser.Page;
        await browser.ShowsAsync("event", "a", "129", "–");
        await browser.ShowsAsync("performance", "tv", "10", "11");
        var chart = page.Locator("[data-type=event] .chart");
        await Assertions.Expect(chart.Locator("canvas")).ToBeVisibleAsync();

        // The pointer shows the window below it, also in the other chart, whose windows are longer.
        await HoverAsync(chart, 16);
        await browser.ShowsAsync("event", "a", "116", "–");
        await browser.ShowsAsync("performance", "tv", "6", "7");
        await Assertions.Expect(page.Locator("[data-type=performance] .pointer")).ToBeVisibleAsync();
        await page.Mouse.MoveAsync(1, 1);
        await browser.ShowsAsync("event", "a", "129", "–");

        // A click pins it: new windows and redraws under the pointer change nothing.
        await HoverAsync(chart, 16);
        await page.Mouse.DownAsync();
        await page.Mouse.UpAsync();
        for (var minute = 30; minute < 36; minute++)
        {
            await SendAsync(stack, Event(Window(minute), "a", minute + 100), Load(Window(3 * minute), "tv", 50, 60));
            await browser.ContainsAsync("[data-windows=event] thead", $"16:{minute}:00");
            await HoverAsync(chart, 20);
        }

        await page.Mouse.MoveAsync(1, 1);
        await browser.ShowsAsync("event", "a", "116", "–");
        await Assertions.Expect(page.Locator("[data-type=event] [data-at]")).ToHaveTextAsync("Mar 9, 2024, 16:16:00");
        await Assertions.Expect(page.Locator("[data-type=event] [data-which]")).ToHaveTextAsync("pinned");
        await Assertions.Expect(page.Locator("[data-type=performance] [data-at]")).ToHaveTextAsync("Mar 9, 2024, 16:15:00");
        await browser.AssertAccessibleAsync();
        await browser.PictureAsync("pinned");

        await page.Keyboard.PressAsync("Escape");
        await browser.ShowsAsync("event", "a", "135", "–");

        // On a phone, a tap does. Without a mouse, nothing is left behind by a finger that has moved on.
        await using var phone = await (await _chromium.OpenAsync(stack.Http.BaseAddress!, options => (options.HasTouch, options.IsMobile, options.ViewportSize) = (true, true, new() { Width = 360, Height = 780 }))).LoadAsync();
        await phone.ShowsAsync("event", "a", "135", "–");
        await Assertions.Expect(phone.Page.Locator("[data-type=event] canvas")).ToBeVisibleAsync();
        await phone.Page.Locator("[data-type=event] .chart").TapAsync();
        await Assertions.Expect(phone.Page.Locator("[data-type=event] [data-which]")).ToHaveTextAsync("pinned");
        await SendAsync(stack, Event(Window(36), "a", 136));
        await phone.ContainsAsync("[data-windows=event] thead", "16:36:00");
        await phone.Page.Locator("[data-type=event] .chart").TapAsync();
    }

    [Fact]
    public async Task Colours_ComeFromTheNames_WhateverElseIsShown()
    {
        await using var stack = await InProcessStack.StartAsync();
        string[] usual = ["add_to_cart", "click", "page_view", "purchase"];
        await SendAsync(stack, [.. usual.Select((name, i) => Event(Window(1), name, i + 1))]);
        await SendAsync(stack, Load(Window(1), "Desktop", 1, 2), Load(Window(1), "Mobile", 1, 2), Load(Window(1), "Tablet", 1, 2));
        await stack.EverythingIsCommittedAsync();
        await using var before = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        await before.ShowsAsync("event", "click", "2", "–");
        var colours = await ColoursAsync(before.Page, "event");

        // Those that come without configuration have colours of their own.
        Assert.Equal(usual.Length, colours.Values.Distinct().Count());
        Assert.Equal(3, (await ColoursAsync(before.Page, "performance")).Values.Distinct().Count());
        Assert.All(colours.Values, colour => Assert.EndsWith(" solid", colour));

        // With other names before them, and in another size of window, they keep them. Names that share a colour have a pattern.
        await SendAsync(stack, [.. Enumerable.Range(0, 30).Select(i => Event(Window(1), $"Also {i:D2}", 1000 + i)), .. usual.Select((name, i) => Event(Window(1), name, 90_000 - i))]);
        await before.ContainsAsync("[data-type=event] .legend", "27 others");
        await using var after = await (await _chromium.OpenAsync(stack.Http.BaseAddress!, page => page.ViewportSize = new() { Width = 500, Height = 800 })).LoadAsync();
        await after.ContainsAsync("[data-type=event] .legend", "27 others");
        foreach (var page in new[] { before.Page, after.Page })
        {
            var all = await ColoursAsync(page, "event");
            Assert.All(usual, name => Assert.StartsWith(colours[name][..7], all[name]));
            Assert.Equal(all.Count, all.Values.Distinct().Count());
        }

        var known = await before.Page.EvaluateAsync<int[]>(
            """async () => { const { colorOf } = await import("/colors.js"); return ["page_view", "click", "add_to_cart", "purchase", "signup", "login", "view"].map(colorOf); }""");
        Assert.Equal("5 1 7 4 2 6 3", string.Join(' ', known));
    }

    [Fact]
    public async Task RedisAway_OnAFreshLoad_SaysWhatToDo_AndShowsWhatThereIsOnceItIsBack()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, Event(Recent(-1), "a", 1), Event(Recent(0), "a", 2));
        await stack.EverythingIsCommittedAsync();
        stack.OwnRedis.Break();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).Expects("503").LoadAsync();

        await browser.StatesAsync("Not ready: ");
        await browser.StatesAsync("Redis does not answer");
        await browser.ContainsAsync("#state-advice", "Check that Redis runs and that the service can reach it.");
        await Assertions.Expect(browser.Page.Locator("#charts, #tables, #empty").And(browser.Page.Locator(":visible"))).ToHaveCountAsync(0);
        Assert.DoesNotContain("Showing data", await browser.Page.InnerTextAsync("#state"), StringComparison.Ordinal);
        await browser.ContainsAsync("#fleet", "Redis, where they report, cannot be read");
        await browser.AssertAccessibleAsync();
        await browser.PictureAsync("redis-away");

        stack.OwnRedis.Mend();
        await browser.ShowsAsync("event", "a", "2", "–");
    }

    [Fact]
    public async Task KafkaAway_TilesChartsAndWordsAgree()
    {
        // Long enough for the partitions to outlast the outage.
        await using var stack = await InProcessStack.StartAsync(null, ("Kafka:session.timeout.ms", "15000"));
        await SendAsync(stack, Event(Recent(-1), "a", 1), Event(Recent(0), "a", 2));
        await stack.EverythingIsCommittedAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        await browser.ShowsAsync("event", "a", "2", "–");
        await browser.ContainsAsync("#lag", "0 rows");

        stack.Broker.BreakAllBrokers();
        await browser.StatesAsync("Not ready: Kafka does not report the ends of the partitions");
        await browser.StatesAsync("Showing data from");
        await browser.ContainsAsync("#state-advice", $"Check the brokers at {stack.KafkaAddress}.");
        await Assertions.Expect(browser.Page.Locator("#lag")).ToHaveTextAsync("–");
        await Assertions.Expect(browser.Page.Locator("#lag-note")).ToHaveTextAsync("not known");
        await Assertions.Expect(browser.Page.Locator("#fleet tbody td").Nth(5)).ToHaveTextAsync("not known");
        await Assertions.Expect(browser.Page.Locator("main.stale:not(.lost)")).ToBeVisibleAsync();
        await browser.AssertAccessibleAsync();
        await browser.PictureAsync("kafka-away");

        stack.Broker.MendAllBrokers();
        await browser.ContainsAsync("#lag", "0 rows");
        await Assertions.Expect(browser.Page.Locator("main.stale")).ToBeHiddenAsync();
    }

    [Fact]
    public async Task ServiceGone_TilesAreGrey_AndNothingIsJustNow()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, Event(Recent(-1), "a", 1), Event(Recent(0), "a", 2));
        await stack.EverythingIsCommittedAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).Expects(PageTests.Gone).LoadAsync();
        await browser.ShowsAsync("event", "a", "2", "–");
        await browser.ContainsAsync("#fleet tbody", "(this one)");

        await stack.StopServiceAsync();
        await browser.StatesAsync("The service does not answer. Showing data from");
        await browser.ContainsAsync("#state-advice", "The page reconnects by itself.");
        await Assertions.Expect(browser.Page.Locator("main.stale.lost")).ToBeVisibleAsync();
        var colours = await browser.Page.EvaluateAsync<string[]>("() => [\"#rate\", \"#rate-note\", \"[data-type=event] .big\"].map(part => getComputedStyle(document.querySelector(part)).color)");
        Assert.Single(colours.Distinct());
        Assert.DoesNotContain("just now", await browser.Page.InnerTextAsync("#flush"), StringComparison.Ordinal);
        await browser.AssertAccessibleAsync();
        await browser.PictureAsync("service-gone");
    }

    /// <summary>A number of seconds from now, rounded to five.</summary>
    private static long Second(int fromNow) => ((DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 5000) * 5000) + (fromNow * 1000L);

    private static string Clock(long time) => DateTimeOffset.FromUnixTimeMilliseconds(time).ToString("HH:mm:ss", CultureInfo.InvariantCulture);

    /// <summary>Moves the mouse over a slot of a chart with 30 of them.</summary>
    private static async Task HoverAsync(ILocator chart, int slot)
    {
        var box = (await chart.BoundingBoxAsync())!;
        await chart.Page.Mouse.MoveAsync(box.X + 44 + ((box.Width - 44 - 26) * (slot + 0.5f) / 30), box.Y + 100);
    }

    private static Task<Dictionary<string, string>> ColoursAsync(IPage page, string type) => page.EvaluateAsync<Dictionary<string, string>>(
        """
        type => Object.fromEntries([...document.querySelectorAll(`[data-type=${type}] .legend tbody th`)].filter(cell => !/^\d+ others$/.test(cell.textContent))
          .map(cell => [cell.textContent, `${cell.querySelector(".swatch").style.getPropertyValue("--color")} ${cell.querySelector(".swatch").dataset.pattern}`]))
        """, type);

    private static async Task SendAsync(InProcessStack stack, params string[] values)
    {
        foreach (var topic in values.GroupBy(value => value.Contains("load_time", StringComparison.Ordinal) ? Performance : Events))
        {
            await stack.Kafka.SendAsync(topic.Key, 0, topic);
        }
    }
}
