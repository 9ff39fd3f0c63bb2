using System.Collections.Concurrent;
using System.Diagnostics;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Page;

/// <summary>What the live page asks of the service: everything once, then nothing but the stream.</summary>
public sealed class FeedPageTests : IClassFixture<Chromium>
{
    private readonly Chromium _chromium;

    public FeedPageTests(Chromium chromium)
    {
        Chromium.Require();
        _chromium = chromium;
    }

    [Fact]
    public async Task Page_ReadsEverythingOnce_AndThenOnlyTheStream_AndNothingWhileItIsHidden()
    {
        await using var stack = await StartAsync();
        await using var browser = await _chromium.OpenAsync(stack.Http.BaseAddress!);
        var asked = browser.Asked();
        await browser.LoadAsync();
        await browser.ShowsAsync("event", "a", "2", "–");
        await browser.ContainsAsync("#rate", "/s");
        string[] once = ["/metrics/event/windows", "/metrics/performance/windows", "/stream", "/types"];
        Assert.Equal(once, asked.Select(request => request.Route).Order());

        // Updates and the state come with the stream.
        await SendAsync(stack, Event(Recent(0), "a", 3));
        await browser.ShowsAsync("event", "a", "3", "–");
        var before = await browser.Page.InnerTextAsync("#rate-note");
        await SendAsync(stack, Event(Recent(0), "a", 4));
        await Eventually.HoldsAsync(async () => Assert.NotEqual(before, await browser.Page.InnerTextAsync("#rate-note")));
        await Task.Delay(TimeSpan.FromSeconds(3));
        Assert.Equal(once, asked.Select(request => request.Route).Order());

        await browser.Page.EvaluateAsync("() => { Object.defineProperty(document, 'hidden', { value: true, configurable: true }); document.dispatchEvent(new Event('visibilitychange')); }");
        await Eventually.HoldsAsync(async () => Assert.Equal(0, (await stack.GetAsync("/pipeline")).GetProperty("stream_clients").GetInt32()));
        await SendAsync(stack, Event(Recent(0), "a", 5));
        await stack.EverythingIsCommittedAsync();
        await Task.Delay(TimeSpan.FromSeconds(3));
        Assert.Equal(once, asked.Select(request => request.Route).Order());

        await browser.Page.EvaluateAsync("() => { Object.defineProperty(document, 'hidden', { value: false }); document.dispatchEvent(new Event('visibilitychange')); }");
        await browser.ShowsAsync("event", "a", "5", "–");
        Assert.Equal(["/metrics/event/windows", "/metrics/performance/windows", "/stream"], asked.Skip(once.Length).Select(request => request.Route).Order());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Page_WithALowRateLimit_LoadsFully_AndIsRefusedLittle(int perSecond)
    {
        await using var stack = await StartAsync(("rate_limit_per_second", perSecond.ToString(System.Globalization.CultureInfo.InvariantCulture)));
        await using var browser = await _chromium.OpenAsync(stack.Http.BaseAddress!);
        var asked = browser.Expects("429").Asked();
        var since = Stopwatch.StartNew();
        await browser.LoadAsync();
        await browser.ShowsAsync("event", "a", "2", "–");
        await browser.StatesAsync("Live.");

        // And it stays so: the stream is open, and nothing is asked that would be refused.
        await Task.Delay(TimeSpan.FromSeconds(5));
        var refused = asked.Count(request => request.Status == 429);
        Assert.True(refused <= 6 && asked.Count <= 12, $"{refused} of {asked.Count} refused in {since.Elapsed}: {string.Join(' ', asked)}");
        await browser.StatesAsync("Live.");
    }

    [Fact]
    public async Task RefusedPage_AsksAgain_NotBeforeItMay()
    {
        await using var stack = await StartAsync();
        await using var browser = await _chromium.OpenAsync(stack.Http.BaseAddress!);
        browser.Expects("429");
        await browser.LoadAsync();
        await browser.ShowsAsync("event", "a", "2", "–");

        var asked = new ConcurrentQueue<TimeSpan>();
        var since = Stopwatch.StartNew();
        await browser.Page.RouteAsync("**/metrics/event/windows*", route =>
        {
            asked.Enqueue(since.Elapsed);
            return asked.Count > 1 ? route.ContinueAsync() : route.FulfillAsync(new()
            {
                Status = 429,
                Headers = [new("Retry-After", "6")],
                ContentType = "application/problem+json",
                Body = "{}",
            });
        });
        await browser.Page.ReloadAsync();
        await browser.ShowsAsync("event", "a", "2", "–");
        var times = asked.ToArray();
        Assert.Equal(2, times.Length);

        // A timer of the browser may be a few milliseconds early.
        Assert.InRange(times[1] - times[0], TimeSpan.FromSeconds(5.9), TimeSpan.FromMinutes(1));
    }

    [Fact]
    public async Task Resyncs_ThatKeepComing_AreNotFollowedByAsManyReads()
    {
        await using var stack = await StartAsync();
        await using var browser = await _chromium.OpenAsync(stack.Http.BaseAddress!);
        await browser.LoadAsync();
        await browser.ShowsAsync("event", "a", "2", "–");

        // A stream that resyncs ten times per second.
        await browser.Page.RouteAsync("**/stream*", route => route.FulfillAsync(new()
        {
            ContentType = "text/event-stream",
            Body = "retry: 100\nevent: resync\ndata: {\"reason\":\"gap\"}\n\n",
        }));
        var asked = browser.Asked();
        await browser.Page.ReloadAsync();
        await Eventually.HoldsAsync(() => Assert.True(asked.Count(request => request.Route == "/stream") >= 30));
        Assert.InRange(asked.Count(request => request.Route == "/metrics/event/windows"), 1, 5);
        await browser.ShowsAsync("event", "a", "2", "–");
    }

    [Fact]
    public async Task LongAnswers_AreCutBetweenTwoWindows()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await SendAsync(stack, [.. Enumerable.Range(0, 20).Select(minute => Event(Window(minute), "},{\\\"window_start\\\":1", minute))]);
        await stack.EverythingIsCommittedAsync();
        await using var browser = await (await _chromium.OpenAsync(stack.Http.BaseAddress!)).LoadAsync();

        foreach (var (most, least) in new[] { (100_000, 20), (1000, 8), (60, 0) })
        {
            var starts = await browser.Page.EvaluateAsync<long[]>(
                "async most => (await (await import('/http.js')).read('metrics/event/windows?limit=60', most)).windows.map(({ window_start }) => window_start)", most);
            Assert.InRange(starts.Length, least, 20);
            Assert.Equal(Enumerable.Range(20 - starts.Length, starts.Length).Reverse().Select(Window), starts);
        }
    }

    private static async Task<InProcessStack> StartAsync(params (string Key, string Value)[] settings)
    {
        var stack = await InProcessStack.StartAsync(null, settings);
        await stack.ReadyAsync();
        await SendAsync(stack, Event(Recent(-1), "a", 1), Event(Recent(0), "a", 2));
        await stack.EverythingIsCommittedAsync();
        return stack;
    }

    private static Task SendAsync(InProcessStack stack, params string[] values) => stack.Kafka.SendAsync(Events, 0, values);
}
