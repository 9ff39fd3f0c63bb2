using System.Collections.Concurrent;
using Microsoft.Playwright;

namespace Cache.Tests.Page;

/// <summary>An installed Chromium, driven by Playwright; started by the first test that opens a page.</summary>
public sealed class Chromium : IAsyncDisposable
{
    private IPlaywright? _playwright;
    private IBrowser? _browser;

    /// <summary>Skips the test where chromium is not installed; gives its path.</summary>
    public static string Require() => Requirement.Program("chromium", "chromium");

    /// <summary>Opens a page of its own, with nothing stored. The test has asked for chromium before (<see cref="Require"/>).</summary>
    /// <param name="address">The service.</param>
    /// <param name="change">Changes what the page is opened with.</param>
    internal async Task<OpenPage> OpenAsync(Uri address, Action<BrowserNewContextOptions>? change = null)
    {
        return new(await NewContextAsync(address, change), address);
    }

    /// <summary>A window of its own, for pages that are not the service's.</summary>
    /// <param name="address">What routes are relative to.</param>
    /// <param name="change">Changes what pages are opened with.</param>
    internal async Task<IBrowserContext> NewContextAsync(Uri address, Action<BrowserNewContextOptions>? change = null)
    {
        var program = Require();
        if (_browser is null)
        {
            ChildProcess.InheritNothing();
            _playwright = await Playwright.CreateAsync();
            _browser = await _playwright.Chromium.LaunchAsync(new()
            {
                ExecutablePath = program,
                Args =
                [
                    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                    "--disable-component-update", "--disable-sync",
                ],
            });
        }

        var options = new BrowserNewContextOptions { BaseURL = address.ToString(), Locale = "en-US", TimezoneId = "UTC" };
        change?.Invoke(options);
        return await _browser.NewContextAsync(options);
    }

    public async ValueTask DisposeAsync()
    {
        if (_browser is not null)
        {
            await _browser.DisposeAsync();
        }

        _playwright?.Dispose();
    }
}

/// <summary>The live page in a browser.</summary>
internal sealed class OpenPage : IAsyncDisposable
{
    /// <summary>Generous: a passing test never waits for it.</summary>
    private const float TestTimeout = 40_000;

    private readonly IBrowserContext _context;
    private readonly ConcurrentQueue<string> _foreign = [];
    private readonly ConcurrentQueue<string> _complaints = [];

    public OpenPage(IBrowserContext context, Uri address)
    {
        _context = context;
        context.SetDefaultTimeout(TestTimeout);
        context.Request += (_, request) => Note(_foreign, request.Url, !request.Url.StartsWith(address.ToString(), StringComparison.Ordinal) && !request.Url.StartsWith("data:", StringComparison.Ordinal));
        context.Page += (_, page) => page.WebSocket += (_, socket) => Note(_foreign, socket.Url, true);
        context.Console += (_, message) => Note(_complaints, message.Text, message.Type is "error" or "warning");
        context.WebError += (_, error) => Note(_complaints, error.Error, true);
        context.Dialog += (_, dialog) => Note(_complaints, $"dialog {dialog.Message}", true);
    }

    public IPage Page { get; private set; } = null!;

    /// <summary>What the page or the browser complained about: errors, refused loads, dialogs.</summary>
    public IReadOnlyCollection<string> Complaints => _complaints;

    public async Task<OpenPage> LoadAsync(string route = "/")
    {
        // Some of what the page's own policy stops is no request yet: the browser tells of it only in the page.
        await _context.ExposeFunctionAsync("noteBlocked", (string address) => Note(_foreign, $"blocked: {address}", address.Contains(':', StringComparison.Ordinal)));
        await _context.AddInitScriptAsync("addEventListener('securitypolicyviolation', event => noteBlocked(event.blockedURI))");
        Page = await _context.NewPageAsync();
        await Page.GotoAsync(route);
        return this;
    }

    /// <summary>What was asked of anybody but the service, whether it got through or the page's policy stopped it; from now on forgotten.</summary>
    public IReadOnlyList<string> TakeForeign()
    {
        var taken = new List<string>();
        while (_foreign.TryDequeue(out var address))
        {
            taken.Add(address);
        }

        return taken;
    }

    /// <summary>Waits until the state's sentence contains a text.</summary>
    public Task StatesAsync(string text) => ContainsAsync("#state-text", text);

    /// <summary>Waits until an element's text contains a text.</summary>
    public Task ContainsAsync(string selector, string text) =>
        Assertions.Expect(Page.Locator(selector)).ToContainTextAsync(text, new() { Timeout = TestTimeout });

    /// <summary>Waits until a dimension stands in a card's legend with these numbers.</summary>
    public Task ShowsAsync(string type, string dimension, params string[] numbers) =>
        Assertions.Expect(Row(type, dimension)).ToHaveTextAsync(dimension + string.Concat(numbers), new() { Timeout = TestTimeout });

    public ILocator Row(string type, string dimension) =>
        Page.Locator($"[data-type={type}] .legend tbody tr", new() { Has = Page.GetByText(dimension, new() { Exact = true }) });

    /// <summary>What a chart has drawn.</summary>
    public Task<string> PixelsAsync(string type) =>
        Page.Locator($"[data-type={type}] canvas").First.EvaluateAsync<string>("canvas => canvas.toDataURL()");

    public async ValueTask DisposeAsync()
    {
        await _context.DisposeAsync();
        Assert.Empty(TakeForeign());
    }

    private static void Note(ConcurrentQueue<string> list, string text, bool isWorthIt)
    {
        if (isWorthIt)
        {
            list.Enqueue(text);
        }
    }
}
