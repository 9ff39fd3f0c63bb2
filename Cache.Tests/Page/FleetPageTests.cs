using Cache.Tests.EndToEnd;
using Deque.AxeCore.Playwright;
using Microsoft.Playwright;

namespace Cache.Tests.Page;

/// <summary>The page's table of replicas.</summary>
public sealed class FleetPageTests : IClassFixture<Chromium>
{
    private const string Section =
        """
        () => {
          document.body.innerHTML = `<main><h1>Test</h1><section id="fleet" class="card" aria-labelledby="fleet-title"><h2 id="fleet-title">Replicas</h2>
            <div class="scroll" tabindex="0" role="group" aria-labelledby="fleet-title"><table><caption class="unseen">Who has what</caption><thead></thead><tbody></tbody></table></div>
            <p class="muted" data-note></p></section></main>`;
        }
        """;

    private const string Show = "async ({ fleet, sort }) => (await import('/fleet.js')).showFleet(JSON.parse(fleet), { replicas: sort })";

    private readonly Chromium _chromium;

    public FleetPageTests(Chromium chromium)
    {
        Chromium.Require();
        _chromium = chromium;
    }

    [Fact]
    public async Task Table_TellsOfEachReplica_AndChangesInPlace()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var browser = await OpenAsync(stack);
        var page = browser.Page;

        await ShowAsync(page, Fleet(true,
            Replica("a/1", """[{"topic":"e","partition":0,"rows":0,"seconds":0,"since":1},{"topic":"e","partition":1,"rows":0,"seconds":0,"since":1},{"topic":"e","partition":2,"rows":0,"seconds":0,"since":1},{"topic":"e","partition":5,"rows":0,"seconds":0,"since":1},{"topic":"p","partition":10,"rows":0,"seconds":0,"since":1},{"topic":"p","partition":9,"rows":0,"seconds":0,"since":1}]"""),
            Replica("b/2", """[{"topic":"e","partition":3,"rows":41,"seconds":18,"since":1},{"topic":"e","partition":4,"rows":1200,"seconds":0.5,"since":1},{"topic":"e","partition":6,"rows":null,"seconds":null,"since":1}]""", ready: false, reasons: """["one","two"]""", revocation: """{"partitions":[{"topic":"e","partition":3},{"topic":"e","partition":4}],"since":1710000057000,"waits_for":"flush"}"""),
            Replica("c/3", "[]", seen: 1710000040000)));

        await RowsAsync(page,
            ["a/1 (this one)", "0.9.0", "Mar 9, 2024, 16:00:00", "Ready", "17.2", "e 0–2, 5; p 9, 10", "0 rows", "–"],
            ["b/2", "0.9.0", "Mar 9, 2024, 16:00:00", "Not ready: one; two", "17.2", "e 3, 4, 6", "1,241 rows · 18 s behind; e 4: 1,200 rows · 500 ms; e 3: 41 rows · 18 s", "e 3, 4: writing their rows, 3 s"],
            ["c/3", "0.9.0", "Mar 9, 2024, 16:00:00", "Last heard from 20 s ago", "17.2", "none", "–", "–"]);
        await Assertions.Expect(page.Locator("#fleet thead th")).ToHaveTextAsync(["Replica", "Version", "Running since", "State", "Rows/s", "Partitions", "Behind", "Releasing"]);
        await Assertions.Expect(page.Locator("[data-note]")).ToContainTextAsync("3 replicas.");
        await Assertions.Expect(page.Locator("#fleet tbody tr:first-child td").First).ToHaveAttributeAsync("title", "0.9.0+abc");
        await page.Locator("#fleet tbody tr").First.EvaluateAsync("row => row.kept = true");

        await ShowAsync(page, Fleet(false, Replica("a/1", """[{"topic":"e","partition":0,"rows":null,"seconds":null,"since":1}]""")));
        await RowsAsync(page, ["a/1 (this one)", "0.9.0", "Mar 9, 2024, 16:00:00", "Ready", "17.2", "e 0", "not known of 1 yet", "–"]);
        await Assertions.Expect(page.Locator("[data-note]")).ToHaveTextAsync("Not all replicas are shown: Redis, where they report, cannot be read.");
        Assert.True(await page.Locator("#fleet tbody tr").First.EvaluateAsync<bool>("row => row.kept"));
    }

    [Fact]
    public async Task Table_IsSortedByAnyColumn()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var browser = await OpenAsync(stack);
        var fleet = Fleet(
            true,
            Replica("b", """[{"topic":"e","partition":3,"rows":41,"seconds":18,"since":1},{"topic":"e","partition":4,"rows":null,"seconds":null,"since":1}]""", ready: false, reasons: """["z"]"""),
            Replica("a", """[{"topic":"e","partition":0,"rows":0,"seconds":0,"since":1},{"topic":"e","partition":1,"rows":0,"seconds":0,"since":1},{"topic":"e","partition":2,"rows":0,"seconds":0,"since":1}]""", rate: 1000),
            Replica("c", "[]", ready: false, reasons: """["y"]""", version: "0.10.0", started: 1710000000001, rate: 200),
            Replica("d", """[{"topic":"e","partition":5,"rows":0,"seconds":0,"since":1}]""", version: "0.8.0", started: 1709999999999, revocation: """{"partitions":[{"topic":"e","partition":3}],"since":1710000057000,"waits_for":"flush"}"""));
        foreach (var (sort, expected) in new[]
        {
            ("", "b a c d"),
            ("id", "a b c d"),
            ("-id", "d c b a"),
            ("-version", "c b a d"),
            ("started", "d b a c"),
            ("state", "c b a d"),
            ("-rows_per_second", "a c b d"),
            ("-partitions", "a b d c"),
            ("-behind", "b a c d"),
            ("behind", "a c d b"),
            ("-releasing", "d b a c"),
        })
        {
            await ShowAsync(browser.Page, fleet, sort);
            var order = string.Join(' ', await browser.Page.Locator("#fleet tbody th").AllInnerTextsAsync()).Replace(" (this one)", "", StringComparison.Ordinal);
            Assert.Equal((sort, expected), (sort, order));
            await Assertions.Expect(browser.Page.Locator("#fleet thead :is([aria-sort=ascending], [aria-sort=descending])")).ToHaveCountAsync(sort.Length == 0 ? 0 : 1);
        }
    }

    [Fact]
    public async Task Sort_IsInTheAddress()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        await browser.Page.Locator("#fleet thead").GetByRole(AriaRole.Button, new() { Name = "Behind", Exact = true }).ClickAsync();
        await Assertions.Expect(browser.Page.Locator("#fleet thead th").Nth(6)).ToHaveAttributeAsync("aria-sort", "descending");
        Assert.EndsWith("/?replicas=-behind", browser.Page.Url, StringComparison.Ordinal);
        await browser.Page.GotoAsync("/?replicas=id");
        await Assertions.Expect(browser.Page.Locator("#fleet thead th").First).ToHaveAttributeAsync("aria-sort", "ascending");
    }

    [Fact]
    public async Task WhatReplicasReport_IsShownAsText()
    {
        const string Hostile = "<img src=x onerror=alert(1)>";
        await using var stack = await InProcessStack.StartAsync();
        await using var browser = await OpenAsync(stack);

        await ShowAsync(browser.Page, Fleet(true, Replica(
            Hostile, $$"""[{"topic":"{{Hostile}}","partition":1,"rows":1,"seconds":1,"since":1}]""", ready: false, reasons: $"""["{Hostile}"]""",
            revocation: $$"""{"partitions":[{"topic":"{{Hostile}}","partition":1}],"since":1,"waits_for":"commit"}""", version: Hostile)));

        await browser.ContainsAsync("#fleet tbody", $"Not ready: {Hostile}");
        await browser.ContainsAsync("#fleet tbody", $"{Hostile} 1: committing, ");
        Assert.Equal(0, await browser.Page.Locator("#fleet img").CountAsync());
    }

    [Theory]
    [InlineData(1120)]
    [InlineData(360)]
    public async Task AThousandPartitions_FitThePage_WithoutAccessibilityViolation(int width)
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var browser = await OpenAsync(stack, width);
        var partitions = string.Join(',', Enumerable.Range(0, 1000).Select(number => $$"""{"topic":"event_metrics","partition":{{number}},"rows":{{number}},"seconds":1,"since":1}"""));

        await ShowAsync(browser.Page, Fleet(true, Replica("a/1", $"[{partitions}]"), Replica(new string('h', 60) + "/2", "[]")));

        await browser.ContainsAsync("#fleet tbody", "event_metrics 0–999");
        await browser.ContainsAsync("#fleet tbody", "and 993 more partitions");
        Assert.Equal(width, await browser.Page.EvaluateAsync<int>("Math.max(document.documentElement.scrollWidth, document.body.scrollWidth)"));
        var result = await browser.Page.RunAxe();
        Assert.Equal([], result.Violations.Select(violation => $"{violation.Id}: {violation.Help} {string.Join(' ', violation.Nodes.Select(node => node.Html))}"));
    }

    [Fact]
    public async Task AnswerOfTheService_IsShown()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await using var browser = await OpenAsync(stack);

        await Eventually.HoldsAsync(async () =>
        {
            await ShowAsync(browser.Page, (await stack.GetAsync("/fleet")).GetRawText());
            Assert.Contains("Ready", await browser.Page.InnerTextAsync("#fleet tbody"), StringComparison.Ordinal);
        });
        await browser.ContainsAsync("#fleet tbody", "event_metrics 0, 1; performance_metrics 0, 1");
    }

    private async Task<OpenPage> OpenAsync(InProcessStack stack, int width = 1120)
    {
        // Another page of the same origin, with the styles of the live page but not its program.
        var browser = await _chromium.OpenAsync(stack.Http.BaseAddress!, page => page.ViewportSize = new() { Width = width, Height = 780 });
        await browser.LoadAsync();
        await browser.Page.RouteAsync("**/page.js", route => route.FulfillAsync(new() { ContentType = "text/javascript", Body = "" }));
        await browser.Page.ReloadAsync();
        await browser.Page.EvaluateAsync(Section);
        return browser;
    }

    private static async Task ShowAsync(IPage page, string fleet, string sort = "") => await page.EvaluateAsync(Show, new { fleet, sort });

    private static async Task RowsAsync(IPage page, params string[][] rows)
    {
        await Assertions.Expect(page.Locator("#fleet tbody tr")).ToHaveCountAsync(rows.Length);
        for (var row = 0; row < rows.Length; row++)
        {
            await Assertions.Expect(page.Locator("#fleet tbody tr").Nth(row).Locator("th, td")).ToHaveTextAsync(rows[row]);
        }
    }

    private static string Fleet(bool complete, params string[] replicas) =>
        $$"""{"time":1710000060000,"self":"a/1","complete":{{(complete ? "true" : "false")}},"replicas":[{{string.Join(',', replicas)}}]}""";

    private static string Replica(
        string id, string partitions, bool ready = true, string reasons = "[]", string revocation = "null", long seen = 1710000060000, string version = "0.9.0+abc",
        long started = 1710000000000, double rate = 17.2) =>
        $$"""{"id":"{{id}}","version":"{{version}}","started":{{started}},"seen":{{seen}},"ready":{{(ready ? "true" : "false")}},"reasons":{{reasons}},"rows_per_second":{{rate}},"partitions":{{partitions}},"revocation":{{revocation}}}""";
}
