using System.Globalization;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using Cache.Tests.EndToEnd;
using Microsoft.Playwright;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Page;

/// <summary>What the live page can be asked: by its controls, and by its address alone.</summary>
public sealed class AskTests : IClassFixture<Chromium>, IClassFixture<AskedStack>
{
    internal const string Formula = "=1+1|'cmd'!A0";
    internal const string Markup = "<img src=x onerror=alert(1)>";
    internal const string Quoted = "a, \"b\\c";
    internal const string Parameter = "x.y&event.only=z#%41";

    private const string EventNumbers = "[data-type=event] .legend";
    private const string EventTotals = "[data-type=event] .totals tbody";
    private const string EventRows = "[data-type=event] .legend tbody tr";
    private const string Totals = "[data-type=event] .totals tbody tr";
    private const string LoadTotals = "[data-type=performance] .totals tbody tr";

    private readonly Chromium _chromium;
    private readonly AskedStack _asked;

    public AskTests(Chromium chromium, AskedStack asked)
    {
        Chromium.Require();
        (_chromium, _asked) = (chromium, asked);
    }

    [Theory]
    [InlineData("15 windows", "range=15", 85, 0)]
    [InlineData("15 min", "range=15m", 0, 15)]
    [InlineData("1 h", "range=1h", 0, 60)]
    [InlineData("All", "range=all", 0, 0)]
    public async Task Range_ByButton_OrByAddressAlone_ShowsItsWindows(string button, string query, int first, int minutes)
    {
        await using var browser = await OpenAsync();
        await browser.ContainsAsync(EventNumbers, "page_view");
        await ButtonAsync(browser, button);
        await AddressAsync(browser, $"?{query}");
        await Assertions.Expect(browser.Page.GetByRole(AriaRole.Button, new() { Name = button, Exact = true })).ToHaveAttributeAsync("aria-pressed", "true");

        await BeginsAsync(browser, () => minutes == 0 ? _asked.Start(first) : ((DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 60_000) - minutes) * 60_000);
        await SameElsewhereAsync(browser);
    }

    [Fact]
    public async Task FromTo_ByForm_ShowsItsWindows_AndBackReturns()
    {
        await using var browser = await OpenAsync();
        await browser.ContainsAsync(EventNumbers, "page_view");
        await ButtonAsync(browser, "From … to");
        await browser.Page.GetByLabel("From", new() { Exact = true }).FillAsync(Field(20));
        await browser.Page.GetByLabel("To", new() { Exact = true }).FillAsync(Field(10));
        await ButtonAsync(browser, "Show");
        Assert.DoesNotContain("from=", browser.Page.Url);

        await browser.Page.GetByLabel("To", new() { Exact = true }).FillAsync(Field(29));
        await ButtonAsync(browser, "Show");
        await AddressAsync(browser, $"?from={Iso(20)}&to={Iso(29)}");
        await AtAsync(browser, 29);
        await browser.ContainsAsync("[data-windows=event] thead", Clock(29));
        await SameElsewhereAsync(browser);

        await browser.Page.GoBackAsync();
        await AtAsync(browser, 99);
        await Assertions.Expect(browser.Page.Locator("#bounds")).ToBeHiddenAsync();
    }

    [Fact]
    public async Task RangeWithoutWindows_SaysSo()
    {
        await using var browser = await OpenAsync("?from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z");
        await browser.ContainsAsync("[data-type=event] [data-which]", "No windows in this range");
        await browser.Page.Locator("#totals").SelectOptionAsync("the range");
        await browser.ContainsAsync("[data-type=event] [data-totals]", "No windows in this range");
    }

    [Fact]
    public async Task Pause_HoldsTheRange_UntilContinue()
    {
        await using var stack = await InProcessStack.StartAsync();
        var start = DateTimeOffset.UtcNow.AddMinutes(-30).ToUnixTimeMilliseconds() / 60_000 * 60_000;
        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 5).Select(i => Event(start + (i * 60_000), "a", i)));
        await stack.EverythingIsCommittedAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        await browser.ShowsAsync("event", "a", "4", "–");
        await ButtonAsync(browser, "Pause");
        await Assertions.Expect(browser.Page.Locator("#held")).ToHaveTextAsync(new Regex(@"^Paused at \d\d:\d\d:\d\d$"));

        // Later than the pause, and already complete when it is seen.
        var later = start + (40 * 60_000);
        await stack.Kafka.SendAsync(Events, 0, Event(later, "a", 77), Event(start + (4 * 60_000), "a", 5));
        await browser.ShowsAsync("event", "a", "5", "–");
        await Eventually.HoldsAsync(async () => Assert.Equal(later, (await stack.GetAsync("/metrics/event/latest")).GetProperty("window_start").GetInt64()));
        await using var elsewhere = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync(new Uri(browser.Page.Url).PathAndQuery);
        await elsewhere.ShowsAsync("event", "a", "5", "–");
        await Assertions.Expect(browser.Page.Locator("[data-windows=event]")).Not.ToContainTextAsync("77");
        await Assertions.Expect(elsewhere.Page.Locator("[data-windows=event]")).Not.ToContainTextAsync("77");

        await ButtonAsync(browser, "Continue");
        await browser.ContainsAsync("[data-windows=event]", "77");
        await Assertions.Expect(browser.Page.Locator("#held")).ToBeHiddenAsync();
        await AddressAsync(browser, "");
    }

    [Fact]
    public async Task PickedWindow_IsInTheAddress_AndForAllCharts()
    {
        await using var browser = await OpenAsync();
        await browser.ContainsAsync(EventNumbers, "page_view");
        await browser.ContainsAsync("[data-type=performance] .legend", "Desktop");
        await browser.Page.GetByRole(AriaRole.Slider, new() { Name = "Window of the events chart" }).PressAsync("ArrowLeft");
        await browser.Page.GetByRole(AriaRole.Slider, new() { Name = "Window of the load time chart" }).PressAsync("PageDown");
        await AddressAsync(browser, $"?window={Iso(88)}");
        await AtAsync(browser, 88);
        await browser.ContainsAsync("[data-type=performance] [data-at]", Clock(88));
        await SameElsewhereAsync(browser);

        // What the pointer is on comes before what is pinned, for as long as it is there.
        await browser.Page.Locator("[data-type=event] .chart").HoverAsync();
        await Eventually.HoldsAsync(async () => Assert.NotEqual(_asked.Start(88), await AtAsync(browser)));
        await browser.Page.Mouse.MoveAsync(1, 1);
        await AtAsync(browser, 88);

        await browser.Page.Keyboard.PressAsync("End");
        await AddressAsync(browser, "");
        await AtAsync(browser, 99);

        await browser.Page.Keyboard.PressAsync("ArrowLeft");
        await AddressAsync(browser, $"?window={Iso(98)}");
        await browser.Page.Locator("[data-type=event] [data-unpin]").ClickAsync();
        await AddressAsync(browser, "");
        await AtAsync(browser, 99);
        await Assertions.Expect(browser.Page.GetByText("Unpin")).ToHaveCountAsync(2);
        await Assertions.Expect(browser.Page.GetByText("Unpin").First).ToBeHiddenAsync();
    }

    [Fact]
    public async Task KeysBetweenTwoFrames_AllCount_OnWhicheverChart()
    {
        await using var browser = await OpenAsync();
        await browser.ContainsAsync(EventNumbers, "page_view");
        await browser.ContainsAsync("[data-type=performance] .legend", "Desktop");

        await browser.Page.EvaluateAsync(
            """
            () => [["event", "ArrowLeft"], ["event", "ArrowLeft"], ["performance", "PageDown"]].forEach(([type, key]) =>
              document.querySelector(`[data-type=${type}] [role=slider]`).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true })))
            """);

        await AddressAsync(browser, $"?window={Iso(87)}");
        await AtAsync(browser, 87);
    }

    [Fact]
    public async Task LastQuarterOfAnHour_InTotal_AndWhatGotSlowerSince()
    {
        await using var browser = await OpenAsync();
        await browser.ContainsAsync(EventNumbers, "page_view");
        await ButtonAsync(browser, "15 min");
        await browser.Page.Locator("#totals").SelectOptionAsync("the range");
        await Assertions.Expect(browser.Page.Locator(Totals).First).ToHaveTextAsync("page_view1,50050");
        await Assertions.Expect(browser.Page.Locator("[data-type=event] .totals thead th")).ToHaveTextAsync(["Type", "Events (sum)", "Users (max)"]);
        await browser.ContainsAsync("[data-type=event] [data-totals]", $"15 complete windows, {Time(85)} to {Time(100)}.");
        await browser.ContainsAsync("[data-type=event] [data-total]", "2,400");
        await SameElsewhereAsync(browser);

        var summary = await (await _asked.StackAsync()).GetAsync($"/metrics/event/summary?from={_asked.Start(85)}&to={_asked.Start(99)}");
        await Assertions.Expect(browser.Page.Locator("[data-type=event] .totals tfoot tr")).ToHaveTextAsync(
            string.Create(CultureInfo.InvariantCulture, $"All types{summary.GetProperty("total").GetProperty("count").GetInt64():N0}{summary.GetProperty("total").GetProperty("users").GetInt64()}"));

        await browser.Page.GetByLabel("Compare with previous").CheckAsync();
        await Assertions.Expect(browser.Page.Locator(LoadTotals).First).ToHaveTextAsync("Tablet1,100+400 (+57%)2,000+600 (+43%)");
        await Assertions.Expect(browser.Page.Locator(LoadTotals).Nth(1)).ToContainTextAsync("±0");
        await Assertions.Expect(browser.Page.Locator(Totals).First).ToContainTextAsync("page_view1,500−143,900 (−99%)");
        await browser.ContainsAsync("[data-type=event] [data-totals]", $"Previous period: 15 windows, {Time(70)} to {Time(85)}.");
        await browser.ContainsAsync("[data-type=performance] .remark", "The thin lines are the previous period.");
        await AddressAsync(browser, "?range=15m&compare=before&totals=yes");
        await SameElsewhereAsync(browser);
        await browser.AssertAccessibleAsync();
        await browser.Page.GetByLabel("Compare with previous").UncheckAsync();
        await AddressAsync(browser, "?range=15m&totals=yes");
    }

    [Fact]
    public async Task Comparison_IsDrawn_AndThereIsNoneForAll()
    {
        await using var browser = await OpenAsync();
        await browser.ContainsAsync(EventNumbers, "page_view");
        await RedrawsAsync(browser, "event", () => browser.Page.GetByLabel("Compare with previous").CheckAsync());
        await AddressAsync(browser, "?compare=before&totals=yes");

        // Totals go with what brought them.
        await browser.Page.GetByLabel("Compare with previous").UncheckAsync();
        await AddressAsync(browser, "");
        await browser.Page.GetByLabel("Compare with previous").CheckAsync();
        await ButtonAsync(browser, "All");
        await Assertions.Expect(browser.Page.GetByLabel("Compare with previous")).ToBeDisabledAsync();
        await Assertions.Expect(browser.Page.Locator("[data-type=event] .totals thead th")).ToHaveCountAsync(3);
    }

    [Fact]
    public async Task Click_IsolatesADimension_AddsAnother_AndReturnsToAll()
    {
        await using var browser = await OpenAsync();
        var page = browser.Page;
        await browser.ContainsAsync(EventNumbers, "page_view");
        await RedrawsAsync(browser, "event", () => PickAsync(browser, "click"));
        await AddressAsync(browser, "?event.only=click");
        await browser.ContainsAsync("[data-type=event] .picks", "Only click.");
        await browser.ContainsAsync("[data-type=event] [data-total]", "24");
        await SameElsewhereAsync(browser);

        await PickAsync(browser, Markup, KeyboardModifier.Control);
        await browser.ContainsAsync("[data-type=event] .picks", $"Only click and {Markup}.");
        await browser.ContainsAsync("[data-type=event] [data-total]", "32");
        await SameElsewhereAsync(browser);
        await PickAsync(browser, "click", KeyboardModifier.Shift);
        await browser.ContainsAsync("[data-type=event] .picks", $"Only {Markup}.");
        await page.GetByRole(AriaRole.Button, new() { Name = "Add page_view" }).ClickAsync();
        await browser.ContainsAsync("[data-type=event] .picks", $"Only {Markup} and page_view.");

        await PickAsync(browser, "page_view");
        await browser.ContainsAsync("[data-type=event] .picks", "Only page_view.");
        await PickAsync(browser, "page_view");
        await AddressAsync(browser, "");
        await Assertions.Expect(page.Locator("[data-type=event] .picks")).ToBeHiddenAsync();

        await PickAsync(browser, Parameter);
        await SameElsewhereAsync(browser);
        await page.Locator("[data-type=event] [data-all]").ClickAsync();
        await AddressAsync(browser, "");
    }

    [Fact]
    public async Task Search_ChartsWhatItFinds_AndSaysHowMany()
    {
        await using var browser = await OpenAsync();
        var find = browser.Page.GetByLabel("Find types");
        await browser.ContainsAsync(EventNumbers, "page_view");
        await RedrawsAsync(browser, "event", () => find.FillAsync("TYPE 0"));
        await browser.ContainsAsync("[data-type=event] .picks", "8 types found; the largest 7 are charted.");
        await Assertions.Expect(browser.Page.Locator(EventRows)).ToHaveCountAsync(8);
        await AddressAsync(browser, "?event.find=TYPE+0");
        await SameElsewhereAsync(browser);

        await find.FillAsync("pe 03");
        await browser.ContainsAsync("[data-type=event] .picks", "1 type found.");
        await Assertions.Expect(browser.Page.Locator(EventRows)).ToHaveTextAsync(["type 0311"]);
        await browser.Page.Locator("#totals").SelectOptionAsync("the range");
        await Assertions.Expect(browser.Page.Locator(Totals)).ToHaveTextAsync(["type 03601"]);

        await find.FillAsync(Markup);
        await browser.ContainsAsync(EventTotals, Markup);
        await SameElsewhereAsync(browser);
        await find.FillAsync("no such");
        await browser.ContainsAsync("[data-type=event] .picks", "No types found.");
        await find.FillAsync("");
        await Assertions.Expect(browser.Page.Locator(Totals)).ToHaveCountAsync(14);
        Assert.Equal(0, await browser.Page.Locator("main img").CountAsync());
    }

    [Fact]
    public async Task Tables_AreSortedByAnyColumn()
    {
        await using var browser = await OpenAsync();
        var page = browser.Page;
        await browser.ContainsAsync(EventNumbers, "page_view");
        var heads = page.Locator("[data-type=event] .legend th[scope=col]");
        await heads.Nth(2).GetByRole(AriaRole.Button).ClickAsync();
        await Assertions.Expect(heads.Nth(2)).ToHaveAttributeAsync("aria-sort", "descending");
        await Assertions.Expect(page.Locator(EventRows).First).ToContainTextAsync("click");
        await AddressAsync(browser, "?event.sort=-users");
        await SameElsewhereAsync(browser);
        await heads.Nth(1).GetByRole(AriaRole.Button).ClickAsync();
        await Assertions.Expect(page.Locator(EventRows).First).ToContainTextAsync("page_view");
        await heads.Nth(1).GetByRole(AriaRole.Button).ClickAsync();
        await Assertions.Expect(heads.Nth(1)).ToHaveAttributeAsync("aria-sort", "ascending");
        await Assertions.Expect(page.Locator(EventRows).First).ToContainTextAsync("type");
        await Assertions.Expect(page.Locator(EventRows).Last).ToContainTextAsync("7 others");

        await page.Locator("#totals").SelectOptionAsync("the range");
        await page.Locator("[data-type=event] .totals th[scope=col]").First.GetByRole(AriaRole.Button).ClickAsync();
        await Assertions.Expect(page.Locator(Totals).First).ToContainTextAsync(Markup);
        await AddressAsync(browser, "?totals=yes&event.sort=dimension");
        await SameElsewhereAsync(browser);
    }

    [Fact]
    public async Task MeasureAndStyle_AreChosen()
    {
        await using var browser = await OpenAsync();
        var page = browser.Page;
        await browser.ContainsAsync(EventNumbers, "page_view");
        await RedrawsAsync(browser, "event", () => page.Locator("[data-type=event] [data-set=style]").SelectOptionAsync("Lines"));
        await AddressAsync(browser, "?event.style=lines");
        await SameElsewhereAsync(browser);

        // Users do not add up, so they are not stacked.
        await RedrawsAsync(browser, "event", () => page.Locator("[data-type=event] [data-set=measure]").SelectOptionAsync("Users"));
        await Assertions.Expect(page.Locator("[data-type=event] [data-set=style]")).ToBeHiddenAsync();
        await RedrawsAsync(browser, "performance", () => page.Locator("[data-type=performance] [data-set=measure]").SelectOptionAsync("p95"));
        await AddressAsync(browser, "?event.measure=users&event.style=lines&performance.measure=p95_load_time");
        await SameElsewhereAsync(browser);
    }

    [Fact]
    public async Task Scale_SaysWhatItCuts_OrIsFull_OrLogarithmic()
    {
        await using var browser = await OpenAsync();
        var page = browser.Page;
        await browser.ContainsAsync("[data-type=event] .remark", $"1 column above 200 is cut: 144,058 at {Time(80)}.");
        await page.Locator("[data-type=event] [data-set=style]").SelectOptionAsync("Lines");
        await browser.ContainsAsync("[data-type=event] .remark", "1 value of Events above ");

        await page.GetByText("Display").ClickAsync();
        await RedrawsAsync(browser, "event", () => page.GetByLabel("Scale").SelectOptionAsync("Full"));
        await Assertions.Expect(page.Locator("[data-type=event] .remark")).ToBeHiddenAsync();
        await SameElsewhereAsync(browser);
        await RedrawsAsync(browser, "event", () => page.GetByLabel("Scale").SelectOptionAsync("Logarithmic"));
        await AddressAsync(browser, "?scale=log&event.style=lines");
        await SameElsewhereAsync(browser);
        await browser.AssertAccessibleAsync();
        await page.GetByLabel("Scale").SelectOptionAsync("Cut spikes");
        await browser.ContainsAsync("[data-type=event] .remark", "is cut");
    }

    [Fact]
    public async Task Times_AreLocalOrUtc()
    {
        await using var browser = await OpenAsync(change: page => page.TimezoneId = "Asia/Kolkata");
        await browser.ContainsAsync("[data-type=event] [data-at]", Clock(99, hours: 5.5));
        await browser.ContainsAsync("#zone", "Asia/");
        await browser.Page.GetByText("Display").ClickAsync();
        await browser.Page.GetByLabel("Times").SelectOptionAsync("UTC");
        await browser.ContainsAsync("[data-type=event] [data-at]", Clock(99));
        await browser.ContainsAsync("#zone", "Times are in UTC");
        await AddressAsync(browser, "?utc=yes");
        await SameElsewhereAsync(browser);
    }

    [Theory]
    [InlineData(ColorScheme.Light, "Dark", "rgb(16, 18, 20)")]
    [InlineData(ColorScheme.Dark, "Light", "rgb(246, 246, 244)")]
    public async Task Scheme_OverridesTheSystems(ColorScheme system, string scheme, string ground)
    {
        await using var browser = await OpenAsync(change: page => page.ColorScheme = system);
        await browser.ContainsAsync(EventNumbers, "page_view");
        await browser.Page.GetByText("Display").ClickAsync();
        await RedrawsAsync(browser, "event", () => browser.Page.GetByLabel("Colours").SelectOptionAsync(scheme));
        await Assertions.Expect(browser.Page.Locator("body")).ToHaveCSSAsync("background-color", ground);
        await browser.AssertAccessibleAsync();

        await using var elsewhere = await OpenAsync(new Uri(browser.Page.Url).Query, page => page.ColorScheme = system);
        await Assertions.Expect(elsewhere.Page.Locator("body")).ToHaveCSSAsync("background-color", ground);
        await browser.Page.GetByLabel("Colours").SelectOptionAsync("As the system");
        await Assertions.Expect(browser.Page.Locator("body")).Not.ToHaveCSSAsync("background-color", ground);
        await AddressAsync(browser, "");
    }

    [Fact]
    public async Task FullScreen_ShowsOnlyCharts()
    {
        await using var browser = await OpenAsync(change: page => page.ViewportSize = new() { Width = 1920, Height = 1080 });
        var page = browser.Page;
        await browser.ContainsAsync(EventNumbers, "page_view");
        var height = await HeightAsync(page);
        await ButtonAsync(browser, "Full screen");
        await Assertions.Expect(page.Locator("#tables")).ToBeHiddenAsync();
        await Assertions.Expect(page.Locator(".tiles")).ToBeHiddenAsync();
        await Assertions.Expect(page.Locator("[data-type=event] .legend")).ToBeVisibleAsync();
        Assert.Equal(["header", "controls", "charts"], await page.EvaluateAsync<string[]>(
            """
            () => [...document.querySelectorAll("body > *, main > *")].filter((element) => element.id !== "main" && element.checkVisibility() && element.clientHeight > 1)
              .map((element) => element.id || element.localName)
            """));
        Assert.InRange(await page.Locator("#charts").EvaluateAsync<int>("charts => charts.clientWidth"), 1820, 1920);

        // And on a smaller screen, too, all of it fits.
        await page.SetViewportSizeAsync(1400, 900);
        await Eventually.HoldsAsync(async () => Assert.InRange(await page.EvaluateAsync<int>("document.documentElement.scrollHeight"), 600, 900));
        await page.SetViewportSizeAsync(1920, 1080);
        Assert.True(await page.EvaluateAsync<bool>("document.fullscreenElement !== null"));
        await Eventually.HoldsAsync(async () => Assert.True(await HeightAsync(page) > height));
        await AddressAsync(browser, "?wall=yes");
        await browser.AssertAccessibleAsync();

        await using var elsewhere = await OpenAsync("?wall=yes");
        await Assertions.Expect(elsewhere.Page.Locator("[data-type=event] .legend")).ToBeVisibleAsync();
        await Assertions.Expect(elsewhere.Page.Locator("#tables")).ToBeHiddenAsync();
        await elsewhere.Page.Keyboard.PressAsync("Escape");
        await Assertions.Expect(elsewhere.Page.Locator("#tables")).ToBeVisibleAsync();

        await ButtonAsync(browser, "Leave full screen");
        await Assertions.Expect(page.Locator("#tables")).ToBeVisibleAsync();
        await Eventually.HoldsAsync(async () => Assert.True(await page.EvaluateAsync<bool>("document.fullscreenElement === null")));
        await AddressAsync(browser, "");

        static Task<int> HeightAsync(IPage page) => page.Locator("[data-type=event] .canvas").EvaluateAsync<int>("canvas => canvas.clientHeight");
    }

    [Fact]
    public async Task Totals_AreOfCompleteWindows_AndWithoutAPeriodBefore_NothingIsNew()
    {
        await using var stack = await InProcessStack.StartAsync();
        var today = new DateTimeOffset(DateTimeOffset.UtcNow.Date, TimeSpan.Zero);
        await stack.Kafka.SendAsync(Events, 0, new[] { -2, -1, 0 }.Select(day => Event(today.AddDays(day).ToUnixTimeMilliseconds(), "a", 100 + day)));
        await stack.EverythingIsCommittedAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync("/?range=all&totals=yes");
        await Assertions.Expect(browser.Page.Locator(Totals)).ToHaveTextAsync(["a197–"]);
        await browser.ContainsAsync("[data-type=event] [data-totals]", "2 complete windows");

        await browser.Page.GotoAsync("/?range=15&totals=yes&compare=before");
        await Assertions.Expect(browser.Page.Locator(Totals)).ToHaveTextAsync(["a197–––"]);
        await browser.ContainsAsync("[data-type=event] [data-totals]", "There are no windows in the previous period.");
    }

    [Fact]
    public async Task UpdateThatArrivesWhileItsRangeIsRead_IsNotLost()
    {
        await using var stack = await InProcessStack.StartAsync();
        var start = DateTimeOffset.UtcNow.AddMinutes(-10).ToUnixTimeMilliseconds() / 60_000 * 60_000;
        await stack.Kafka.SendAsync(Events, 0, Event(start - 60_000, "a", 1), Event(start, "a", 2));
        await stack.EverythingIsCommittedAsync();
        await using var browser = await _chromium.OpenAsync(stack.Http.BaseAddress!);
        await browser.LoadAsync();
        await browser.ShowsAsync("event", "a", "2", "–");

        // The answer is from before the update, and arrives after it.
        var read = new TaskCompletionSource();
        var arrived = new TaskCompletionSource();
        await browser.Page.RouteAsync("**/metrics/event/windows?from=*", async route =>
        {
            var answer = await route.FetchAsync();
            read.TrySetResult();
            await arrived.Task;
            await route.FulfillAsync(new() { Response = answer });
        });
        await ButtonAsync(browser, "1 h");
        await read.Task.WaitAsync(TestTimeout.Full);
        await stack.Kafka.SendAsync(Events, 0, Event(start, "a", 77));
        await browser.ShowsAsync("event", "a", "77", "–");
        await browser.ContainsAsync("[data-type=event] .remark", "Loading …");
        arrived.SetResult();
        await Assertions.Expect(browser.Page.Locator("[data-type=event] .remark")).Not.ToContainTextAsync("Loading");
        await browser.ShowsAsync("event", "a", "77", "–");
    }

    [Fact]
    public async Task Headline_IsOfTheMeasureChosen()
    {
        await using var browser = await OpenAsync();
        await browser.ContainsAsync("[data-type=event] .big", "events");
        await browser.ContainsAsync("[data-type=performance] .big", "2,000 ms slowest p95");
        await browser.Page.Locator("[data-type=event] [data-set=measure]").SelectOptionAsync("users");
        await browser.ContainsAsync("[data-type=event] .big", "60 highest users");
        await browser.Page.Locator("[data-type=performance] [data-set=measure]").SelectOptionAsync("avg_load_time");
        await browser.ContainsAsync("[data-type=performance] .big", "1,100 ms highest average");
    }

    [Fact]
    public async Task Back_ReturnsToWhatWasAskedBefore_AStepAtATime()
    {
        await using var browser = await OpenAsync();
        var page = browser.Page;
        await browser.ContainsAsync(EventNumbers, "page_view");
        await ButtonAsync(browser, "15 windows");
        await page.Locator("#totals").SelectOptionAsync("the range");
        await page.GetByLabel("Find types").PressSequentiallyAsync("page");
        await AddressAsync(browser, "?range=15&totals=yes&event.find=page");

        // The keys of a search are no steps.
        await page.GoBackAsync();
        await AddressAsync(browser, "?range=15");
        await Assertions.Expect(page.Locator("#totals")).ToHaveValueAsync("false");
        await Assertions.Expect(page.GetByLabel("Find types")).ToHaveValueAsync("");
        await page.GoBackAsync();
        await Assertions.Expect(page.GetByRole(AriaRole.Button, new() { Name = "60 windows" })).ToHaveAttributeAsync("aria-pressed", "true");
        await page.GoForwardAsync();
        await Assertions.Expect(page.GetByRole(AriaRole.Button, new() { Name = "15 windows" })).ToHaveAttributeAsync("aria-pressed", "true");
    }

    [Theory]
    [InlineData("range=7", "range=7")]
    [InlineData("range=15&range=60", "range=60", "?range=15")]
    [InlineData("foo=%3Cimg src=x onerror=alert(1)%3E", "foo=<img src=x onerror=alert(1)>")]
    [InlineData("from=yesterday&to=1", "from=yesterday, to=1970-01-01T00:00:00.001Z")]
    [InlineData("from=2&to=1", "from=1970-01-01T00:00:00.002Z")]
    [InlineData("paused=99999999999999999999&scheme=pink&wall=", "paused=99999999999999999999, scheme=pink, wall=")]
    [InlineData("event.sort=nothing&utc=yes", "event.sort=nothing", "?utc=yes")]
    [InlineData("nosuch.find=x&event.measure=%3Cb%3E", "nosuch.find=x, event.measure=<b>")]
    [InlineData("event.nosuch=x&__proto__=1&constructor=2&event.constructor=3", "__proto__=1, constructor=2, event.nosuch=x, and 1 more")]
    [InlineData("a=1&b=2&c=3&d=4&range=%FF", "a=1, b=2, c=3, and 2 more")]
    public async Task WhatIsNotUnderstoodInTheAddress_IsIgnored_AndSaidSo(string query, string said, string left = "")
    {
        await using var browser = await OpenAsync($"?{query}");
        await browser.ContainsAsync("#notice", $"Not understood in the address, and ignored: {said}");
        await browser.ContainsAsync(EventNumbers, "page_view");
        await AddressAsync(browser, left);
        Assert.Equal(0, await browser.Page.Locator("main img").CountAsync());

        await ButtonAsync(browser, "1 h");
        await Assertions.Expect(browser.Page.Locator("#notice")).ToBeHiddenAsync();
    }

    [Fact]
    public async Task Csv_OfWindows_IsThatOfTheService()
    {
        await using var browser = await OpenAsync($"?from={Iso(10)}&to={Iso(90)}");
        await BeginsAsync(browser, () => _asked.Start(10));
        var (name, bytes) = await SaveAsync(browser);
        Assert.Equal($"event-{Name(10)}-{Name(90)}.csv", name);
        Assert.Equal([0xEF, 0xBB, 0xBF], bytes[..3]);

        using var request = new HttpRequestMessage(HttpMethod.Get, $"/metrics/event/windows?from={_asked.Start(10)}&to={_asked.Start(90)}&limit=1000");
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("text/csv"));
        using var answer = await (await _asked.StackAsync()).Http.SendAsync(request);
        var (theirs, ours) = (Lines(await answer.Content.ReadAsStringAsync()), Lines(Encoding.UTF8.GetString(bytes[3..])));
        Assert.Equal(1 + (81 * 14) + 1, ours.Length);
        Assert.Equal(theirs[0], ours[0]);
        Assert.Equal(theirs.Order(StringComparer.Ordinal), ours.Order(StringComparer.Ordinal));

        // Newest first, and no cell that a spreadsheet would run.
        Assert.StartsWith(Begins(90), ours[1], StringComparison.Ordinal);
        Assert.StartsWith(Begins(10), ours[^2], StringComparison.Ordinal);
        Assert.Contains(ours, line => line.EndsWith(",'=1+1|'cmd'!A0,9,1", StringComparison.Ordinal));

        await PickAsync(browser, "click");
        await browser.ContainsAsync("[data-type=event] .picks", "Only click.");
        (_, bytes) = await SaveAsync(browser);
        Assert.Equal(ours.Where(line => line.Contains(",click,", StringComparison.Ordinal)), Lines(Encoding.UTF8.GetString(bytes[3..]))[1..^1]);

        string Begins(int window) => string.Create(CultureInfo.InvariantCulture, $"{At(window):yyyy-MM-dd HH:mm:ss},{_asked.Start(window)},");
    }

    [Fact]
    public async Task Csv_OfPickedTotals_HasOnlyThem_AndWhatTheyWere()
    {
        var query = $"?from={Iso(85)}&to={Iso(99)}&compare=before&totals=yes&event.only={Uri.EscapeDataString(Formula)}&event.only={Uri.EscapeDataString(Quoted)}";
        await using var browser = await OpenAsync(query);
        await Assertions.Expect(browser.Page.Locator(Totals)).ToHaveCountAsync(2);
        var (name, bytes) = await SaveAsync(browser);
        var range = string.Create(CultureInfo.InvariantCulture, $"{At(85):yyyy-MM-dd HH:mm:ss},{_asked.Start(85)},{At(99):yyyy-MM-dd HH:mm:ss},{_asked.Start(99)}");

        Assert.Equal($"event-totals-{Name(85)}-{Name(99)}.csv", name);
        Assert.Equal(
            [
                "from,from_ms,to,to_ms,event_type,count_sum,count_sum_before,users_max,users_max_before",
                $"{range},'{Formula},135,135,1,1",
                $"{range},\"a, \"\"b\\c\",105,105,1,1",
                "",
            ],
            Lines(Encoding.UTF8.GetString(bytes[3..])));
    }

    [Fact]
    public async Task WhatIsAsked_IsReadOnce()
    {
        await using var browser = await OpenAsync();
        await browser.ContainsAsync(EventNumbers, "page_view");
        var read = new List<string>();
        browser.Page.Request += (_, request) => read.Add(new Uri(request.Url).PathAndQuery);
        await browser.Page.GotoAsync("/?range=1h&totals=yes");
        await browser.ContainsAsync(EventTotals, "page_view");
        await Task.Delay(2500, CancellationToken.None);
        Assert.Equal(2, read.Count(route => route.StartsWith("/metrics/event/windows?from=", StringComparison.Ordinal) || route.StartsWith("/metrics/performance/windows?from=", StringComparison.Ordinal)));
        Assert.Equal(2, read.Count(route => route.Contains("/summary?", StringComparison.Ordinal)));
        Assert.Equal(2, read.Count(route => route.Contains("/windows?limit=60", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task OnAPhone_EverythingFits_AndCanBeTouched()
    {
        await using var browser = await OpenAsync("?range=15m&compare=before&totals=yes", page =>
        {
            page.ViewportSize = new() { Width = 360, Height = 780 };
            page.IsMobile = true;
            page.HasTouch = true;
        });
        var page = browser.Page;
        await browser.ContainsAsync(EventTotals, "page_view");
        await browser.AssertFitsAsync();
        await browser.AssertAccessibleAsync();
        await page.Locator(Totals).Filter(new() { HasText = "click" }).GetByRole(AriaRole.Button).First.TapAsync();
        await browser.ContainsAsync("[data-type=event] .picks", "Only click.");
        await page.GetByText("Display").TapAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "From … to" }).TapAsync();
        await browser.AssertFitsAsync();
        await browser.AssertAccessibleAsync();
    }

    /// <summary>Opens the page at an address. On a busy machine, Redis may take longer than the service waits for it; the page asks again.</summary>
    private async Task<OpenPage> OpenAsync(string query = "", Action<BrowserNewContextOptions>? change = null) =>
        await (await _chromium.OpenAsync((await _asked.StackAsync()).Http.BaseAddress!, change)).Expects("503 (Service Unavailable)").LoadAsync($"/{query}");

    /// <summary>Asserts that a fresh page at the same address shows the same.</summary>
    private async Task SameElsewhereAsync(OpenPage browser)
    {
        const string Shown =
            """
            () => [
              ...["#held", "#pause", ".picks", ".remark", ".tools", ".numbers", "#tables", "#zone"].flatMap(part => [...document.querySelectorAll(part)])
                .filter(element => element.checkVisibility()).map(element => element.innerText),
              ...[...document.querySelectorAll("#controls :is(select, [type=checkbox]), .tools :is(select, input)")]
                .map(element => element.type === "checkbox" ? element.checked : element.value),
              ...[...document.querySelectorAll("#controls button, .numbers button")].filter(element => element.checkVisibility()).map(element => element.ariaPressed),
              ...[...document.querySelectorAll("[data-at], [data-total]")].map(element => element.innerText),
              document.body.className,
            ].join("\n")
            """;
        await using var elsewhere = await OpenAsync(new Uri(browser.Page.Url).Query);
        await Eventually.HoldsAsync(async () => Assert.Equal(await browser.Page.EvaluateAsync<string>(Shown), await elsewhere.Page.EvaluateAsync<string>(Shown)));
    }

    private static Task ButtonAsync(OpenPage browser, string name) =>
        browser.Page.GetByRole(AriaRole.Button, new() { Name = name, Exact = true }).ClickAsync();

    private static Task PickAsync(OpenPage browser, string dimension, params KeyboardModifier[] keys) =>
        browser.Page.Locator(EventRows).GetByRole(AriaRole.Button, new() { Name = dimension, Exact = true }).ClickAsync(new() { Modifiers = keys });

    private static Task AddressAsync(OpenPage browser, string query) => Eventually.HoldsAsync(() => Assert.Equal(query, new Uri(browser.Page.Url).Query));

    /// <summary>Asserts that a chart looks different after something.</summary>
    private static async Task RedrawsAsync(OpenPage browser, string type, Func<Task> act)
    {
        var before = await browser.PixelsAsync(type);
        await act();
        await Eventually.HoldsAsync(async () => Assert.NotEqual(before, await browser.PixelsAsync(type)));
    }

    private static async Task<(string Name, byte[] Bytes)> SaveAsync(OpenPage browser)
    {
        var download = await browser.Page.RunAndWaitForDownloadAsync(() => browser.Page.Locator("[data-type=event] [data-csv]").ClickAsync());
        return (download.SuggestedFilename, await File.ReadAllBytesAsync(await download.PathAsync()));
    }

    /// <summary>Waits until the numbers are those of a window.</summary>
    private Task AtAsync(OpenPage browser, int window) => Eventually.HoldsAsync(async () => Assert.Equal(_asked.Start(window), await AtAsync(browser)));

    /// <summary>Waits until the chart begins with a window.</summary>
    private static async Task BeginsAsync(OpenPage browser, Func<long> start)
    {
        var chart = browser.Page.GetByRole(AriaRole.Slider, new() { Name = "Window of the events chart" });
        await Eventually.HoldsAsync(async () =>
        {
            await chart.PressAsync("Home");
            Assert.Equal(start(), await AtAsync(browser));
        });
        await chart.PressAsync("End");
    }

    private static async Task<long> AtAsync(OpenPage browser)
    {
        var at = await browser.Page.Locator("[data-type=event] [data-at]").GetAttributeAsync("datetime");
        return at is null or "" ? 0 : DateTimeOffset.Parse(at, CultureInfo.InvariantCulture).ToUnixTimeMilliseconds();
    }

    private DateTimeOffset At(int window) => DateTimeOffset.FromUnixTimeMilliseconds(_asked.Start(window));

    private string Iso(int window) => At(window).ToString("yyyy-MM-dd'T'HH:mm:ss'Z'", CultureInfo.InvariantCulture);

    private string Name(int window) => At(window).ToString("yyyy-MM-dd'T'HHmmss", CultureInfo.InvariantCulture);

    private string Field(int window) => At(window).ToString("yyyy-MM-dd'T'HH:mm", CultureInfo.InvariantCulture);

    private string Clock(int window, double hours = 0) => At(window).AddHours(hours).ToString("HH:mm:ss", CultureInfo.InvariantCulture);

    /// <summary>A window as the page writes it: with the date, unless that is today's.</summary>
    private string Time(int window) => At(window).Date == DateTimeOffset.UtcNow.Date ? Clock(window) : $"{At(window).ToString("MMM d", CultureInfo.InvariantCulture)}, {Clock(window)}";

    private static string[] Lines(string csv) => csv.Split("\r\n");
}

/// <summary>A stack with 100 windows of a minute each, the newest of which has just ended.</summary>
public sealed class AskedStack : IAsyncDisposable
{
    private readonly long _first = (DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() / 60_000 * 60_000) - (100 * 60_000);
    private InProcessStack? _stack;

    /// <summary>The start of a window, 0 to 99.</summary>
    internal long Start(int window) => _first + (window * 60_000L);

    /// <summary>Starts at the first test, so that nothing starts where there is no browser.</summary>
    internal async Task<InProcessStack> StackAsync()
    {
        if (_stack is null)
        {
            _stack = await InProcessStack.StartAsync();
            await _stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 100).SelectMany(EventsOf));
            await _stack.Kafka.SendAsync(Performance, 0, Enumerable.Range(0, 100).SelectMany(LoadsOf));
            await _stack.EverythingIsCommittedAsync();
        }

        return _stack;
    }

    public async ValueTask DisposeAsync()
    {
        if (_stack is not null)
        {
            await _stack.DisposeAsync();
        }
    }

    // One of them is a spike.
    private IEnumerable<string> EventsOf(int window) =>
    [
        Event(Start(window), "page_view", window == 80 ? 144_000 : 100, 50),
        Event(Start(window), "click", 20 + (window % 5), 60),
        .. new[] { AskTests.Formula, AskTests.Markup, AskTests.Quoted, AskTests.Parameter }.Select((name, i) => Event(Start(window), JsonEncodedText.Encode(name).Value, 9 - i, 1)),
        .. Enumerable.Range(0, 8).Select(i => Event(Start(window), $"type {i:D2}", 1, 1)),
    ];

    // Tablets got slower a quarter of an hour ago.
    private IEnumerable<string> LoadsOf(int window) =>
    [
        Load(Start(window), "Desktop", 400, 800),
        Load(Start(window), "Mobile", 600, 1200),
        Load(Start(window), "Tablet", window < 85 ? 700 : 1100, window < 85 ? 1400 : 2000),
    ];
}
