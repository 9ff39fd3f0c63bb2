using System.Collections.Concurrent;
using Microsoft.Playwright;

namespace Cache.Tests.Page;

/// <summary>An installed Chromium, driven by Playwright; started by the first test that opens a page.</summary>
public sealed class Chromium : IAsyncDisposable
{
    private IPlaywright? _playwright;
    private IBrowser? _browser;

    /// <summary>Returns the path of chromium; skips the test if it is not installed.</summary>
    public static string Require() => Requirement.Program("chromium", "chromium");

    /// <summary>Opens a separate page with empty storage. The test has to call <see cref="Require"/> first.</summary>
    /// <param name="address">The service.</param>
    /// <param name="change">Changes the page's options.</param>
    internal async Task<OpenPage> OpenAsync(Uri address, Action<BrowserNewContextOptions>? change = null)
    {
        return new(await NewContextAsync(address, change), address);
    }

    /// <summary>Creates a separate browser context, for pages other than the service's.</summary>
    /// <param name="address">The base address of routes.</param>
    /// <param name="change">Changes the options of pages.</param>
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

    /// <summary>Complaints of the page or the browser: errors, refused loads, dialogs.</summary>
    public IReadOnlyCollection<string> Complaints => _complaints;

    public async Task<OpenPage> LoadAsync(string route = "/")
    {
        // Some loads are blocked by the page's own policy before they become requests: only an event in the page reports them.
        await _context.ExposeFunctionAsync("noteBlocked", (string address) => Note(_foreign, $"blocked: {address}", address.Contains(':', StringComparison.Ordinal)));
        await _context.AddInitScriptAsync("addEventListener('securitypolicyviolation', event => noteBlocked(event.blockedURI))");
        Page = await _context.NewPageAsync();
        await Page.GotoAsync(route);
        return this;
    }

    /// <summary>Takes the requests to anything but the service, whether they got through or were blocked by the page's policy.</summary>
    public IReadOnlyList<string> TakeForeign()
    {
        var taken = new List<string>();
        while (_foreign.TryDequeue(out var address))
        {
            taken.Add(address);
        }

        return taken;
    }

    /// <summary>Waits until the page's state contains a text.</summary>
    public Task StatesAsync(string text) => ContainsAsync("#state-text", text);

    /// <summary>Waits until an element's text contains a text.</summary>
    public Task ContainsAsync(string selector, string text) =>
        Assertions.Expect(Page.Locator(selector)).ToContainTextAsync(text, new() { Timeout = TestTimeout });

    /// <summary>Waits until a card's legend has a dimension with these numbers.</summary>
    public Task ShowsAsync(string type, string dimension, params string[] numbers) =>
        Assertions.Expect(Row(type, dimension)).ToHaveTextAsync(dimension + string.Concat(numbers), new() { Timeout = TestTimeout });

    public ILocator Row(string type, string dimension) =>
        Page.Locator($"[data-type={type}] .legend tbody tr", new() { Has = Page.GetByText(dimension, new() { Exact = true }) });

    /// <summary>The pixels of a chart.</summary>
    public Task<string> PixelsAsync(string type) =>
        Page.Locator($"[data-type={type}] canvas").First.EvaluateAsync<string>("canvas => canvas.toDataURL()");

    public async ValueTask DisposeAsync()
    {
        await _context.DisposeAsync();
        Assert.Empty(TakeForeign());
    }

    private static void Note(ConcurrentQueue<string> list, string text, bool isRelevant)
    {
        if (isRelevant)
        {
            list.Enqueue(text);
        }
    }
}
