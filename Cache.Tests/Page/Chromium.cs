using System.Collections.Concurrent;
using Cache.Embedded;
using Deque.AxeCore.Playwright;
using Microsoft.Playwright;

namespace Cache.Tests.Page;

/// <summary>An installed Chromium, driven by Playwright; started by the first test that opens a page.</summary>
public sealed class Chromium : IAsyncDisposable
{
    /// <summary>How long a page may take to do something, in ms. Generous: a passing test never waits for it.</summary>
    public const float Timeout = 60_000;

    private IPlaywright? _playwright;
    private IBrowser? _browser;

    // Playwright has one for all pages; by default, 5 s.
    static Chromium() => Assertions.SetDefaultExpectTimeout(Timeout);

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
            _playwright = await Listeners.Change(Playwright.CreateAsync);
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
        var context = await _browser.NewContextAsync(options);
        context.SetDefaultTimeout(Timeout);
        return context;
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

/// <summary>
/// The live page in a browser. Closing it fails the test if it has asked anybody but the service, or if the page or the browser has
/// complained of anything that the test did not expect. The one exception is a read that Redis did not answer within 0.75 s,
/// as on a busy machine: the page reads again, and a test that waits for its windows fails if that does not help.
/// </summary>
internal sealed class OpenPage : IAsyncDisposable
{
    private readonly IBrowserContext _context;
    private readonly ConcurrentQueue<string> _foreign = [];
    private readonly ConcurrentQueue<string> _complaints = [];
    private readonly List<string> _expected = [];

    public OpenPage(IBrowserContext context, Uri address)
    {
        _context = context;
        context.Request += (_, request) => Note(_foreign, request.Url, !request.Url.StartsWith(address.ToString(), StringComparison.Ordinal) && !request.Url.StartsWith("data:", StringComparison.Ordinal));
        context.Page += (_, page) => page.WebSocket += (_, socket) => Note(_foreign, socket.Url, true);
        context.Console += (_, message) => Note(_complaints, $"{message.Text} {message.Location}", message.Type is "error" or "warning");
        context.WebError += (_, error) => Note(_complaints, error.Error, true);
        context.Dialog += (_, dialog) => Note(_complaints, $"dialog {dialog.Message}", true);
    }

    public IPage Page { get; private set; } = null!;

    /// <summary>Expects complaints that contain one of these texts, such as those about a service that is stopped.</summary>
    public OpenPage Expects(params string[] texts)
    {
        _expected.AddRange(texts);
        return this;
    }

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
        Assertions.Expect(Page.Locator(selector)).ToContainTextAsync(text);

    /// <summary>Waits until a card's legend has a dimension with these numbers.</summary>
    public Task ShowsAsync(string type, string dimension, params string[] numbers) =>
        Assertions.Expect(Row(type, dimension)).ToHaveTextAsync(dimension + string.Concat(numbers));

    public ILocator Row(string type, string dimension) =>
        Page.Locator($"[data-type={type}] .legend tbody tr", new() { Has = Page.GetByText(dimension, new() { Exact = true }) });

    /// <summary>The pixels of a chart.</summary>
    public Task<string> PixelsAsync(string type) =>
        Page.Locator($"[data-type={type}] canvas").First.EvaluateAsync<string>("canvas => canvas.toDataURL()");

    /// <summary>The requests for data from now on, with the status of their answers; 0 for those that are not answered yet.</summary>
    public ConcurrentQueue<Asked> Asked()
    {
        var asked = new ConcurrentQueue<Asked>();
        _context.Request += (_, request) =>
        {
            if (request.ResourceType is "fetch" or "eventsource" or "xhr")
            {
                asked.Enqueue(new(new Uri(request.Url).AbsolutePath));
            }
        };
        _context.Response += (_, response) =>
        {
            if (asked.FirstOrDefault(one => one.Status == 0 && one.Route == new Uri(response.Url).AbsolutePath) is { } answered)
            {
                answered.Status = response.Status;
            }
        };
        return asked;
    }

    /// <summary>How much has moved on the page without the user's doing: the sum of its layout shifts.</summary>
    public Task<double> ShiftAsync() => Page.EvaluateAsync<double>(
        """
        () => new Promise(resolve => {
          let sum = 0;
          new PerformanceObserver(list => list.getEntries().forEach(({ value }) => sum += value)).observe({ type: "layout-shift", buffered: true });
          setTimeout(() => resolve(sum), 100);
        })
        """);

    /// <summary>Asserts that nothing on the page is hard to access, and that nothing sticks out at its right.</summary>
    public async Task AssertAccessibleAsync()
    {
        var result = await Page.RunAxe();
        Assert.True(result.Violations.Length == 0, string.Join('\n', result.Violations.Select(
            violation => $"{violation.Id}: {violation.Help}\n  {string.Join("\n  ", violation.Nodes.Select(node => node.Html))}")));
        Assert.NotEmpty(result.Passes);
        await AssertFitsAsync();
    }

    /// <summary>Asserts that the page needs no sideways scrolling, and that no table is cut.</summary>
    public async Task AssertFitsAsync()
    {
        var cut = await Page.EvaluateAsync<string[]>(
            """
            () => [document.documentElement, document.body, ...document.querySelectorAll(".card, .scroll, .tiles")]
              .filter((element) => element.scrollWidth > (element === document.body ? innerWidth : element.clientWidth) + 1)
              .map((element) => `${element.localName} ${element.id || element.className} in ${element.closest("section")?.id}: ${element.scrollWidth} > ${element.clientWidth}`)
            """);
        Assert.True(cut.Length == 0, string.Join('\n', cut));
    }

    /// <summary>Saves a picture of the whole page to <c>CACHE_PAGE_STATES</c>, if that is set, for a person to look at.</summary>
    public async Task PictureAsync(string name)
    {
        if (Environment.GetEnvironmentVariable("CACHE_PAGE_STATES") is { Length: > 0 } folder)
        {
            await Page.ScreenshotAsync(new() { Path = Path.Combine(folder, $"{name}.png"), FullPage = true });
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _context.DisposeAsync();
        var unexpected = _complaints.Where(complaint => !IsExpected(complaint)).Concat(TakeForeign()).ToList();
        Assert.True(unexpected.Count == 0, string.Join('\n', unexpected));
    }

    // On a busy machine, a read may miss its second: it gets 503, and the page reads again.
    private bool IsExpected(string complaint) =>
        _expected.Exists(text => complaint.Contains(text, StringComparison.Ordinal)) || complaint.Contains("status of 503", StringComparison.Ordinal);

    private static void Note(ConcurrentQueue<string> list, string text, bool isRelevant)
    {
        if (isRelevant)
        {
            list.Enqueue(text);
        }
    }
}

/// <summary>A request of a page.</summary>
/// <param name="route">Its path.</param>
internal sealed class Asked(string route)
{
    public string Route => route;

    public int Status { get; set; }

    public override string ToString() => $"{Route}={Status}";
}
