using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.RegularExpressions;
using Cache.Embedded;
using Cache.Producer.Simulator;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using Microsoft.Playwright;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Page;

/// <summary>The live page as users see it: in a browser, on a running stack.</summary>
public sealed class PageTests : IClassFixture<Chromium>
{
    /// <summary>What a browser says of a service that has stopped.</summary>
    internal static readonly string[] Gone = ["ERR_CONNECTION_REFUSED", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_EMPTY_RESPONSE"];

    private readonly Chromium _chromium;

    public PageTests(Chromium chromium)
    {
        Chromium.Require();
        _chromium = chromium;
    }

    [Fact]
    public async Task Page_OnTheEmbeddedStack_ShowsMovingNumbers_WithoutErrors()
    {
        await using var stack = await EmbeddedStack.StartAsync(StackOptions.Parse("--urls", "http://127.0.0.1:0"));
        await using var browser = await _chromium.OpenAsync(stack.ServiceUri);
        var page = (await browser.LoadAsync()).Page;

        await browser.StatesAsync("Live.");
        await browser.ContainsAsync("#rate", "/s");
        await MovesAsync(() => page.InnerTextAsync("#rate-note"));
        await MovesAsync(() => page.InnerTextAsync("[data-type=event] [data-total]"));
        await MovesAsync(() => page.InnerTextAsync("[data-type=performance] .legend tbody"));
        await MovesAsync(() => page.InnerTextAsync("[data-windows=event] tbody"));
        await MovesAsync(() => browser.PixelsAsync("event"));
        await MovesAsync(() => browser.PixelsAsync("performance"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Page_ContactsOnlyTheService_WithAndWithoutItsPolicy(bool withoutPolicy)
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, Event(Recent(-1), "a", 1), Event(Recent(0), "a", 1));
        await stack.EverythingIsCommittedAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!, page => page.BypassCSP = withoutPolicy)).Expects("127.0.0.2:9").LoadAsync();
        await browser.ShowsAsync("event", "a", "1", "–");
        await browser.StatesAsync("Live.");
        Assert.Empty(browser.TakeForeign());

        // Prove that the test would see a foreign request, however it is made.
        await browser.Page.EvaluateAsync(
            """
            () => {
              new Image().src = "http://127.0.0.2:9/image";
              fetch("http://127.0.0.2:9/fetch").catch(() => {});
              new WebSocket("ws://127.0.0.2:9/socket");
              document.head.append(Object.assign(document.createElement("script"), { src: "http://127.0.0.2:9/script" }));
            }
            """);
        var seen = new List<string>();
        await Eventually.HoldsAsync(() =>
        {
            seen.AddRange(browser.TakeForeign());
            Assert.All(["image", "fetch", "socket", "script"], way => Assert.Contains(seen, address => address.EndsWith(way, StringComparison.Ordinal)));
        });

        // What the policy stops is told twice, and the second time may come late: with another page everything of this one has been told.
        await browser.Page.GotoAsync("about:blank");
        seen.AddRange(browser.TakeForeign());
        Assert.Equal(!withoutPolicy, seen.Exists(address => address.StartsWith("blocked: ", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task PageToTryTheApi_HasItsRoutes_AndAsksNobodyButTheService()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync("/scalar/");

        await Assertions.Expect(browser.Page.GetByText("The newest event window").First).ToBeVisibleAsync();
        Assert.Empty(browser.TakeForeign());
    }

    [Fact]
    public async Task Page_ShowsEachMeasure_AsTheStreamSendsIt()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, Event(Window(1), "page_view", 12, 5), Event(Window(1), "click", 1234), Load(Window(1), "Mobile", 812.5, 1530.25));
        await stack.EverythingIsCommittedAsync();
        await using var browser = await OpenAsync(stack);

        await browser.ShowsAsync("event", "page_view", "12", "5");
        await browser.ShowsAsync("event", "click", "1,234", "–");
        await browser.ShowsAsync("performance", "Mobile", "812.5", "1,530.25");
        await browser.ContainsAsync("[data-type=event] [data-total]", "1,246");

        // A single measure, then a new window.
        await SendAsync(stack, Event(Window(1), "page_view", users: 6));
        await browser.ShowsAsync("event", "page_view", "12", "6");
        await SendAsync(stack, Event(Window(2), "page_view", 7, 3));
        await browser.ShowsAsync("event", "page_view", "7", "3");
        await browser.ContainsAsync("[data-windows=event] thead", "16:02:00");
        await browser.ContainsAsync("[data-type=event] [data-at]", "16:02:00");
    }

    [Fact]
    public async Task Page_WhenEmpty_ExplainsHowToSendARow_AndShowsIt()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var browser = await OpenAsync(stack);

        await browser.StatesAsync("waiting for the first row");
        await browser.ContainsAsync("#empty-simulator", $"Cache.Producer.Simulator -- --ConnectionStrings:kafka {stack.KafkaAddress}");
        await browser.ContainsAsync("#empty-kcat", $"kcat -P -b {stack.KafkaAddress} -t event_metrics");
        await Assertions.Expect(browser.Page.Locator("#charts")).ToBeHiddenAsync();

        // Send the row from the kcat line.
        var line = await browser.Page.InnerTextAsync("#empty-kcat");
        await SendAsync(stack, line.Split('\'')[1]);

        await browser.ShowsAsync("event", "page_view", "12", "5");
        await Assertions.Expect(browser.Page.Locator("#empty")).ToBeHiddenAsync();
    }

    [Fact]
    public async Task Page_WhenTheServiceRestarts_SaysSo_AndRecovers()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("urls", $"http://127.0.0.1:{FreePort()}"));
        await stack.StartServiceAsync();
        await SendAsync(stack, Event(Recent(-1), "a", 1), Event(Recent(0), "a", 1));
        await using var browser = await OpenAsync(stack);
        browser.Expects(Gone);
        await browser.ShowsAsync("event", "a", "1", "–");

        await stack.StopServiceAsync();
        await browser.StatesAsync("The service does not answer. Showing data from");
        await Assertions.Expect(browser.Page.Locator("main.stale")).ToBeVisibleAsync();
        Assert.Equal("Cache: no answer", await browser.Page.TitleAsync());
        await browser.ShowsAsync("event", "a", "1", "–");

        await stack.StartServiceAsync();
        await SendAsync(stack, Event(Recent(0), "a", 2));
        await browser.ShowsAsync("event", "a", "2", "–");
        await browser.StatesAsync("Live.");
        await Assertions.Expect(browser.Page.Locator("main.stale")).ToBeHiddenAsync();
    }

    [Fact]
    public async Task Page_WhenRedisIsDown_SaysSo_AndRecovers()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, Event(Recent(-1), "a", 1), Event(Recent(0), "a", 1));
        await using var browser = await OpenAsync(stack);
        browser.Expects("503");
        await browser.ShowsAsync("event", "a", "1", "–");

        stack.OwnRedis.Break();
        await browser.StatesAsync("Redis does not answer. Showing data from ");
        Assert.Matches(@"Showing data from \d\d:\d\d:\d\d\.$", await browser.Page.InnerTextAsync("#state-text"));
        Assert.Equal("Cache: Redis down", await browser.Page.TitleAsync());
        await Assertions.Expect(browser.Page.Locator("main.stale")).ToBeVisibleAsync();
        await browser.ShowsAsync("event", "a", "1", "–");

        stack.OwnRedis.Mend();
        await SendAsync(stack, Event(Recent(0), "a", 2));
        await browser.ShowsAsync("event", "a", "2", "–");
        await browser.StatesAsync("Live.");
    }

    [Fact]
    public async Task Page_WhenNotReady_SaysWhy()
    {
        // Long enough for the partitions to outlast the outage: a short session would expire at about the time that the ends do.
        await using var stack = await InProcessStack.StartAsync(null, ("Kafka:session.timeout.ms", "15000"));
        await using var browser = await OpenAsync(stack);
        await browser.StatesAsync("Ready");

        stack.Broker.BreakAllBrokers();
        await browser.StatesAsync("Not ready: Kafka does not report the ends of the partitions");

        stack.Broker.MendAllBrokers();
        await browser.StatesAsync("Ready");
    }

    [Fact]
    public async Task Page_NotReadyFromTheStart_SaysWhatItWaitsFor_AndExplainsHowToSendARowOnlyOnceItWouldArrive()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        stack.Broker.BreakAllBrokers();
        stack.OwnRedis.Break();
        await stack.StartServiceAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!, Phone)).Expects("503").LoadAsync();

        // Nothing has been read yet: no empty charts, and no data that could be old.
        await browser.StatesAsync($"Not ready: no partitions assigned: Kafka at {stack.KafkaAddress} does not answer yet: ");
        await browser.StatesAsync("Connection refused");
        await browser.StatesAsync("; Redis does not answer.");
        await Assertions.Expect(browser.Page.Locator("#charts, #tables, #empty").And(browser.Page.Locator(":visible"))).ToHaveCountAsync(0);
        Assert.DoesNotContain("Showing data", await browser.Page.InnerTextAsync("#state"));
        await browser.ContainsAsync("#lag-note", "no partitions");
        await browser.ContainsAsync("#state-advice", "Check that Redis runs and that the service can reach it. Check the brokers at ");
        await browser.AssertFitsAsync();

        stack.OwnRedis.Mend();
        await browser.ContainsAsync("#empty-wait", "once the service is ready");
        await Assertions.Expect(browser.Page.Locator("#empty-wait")).ToBeVisibleAsync();
        await Assertions.Expect(browser.Page.Locator("#empty-kcat")).ToBeHiddenAsync();

        stack.Broker.MendAllBrokers();
        await browser.StatesAsync("Ready, waiting");
        await Assertions.Expect(browser.Page.Locator("#empty-kcat")).ToBeVisibleAsync();
        await Assertions.Expect(browser.Page.Locator("#empty-wait")).ToBeHiddenAsync();
    }

    [Fact]
    public async Task Page_WithoutTheStream_ShowsTheData_AndSaysThatItIsInterrupted()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await SendAsync(stack, Event(Recent(-1), "a", 1), Event(Recent(0), "a", 1));
        await stack.EverythingIsCommittedAsync();
        await using var browser = await _chromium.OpenAsync(stack.Http.BaseAddress!);
        await browser.Expects("502").LoadAsync();
        await browser.Page.RouteAsync("**/stream*", route => route.FulfillAsync(new() { Status = 502 }));
        await browser.Page.ReloadAsync();
        await browser.StatesAsync("The stream is interrupted");
        await browser.ShowsAsync("event", "a", "1", "–");
        await Assertions.Expect(browser.Page.Locator("main.stale")).ToBeVisibleAsync();

        await browser.Page.UnrouteAllAsync();
        await browser.StatesAsync("Live.");
    }

    [Fact]
    public async Task Page_WithKeysConfigured_AsksForOne_SaysThatAnotherIsWrong_AndContinuesWithIt()
    {
        const string Key = "0123456789abcdef+&";
        await using var stack = await InProcessStack.StartAsync(null, ("api_keys", Key));
        await stack.ReadyAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).Expects("401").LoadAsync();
        var page = browser.Page;
        var field = page.GetByLabel("Key", new() { Exact = true });
        var proceed = page.GetByRole(AriaRole.Button, new() { Name = "Continue" });

        await browser.StatesAsync("The service requires an API key");
        await Assertions.Expect(page.Locator("#charts")).ToBeHiddenAsync();
        await browser.AssertAccessibleAsync();

        // A wrong one is said to be wrong, and can be corrected. A second click while it is checked does nothing.
        await field.FillAsync("a wrong one");
        Assert.True(await proceed.EvaluateAsync<bool>("button => (button.click(), button.disabled)"));
        await browser.StatesAsync("This key was not accepted.");
        await Assertions.Expect(page.GetByRole(AriaRole.Alert)).ToHaveTextAsync("This key was not accepted.");
        await Assertions.Expect(field).ToHaveValueAsync("a wrong one");
        await browser.AssertAccessibleAsync();
        await browser.PictureAsync("wrong-key");

        await field.FillAsync(Key);
        await proceed.ClickAsync();
        await browser.StatesAsync("Ready, waiting");
        await SendAsync(stack, Event(Window(1), "a", 1));
        await browser.ShowsAsync("event", "a", "1", "–");

        // The tab keeps the key, and the wrong one was never kept.
        await page.ReloadAsync();
        await browser.ShowsAsync("event", "a", "1", "–");
        Assert.DoesNotContain(Key, stack.Log);
    }

    [Fact]
    public async Task Page_ShowsSessions_IfTheyAreOn()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("cache_kafka_topics", $"{Events},{Performance},{Sessions}"));
        stack.Broker.CreateTopic(Sessions, partitions: 1);
        await stack.StartServiceAsync();
        await using var browser = await OpenAsync(stack);
        await browser.StatesAsync("Ready");
        await browser.ContainsAsync("#sessions tbody", "No active sessions");

        var now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        await stack.Kafka.SendAsync(Sessions, 0, Session("<b>s-1</b>", now, "user-7", "Mobile"));
        await browser.ContainsAsync("#sessions tbody tr", "<b>s-1</b>user-7Mobile––");
        await stack.Kafka.SendAsync(Sessions, 0, Session("s-2", now + 1, "user-8"));
        await browser.ContainsAsync("#sessions tbody", "s-2user-8–");

        // The latest first, unless the address says otherwise.
        var first = browser.Page.Locator("#sessions tbody th").First;
        await Assertions.Expect(first).ToHaveTextAsync("s-2");
        await browser.Page.Locator("#sessions thead").GetByRole(AriaRole.Button, new() { Name = "User" }).ClickAsync();
        await Assertions.Expect(first).ToHaveTextAsync("<b>s-1</b>");
        Assert.EndsWith("/?sessions=user_id", browser.Page.Url, StringComparison.Ordinal);
        await browser.Page.GotoAsync("/?sessions=-user_id");
        await Assertions.Expect(first).ToHaveTextAsync("s-2");
        await browser.Page.GotoAsync("/?sessions=session_id");
        await Assertions.Expect(first).ToHaveTextAsync("<b>s-1</b>");
    }

    [Fact]
    public async Task HostileDimensions_AreShownAsText()
    {
        string[] hostile =
        [
            "<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "\"'><svg onload=alert(3)>", "{{constructor.constructor('alert(4)')()}}",
            "__proto__", "a.b.count", "javascript:alert(5)",
        ];
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, [.. hostile.Select((name, i) => Event(Window(1), name.Replace("\"", "\\\"", StringComparison.Ordinal), i + 1, i))]);
        await SendAsync(stack, [.. hostile.Select((name, i) => Load(Window(1), name.Replace("\"", "\\\"", StringComparison.Ordinal), i, i + 1))]);
        await using var browser = await OpenAsync(stack);

        for (var i = 0; i < hostile.Length; i++)
        {
            await browser.ShowsAsync("event", hostile[i], Text(i + 1), Text(i));
            await browser.ShowsAsync("performance", hostile[i], Text(i), Text(i + 1));
            await browser.ContainsAsync("[data-windows=event] tbody >> nth=0", hostile[i]);
        }

        Assert.Equal(0, await browser.Page.Locator("main img, main svg, main script").CountAsync());
    }

    [Fact]
    public async Task ThousandDimensions_StayReadable_AndCanBeFound()
    {
        await using var stack = await InProcessStack.StartAsync();
        for (var minute = 0; minute < 10; minute++)
        {
            await SendAsync(stack, [.. Enumerable.Range(0, 1000).Select(i => Event(Window(minute), $"type {i:D4}", i == 500 ? 100_000 : i, i))]);
        }

        await stack.EverythingIsCommittedAsync();
        await using var browser = await OpenAsync(stack);
        var page = browser.Page;
        await browser.ShowsAsync("event", "type 0500", "100,000", "500");
        await browser.ContainsAsync("[data-type=event] .legend", "993 others");
        Assert.Equal(8, await page.Locator("[data-type=event] .legend tbody tr").CountAsync());

        await page.GetByText("All 1,000 types").ClickAsync();
        await browser.ContainsAsync("[data-type=event] [data-more]", "800 more");
        await page.Locator("[data-type=event] input").FillAsync("TYPE 0777");
        var found = page.Locator("[data-type=event] .legend tbody tr");
        await Assertions.Expect(found).ToHaveTextAsync(["type 0777777777"]);

        await SendAsync(stack, Event(Window(9), "type 0777", 5, 6));
        await Assertions.Expect(found).ToHaveTextAsync(["type 077756"]);
    }

    [Fact]
    public async Task Charts_CanBeOperatedByKeyboard()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, [.. Enumerable.Range(0, 5).Select(minute => Event(Window(minute), "a", minute + 1))]);
        await stack.EverythingIsCommittedAsync();
        await using var browser = await OpenAsync(stack);
        await browser.ShowsAsync("event", "a", "5", "–");
        var chart = browser.Page.GetByRole(AriaRole.Slider, new() { Name = "Window of the events chart" });

        await chart.FocusAsync();
        await chart.PressAsync("ArrowLeft");
        await browser.ShowsAsync("event", "a", "4", "–");
        await chart.PressAsync("ArrowLeft");
        await browser.ShowsAsync("event", "a", "3", "–");
        await Assertions.Expect(chart).ToHaveAttributeAsync("aria-valuetext", "Mar 9, 2024, 16:02:00, pinned, 3 events");

        await chart.PressAsync("Home");
        await browser.ShowsAsync("event", "a", "1", "–");
        await chart.PressAsync("End");
        await browser.ShowsAsync("event", "a", "5", "–");
    }

    [Theory]
    [InlineData(ColorScheme.Light)]
    [InlineData(ColorScheme.Dark)]
    public async Task Page_HasNoAccessibilityViolation(ColorScheme scheme)
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!, page => page.ColorScheme = scheme)).Expects("503").LoadAsync();

        await browser.StatesAsync("waiting for the first row");
        await browser.AssertAccessibleAsync();

        await SendAsync(stack, [.. Enumerable.Range(0, 20).Select(i => Event(Window(1), $"type {i}", i, i)), "no row"]);
        await SendAsync(stack, Load(Window(1), "tv", 1, 2));
        await browser.ContainsAsync("#letters", "1");
        await browser.Page.GetByText("All 20 types").ClickAsync();
        await browser.ContainsAsync("[data-type=event] .all tbody", "type 19");
        await browser.AssertAccessibleAsync();

        stack.OwnRedis.Break();
        await browser.StatesAsync("Redis does not answer");
        await browser.AssertAccessibleAsync();

        stack.OwnRedis.Mend();
        stack.Broker.BreakAllBrokers();
        await browser.StatesAsync("Not ready");
        await browser.AssertAccessibleAsync();
    }

    [Fact]
    public async Task Page_OnAPhone_NeedsNoSidewaysScrolling()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!, Phone)).LoadAsync();
        await browser.StatesAsync("waiting for the first row");
        await browser.AssertFitsAsync();

        await SendAsync(stack, [.. Enumerable.Range(0, 7).Select(i => Event(Window(i), $"{new string('x', 100)}{i}", 999_999, 999_999))]);
        await SendAsync(stack, [.. Enumerable.Range(0, 7).Select(i => Load(Window(i), $"{new string('W', 100)}{i}", 12_345, 23_456))]);
        await browser.ShowsAsync("event", $"{new string('x', 100)}6", "999,999", "999,999");
        await browser.ShowsAsync("performance", $"{new string('W', 100)}6", "12,345", "23,456");
        await browser.AssertFitsAsync();
    }

    /// <summary>
    /// Takes the README's pictures, of a stack that has run for five minutes. They are saved to <c>CACHE_SCREENSHOTS</c>, so that
    /// the committed ones change only on request.
    /// </summary>
    [Fact]
    public async Task Pictures_AreTakenAndSmall()
    {
        var folder = Directory.CreateDirectory(
            Environment.GetEnvironmentVariable("CACHE_SCREENSHOTS") ?? Directory.CreateTempSubdirectory("cache-screenshots-").FullName);
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        var start = DateTimeOffset.UtcNow.AddMinutes(-5);
        using var rows = new RowGenerator(new SimulatorOptions { Start = start }, 7, start).Rows().GetEnumerator();
        await stack.Kafka.SendAsync(Enumerable.Range(0, 20 * 5 * 60).Select(_ => Next(rows)));
        await stack.EverythingIsCommittedAsync();
        await using var live = Meanwhile.Start(async stop =>
        {
            while (!stop.IsCancellationRequested)
            {
                await stack.Kafka.SendAsync([Next(rows)]);
                await Task.Delay(50, CancellationToken.None);
            }
        });
        (string Name, Action<BrowserNewContextOptions> Change)[] pictures =
        [
            ("page-light.png", page => (page.ColorScheme, page.ViewportSize) = (ColorScheme.Light, new() { Width = 1120, Height = 860 })),
            ("page-dark.png", page => (page.ColorScheme, page.ViewportSize) = (ColorScheme.Dark, new() { Width = 1120, Height = 860 })),
            ("page-phone.png", Phone),
        ];
        foreach (var (name, change) in pictures)
        {
            await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!, change)).LoadAsync();
            await browser.StatesAsync("Live.");
            await Assertions.Expect(browser.Page.Locator("#rate")).Not.ToHaveTextAsync(new Regex("^(–|0 /s)$"));
            var file = new FileInfo(Path.Combine(folder.FullName, name));
            await browser.Page.ScreenshotAsync(new() { Path = file.FullName });
            Assert.InRange(file.Length, 10_000, 200_000);
        }

        await live.StopAsync();

        static (TopicPartition To, Message<byte[]?, byte[]?> Message) Next(IEnumerator<Row> rows)
        {
            rows.MoveNext();
            return (new(rows.Current.Topic, 0), new() { Value = rows.Current.Value });
        }
    }

    private static void Phone(BrowserNewContextOptions page)
    {
        page.ViewportSize = new() { Width = 360, Height = 780 };
        page.IsMobile = true;
        page.HasTouch = true;
    }

    private async Task<OpenPage> OpenAsync(RunningStack stack)
    {
        await stack.ReadyAsync();
        return await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();
    }

    /// <summary>Sends rows to the topic that each belongs to.</summary>
    private static async Task SendAsync(RunningStack stack, params string[] values)
    {
        foreach (var topic in values.GroupBy(value => value.Contains("load_time", StringComparison.Ordinal) ? Performance : Events))
        {
            await stack.Kafka.SendAsync(topic.Key, 0, topic);
        }
    }

    private static async Task MovesAsync(Func<Task<string>> look)
    {
        var before = await look();
        await Eventually.HoldsAsync(async () => Assert.NotEqual(before, await look()));
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    /// <summary>A port that no outgoing connection uses while the service is stopped (Linux assigns those from 32768 up).</summary>
    private static int FreePort()
    {
        while (true)
        {
            var port = Random.Shared.Next(20_000, 32_768);
            try
            {
                using var listener = new TcpListener(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException)
            {
                // Taken.
            }
        }
    }
}
