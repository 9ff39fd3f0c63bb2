using System.Text.RegularExpressions;
using Cache.Service.Model;
using Cache.Tests.EndToEnd;
using Deque.AxeCore.Playwright;
using Microsoft.Playwright;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Page;

/// <summary>The section of dead letters, put into the page as its comment says.</summary>
public sealed partial class LettersPageTests : IClassFixture<Chromium>
{
    private const string Key = "0123456789abcdef";

    // Counts what it reads, in window.reads.
    private const string Mount =
        """
        async () => {
          const { Letters } = await import("/letters.js");
          const details = document.createElement("details");
          details.id = "dead-letters-under-test";
          details.className = "card";
          document.getElementById("main").append(details);
          window.reads = [];
          const key = () => sessionStorage.getItem("cache.api_key");
          const read = async (route) => {
            window.reads.push(route);
            const answer = await fetch(route, { headers: key() ? { "X-Api-Key": key() } : {} });
            if (!answer.ok) {
              throw Object.assign(new Error(route), { status: answer.status });
            }

            return await answer.json();
          };
          new Letters(details, { read, key, kafka: () => "broker:9092" });
        }
        """;

    private readonly Chromium _chromium;

    public LettersPageTests(Chromium chromium)
    {
        Chromium.Require();
        _chromium = chromium;
    }

    [Fact]
    public async Task Letters_AreShown_OnceTheSectionIsOpened_WithWhatTheyMean_AndAsText()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 1,
        [
            Message("<img src=x onerror=alert(1)>\u0000\ufeff\u202e\r\nnext\\n", "k\u200b"), Message("""{"window_start":1710000000000,"event_type":"a","event_count":-1}"""),
            new() { Value = [0x41, 0xC3, 0x28] },
        ]);
        await stack.EverythingIsCommittedAsync(Events);
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        var page = browser.Page;
        await page.EvaluateAsync(Mount);
        var section = page.Locator("#dead-letters-under-test");

        await Task.Delay(300, TestContext.Current.CancellationToken);
        Assert.Equal(0, await page.EvaluateAsync<int>("reads.length"));
        await section.Locator("summary").ClickAsync();

        await Assertions.Expect(section.Locator("li")).ToHaveCountAsync(3);
        await Assertions.Expect(section.Locator("li .bytes")).ToHaveTextAsync(["A\\xC3(", """{"window_start":1710000000000,"event_type":"a","event_count":-1}""", "<img src=x onerror=alert(1)>\\u0000\\ufeff\\u202e\\r\\n\nnext\\n"]);
        await Assertions.Expect(section.Locator("li").Nth(2).Locator("mark")).ToHaveTextAsync(["\\u200b", "\\u0000", "\\ufeff", "\\u202e", "\\r", "\\n"]);
        await Assertions.Expect(section.Locator("li").Nth(1)).ToContainTextAsync("bad_measure A measure is not a number, is negative");
        await Assertions.Expect(section.Locator("li").Nth(1).Locator(".where")).ToContainTextAsync("event_metrics, partition 1, offset 1");
        await Assertions.Expect(section.Locator("[role=status]")).ToHaveTextAsync("3 rows.");
        await Assertions.Expect(section).ToContainTextAsync("--ConnectionStrings:kafka broker:9092 --file cache_dead_letters.ndjson");
        Assert.Equal(0, await section.Locator("img").CountAsync());

        var axe = await page.RunAxe(new Deque.AxeCore.Commons.AxeRunContext { Include = [new Deque.AxeCore.Commons.AxeSelector("#dead-letters-under-test")] });
        Assert.Empty(axe.Violations.Select(violation => $"{violation.Id}: {violation.Help}"));
    }

    [Fact]
    public async Task TileOfTheDeadLetters_LeadsToThem()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(DateTimeOffset.UtcNow.ToUnixTimeMilliseconds(), "a", 1), "bad");
        await stack.EverythingIsCommittedAsync(Events);
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        await browser.ShowsAsync("event", "a", "1", "–");
        await browser.ContainsAsync("#letters-note", "1 not_json");

        // The link covers the tile.
        await browser.Page.Locator("#letters").ClickAsync(new() { Force = true });
        await browser.ContainsAsync("#dead-letters li", "The value is not JSON");
        Assert.True(await browser.Page.Locator("#dead-letters summary").EvaluateAsync<bool>("summary => document.activeElement === summary"));
        Assert.Equal("/", new Uri(browser.Page.Url).PathAndQuery);
    }

    [Fact]
    public async Task Reason_Filters_AndFile_HasTheLines()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("api_keys", Key));
        await stack.Kafka.SendAsync(Events, 0, "bad", "[]", "bad 2");
        await stack.EverythingIsCommittedAsync(Events);
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).Expects("401").LoadAsync();
        var page = browser.Page;
        await page.EvaluateAsync($"sessionStorage.setItem('cache.api_key', '{Key}')");
        await page.ReloadAsync();
        await page.EvaluateAsync(Mount);
        var section = page.Locator("#dead-letters-under-test");
        await section.Locator("summary").ClickAsync();
        await Assertions.Expect(section.Locator("li")).ToHaveCountAsync(3);

        await section.GetByLabel("Reason").SelectOptionAsync("not_an_object");
        await Assertions.Expect(section.Locator("li .bytes")).ToHaveTextAsync(["[]"]);
        await section.GetByLabel("Reason").SelectOptionAsync("bad_avro");
        await Assertions.Expect(section.Locator("[role=status]")).ToHaveTextAsync("No row was rejected because of bad_avro, as far as dead letters are kept.");
        await section.GetByLabel("Reason").SelectOptionAsync("not_json");
        await Assertions.Expect(section.Locator("li")).ToHaveCountAsync(2);

        var saved = await page.RunAndWaitForDownloadAsync(() => section.GetByRole(AriaRole.Button, new() { Name = "Save as NDJSON" }).ClickAsync());
        Assert.Equal("cache_dead_letters.ndjson", saved.SuggestedFilename);
        var lines = (await File.ReadAllTextAsync(await saved.PathAsync())).TrimEnd('\n').Split('\n');
        Assert.Equal(["bad", "bad 2"], lines.Select(line => System.Text.Json.JsonElement.Parse(line).GetProperty("value").GetString()));
        await Assertions.Expect(section.Locator("[role=status]")).ToHaveTextAsync("Saved cache_dead_letters.ndjson: 2 rows.");
    }

    [Fact]
    public async Task Section_IsNotRead_WhileItIsClosedOrThePageIsHidden()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        var page = browser.Page;
        await page.Clock.InstallAsync();
        await page.EvaluateAsync(Mount);
        var section = page.Locator("#dead-letters-under-test");
        await section.Locator("summary").ClickAsync();
        await Assertions.Expect(section.Locator("[role=status]")).ToContainTextAsync("No row was rejected");
        await Eventually.HoldsAsync(async () =>
        {
            await page.Clock.RunForAsync(11_000);
            Assert.True(await page.EvaluateAsync<int>("reads.length") >= 3);
        });

        await page.EvaluateAsync("Object.defineProperty(document, 'hidden', { get: () => window.isHidden, configurable: true }); window.isHidden = true; document.dispatchEvent(new Event('visibilitychange'))");
        var reads = await page.EvaluateAsync<int>("reads.length");
        await page.Clock.RunForAsync(60_000);
        Assert.Equal(reads, await page.EvaluateAsync<int>("reads.length"));
        await page.EvaluateAsync("window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))");
        Assert.Equal(reads + 1, await page.EvaluateAsync<int>("reads.length"));

        await section.Locator("summary").ClickAsync();
        await Assertions.Expect(section).Not.ToHaveAttributeAsync("open", "");
        reads = await page.EvaluateAsync<int>("reads.length");
        await page.Clock.RunForAsync(60_000);
        Assert.Equal(reads, await page.EvaluateAsync<int>("reads.length"));
    }

    [Fact]
    public async Task WhatIsSelected_StaysAsItIs()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, "bad");
        await stack.EverythingIsCommittedAsync(Events);
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
        var page = browser.Page;
        await page.EvaluateAsync(Mount);
        var section = page.Locator("#dead-letters-under-test");
        await section.Locator("summary").ClickAsync();
        await Assertions.Expect(section.Locator("li")).ToHaveCountAsync(1);
        await section.Locator("li .bytes").EvaluateAsync("bytes => getSelection().selectAllChildren(bytes)");
        await stack.Kafka.SendAsync(Events, 0, "bad 2");
        await stack.EverythingIsCommittedAsync(Events);

        // A click of the mouse would end the selection; and an answer is kept for a moment.
        await Eventually.HoldsAsync(async () =>
        {
            await section.GetByRole(AriaRole.Button, new() { Name = "Refresh" }).EvaluateAsync("button => button.click()");
            Assert.Equal("2 rows.", await section.Locator("[role=status]").TextContentAsync());
        });
        Assert.Equal("bad", await page.EvaluateAsync<string>("getSelection().toString().trim()"));
        await Assertions.Expect(section.Locator("li")).ToHaveCountAsync(1);

        await page.EvaluateAsync("getSelection().removeAllRanges()");
        await section.GetByRole(AriaRole.Button, new() { Name = "Refresh" }).ClickAsync();
        await Assertions.Expect(section.Locator("li")).ToHaveCountAsync(2);
    }

    [Fact]
    public async Task WithoutADeadLetterTopic_SaysSo()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("cache_dead_letter_topic", ""));
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).Expects("404").LoadAsync();
        await browser.Page.EvaluateAsync(Mount);
        var section = browser.Page.Locator("#dead-letters-under-test");

        await section.Locator("summary").ClickAsync();

        await Assertions.Expect(section.Locator("[role=status]")).ToContainTextAsync("cache_dead_letter_topic is empty");
        await section.GetByRole(AriaRole.Button, new() { Name = "Save as NDJSON" }).ClickAsync();
        await Assertions.Expect(section.Locator("[role=status]")).ToContainTextAsync("Nothing was saved.");
    }

    [Fact]
    public void EveryReason_IsExplained_AndNoOther()
    {
        var script = File.ReadAllText(Repository.File("Cache.Service", "Page", "letters.js"));
        var reasons = script[script.IndexOf("export const REASONS", StringComparison.Ordinal)..];

        Assert.Equal(
            Enum.GetValues<RejectReason>().Where(reason => reason != RejectReason.None).Select(reason => reason.Name()).Order(StringComparer.Ordinal),
            Explained().Matches(reasons[..reasons.IndexOf("};", StringComparison.Ordinal)]).Select(match => match.Groups[1].Value).Order(StringComparer.Ordinal));
    }

    [GeneratedRegex(@"^  (\w+): "".+\."",$", RegexOptions.Multiline)]
    private static partial Regex Explained();
}
