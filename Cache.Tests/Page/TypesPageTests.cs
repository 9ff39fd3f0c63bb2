using System.Text.RegularExpressions;
using Cache.Tests.EndToEnd;
using Microsoft.Playwright;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Page;

/// <summary>The live page with metric types by configuration.</summary>
public sealed class TypesPageTests : IClassFixture<Chromium>
{
    private const string Revenue = "shop.revenue";
    private const string Runs = "job.runs";

    // The second one is called as a part of the page is.
    private const string Types =
        $$"""
        [
          {"name":"revenue","topics":["{{Revenue}}"],"dimension":["country","plan"],"window_seconds":60,"measures":[
            {"name":"total","field":"AMOUNT","kind":"number","unit":"EUR","rollup":"sum","signed":true},
            {"name":"orders","kind":"count"}]},
          {"name":"pipeline","topics":["{{Runs}}"],"dimension":["<i>job_name</i>"],"measures":[
            {"name":"runs","kind":"count"},
            {"name":"wait_time","kind":"number","unit":"ms","rollup":"max"},
            {"name":"cost_1","kind":"number","rollup":"sum"}, {"name":"cost_2","kind":"number","rollup":"sum"},
            {"name":"cost_3","kind":"number","rollup":"sum"}, {"name":"cost_4","kind":"number","rollup":"sum"},
            {"name":"cost_5","kind":"number","rollup":"sum"}, {"name":"cost_6","kind":"number","rollup":"sum"}]}
        ]
        """;

    private readonly Chromium _chromium;

    public TypesPageTests(Chromium chromium)
    {
        Chromium.Require();
        _chromium = chromium;
    }

    [Fact]
    public async Task TypeByConfiguration_HasItsChartNumbersAndTable_AfterTheDefaults()
    {
        await using var stack = await StartAsync();
        await stack.Kafka.SendAsync(Revenue, 0, Sale(1, "DE", "pro", "1234.5", 3), Sale(1, "FR", "pro", "100", 1), Sale(1, "FR", "free", "-0.25", 2));
        await stack.Kafka.SendAsync(Runs, 0, Run(1, "nightly", 7, 1530.25));
        await stack.EverythingIsCommittedAsync(Revenue, Runs);
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        var page = browser.Page;

        await browser.ShowsAsync("revenue", "DE|pro", "1,234.50", "3");
        await browser.ShowsAsync("revenue", "FR|free", "-0.25", "2");
        await browser.ShowsAsync("pipeline", "nightly", "7", "1,530.25", "–", "–", "–");
        await TextsAsync(page.Locator("#charts h2"), "Events by type", "Load time by device", "Revenue by country and plan", "Pipeline by <i>job name</i>");
        await TextsAsync(page.Locator("#tables h2"), "Latest event windows", "Latest load time windows", "Latest revenue windows", "Latest pipeline windows");
        await TextsAsync(page.Locator("[data-type=revenue] .legend th[scope=col]"), "Country | Plan", "Total EUR", "Orders");
        await TextsAsync(page.Locator("[data-windows=revenue] .group"), "Total EUR", "Orders");
        await browser.ContainsAsync("[data-type=pipeline]", "3 more measures are with the latest windows.");
        await TextsAsync(page.Locator("[data-windows=pipeline] .group"), "Runs", "Wait time ms", "Cost 1", "Cost 2", "Cost 3", "Cost 4", "Cost 5", "Cost 6");
        await browser.ContainsAsync("[data-type=revenue] .big", "1,334.25 EUR total");
        await browser.ContainsAsync("[data-type=pipeline] .big", "7 runs");

        // A single measure, then a new window, which the chart shows, too.
        await stack.Kafka.SendAsync(Revenue, 0, Sale(1, "DE", "pro", "2000"));
        await browser.ShowsAsync("revenue", "DE|pro", "2,000.00", "3");
        var before = await browser.PixelsAsync("revenue");
        await stack.Kafka.SendAsync(Revenue, 0, Sale(2, "DE", "pro", "7", 1));
        await browser.ShowsAsync("revenue", "DE|pro", "7", "1");
        await browser.ContainsAsync("[data-windows=revenue] thead", "16:02:00");
        await Eventually.HoldsAsync(async () => Assert.NotEqual(before, await browser.PixelsAsync("revenue")));

        var chart = page.GetByRole(AriaRole.Slider, new() { Name = "Window of the revenue chart" });
        await chart.FocusAsync();
        await chart.PressAsync("ArrowLeft");
        await browser.ShowsAsync("revenue", "DE|pro", "2,000.00", "3");
        await Assertions.Expect(chart).ToHaveAttributeAsync("aria-valuetext", "Mar 9, 2024, 16:01:00, pinned, 2,099.75 EUR total");
    }

    [Fact]
    public async Task DimensionsBeyondTheColours_AreFoundByName_AndNothingIsTakenForMarkup()
    {
        const string Hostile = "<img src=x onerror=alert(1)>";
        await using var stack = await StartAsync();
        await stack.Kafka.SendAsync(Runs, 0, [.. Enumerable.Range(0, 19).Select(i => Run(1, $"job {i:D2}", i + 1, i)), Run(1, Hostile, 100, 1)]);
        await stack.EverythingIsCommittedAsync(Runs);
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        var page = browser.Page;

        await browser.ShowsAsync("pipeline", Hostile, "100", "1", "–");
        await browser.ContainsAsync("[data-type=pipeline] .legend", "13 others");
        await page.GetByText("All 20 dimensions").ClickAsync();
        await page.Locator("[data-type=pipeline] input").FillAsync("JOB 03");
        await TextsAsync(page.Locator("[data-type=pipeline] .legend tbody th"), "job 03");
        Assert.Equal(0, await page.Locator("main img, main i").CountAsync());
    }

    [Theory]
    [InlineData(1120)]
    [InlineData(360)]
    public async Task TypeWithManyMeasures_FitsThePage_WithoutAccessibilityViolation(int width)
    {
        await using var stack = await StartAsync();
        await stack.Kafka.SendAsync(Revenue, 0, Sale(1, new('W', 100), new('W', 100), "123456.78", 999_999));
        await stack.Kafka.SendAsync(Runs, 0, [.. Enumerable.Range(0, 20).Select(i => Run(1, $"{new string('x', 100)}{i}", 999_999, 23_456))]);
        await stack.EverythingIsCommittedAsync(Revenue, Runs);
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!, page => page.ViewportSize = new() { Width = width, Height = 780 })).LoadAsync();

        await browser.ContainsAsync("[data-type=revenue] .legend tbody", "123,456.78");
        await browser.Page.GetByText("All 20 dimensions").ClickAsync();

        // What none of them has is not zero.
        var others = browser.Page.Locator("[data-type=pipeline] .legend tbody tr", new() { Has = browser.Page.GetByText("13 others", new() { Exact = true }) });
        await Assertions.Expect(others).ToHaveTextAsync(new Regex("^13 others12,999,987–+$"));
        await browser.AssertAccessibleAsync();
        await browser.PictureAsync($"many-measures-{width}");
    }

    [Fact]
    public async Task DefaultTypes_HaveTheirOwnWords()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "click", 1, 1));
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(1), "tv", 1, 2));
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        var page = browser.Page;

        await browser.ShowsAsync("event", "click", "1", "1");
        await browser.ShowsAsync("performance", "tv", "1", "2");
        await TextsAsync(page.Locator("#charts h2"), "Events by type", "Load time by device");
        await TextsAsync(page.Locator("#charts .legend th[scope=col]"), "Type", "Events", "Users", "Device", "Average ms", "p95 ms");
        await TextsAsync(page.Locator("#charts .big"), "1 events", "2 ms slowest p95");
        await TextsAsync(page.Locator("#tables h2"), "Latest event windows", "Latest load time windows");
        await TextsAsync(page.Locator("#tables .group"), "Events", "Users", "Average ms", "p95 ms");
    }

    [Fact]
    public async Task TypesThatCannotBeRead_AreSaidSo_AndReadAgain()
    {
        await using var stack = await StartAsync();
        await stack.Kafka.SendAsync(Revenue, 0, Sale(1, "DE", "pro", "1", 1));
        await using var browser = await _chromium.OpenAsync(stack.Http.BaseAddress!);
        await browser.Expects("502").LoadAsync();
        await browser.Page.RouteAsync("**/types", route => route.FulfillAsync(new() { Status = 502 }));
        await browser.Page.ReloadAsync();
        await browser.StatesAsync("The types of windows cannot be read; retrying.");
        await browser.ContainsAsync("[data-type=event] [data-note]", "Loading …");

        await browser.Page.UnrouteAllAsync();
        await browser.ShowsAsync("revenue", "DE|pro", "1", "1");
        await browser.StatesAsync("No new revenue windows since Mar 9, 2024, 16:01:00");
    }

    private static async Task<InProcessStack> StartAsync()
    {
        var stack = await InProcessStack.PrepareAsync(null, ("metric_types", Types));
        stack.Broker.CreateTopic(Revenue, partitions: 1);
        stack.Broker.CreateTopic(Runs, partitions: 1);
        await stack.StartServiceAsync();
        await stack.ReadyAsync();
        return stack;
    }

    private static string Sale(int minute, string country, string plan, string amount, int? orders = null) =>
        $$"""{"window_start":{{Window(minute)}},"country":"{{country}}","plan":"{{plan}}","AMOUNT":{{amount}}{{(orders is null ? "" : $",\"orders\":{orders}")}}}""";

    private static string Run(int minute, string job, int runs, double waitTime) =>
        FormattableString.Invariant($$"""{"window_start":{{Window(minute)}},"<i>job_name</i>":"{{job}}","runs":{{runs}},"wait_time":{{waitTime}}}""");

    private static Task TextsAsync(ILocator elements, params string[] texts) => Assertions.Expect(elements).ToHaveTextAsync(texts);
}
