using System.Collections.Concurrent;
using System.Text;
using Cache.Tests.Client;
using Cache.Tests.EndToEnd;
using Cache.Tests.Page;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Readme;

/// <summary>The examples of programs in the docs work as printed.</summary>
public sealed class ExampleTests(Chromium chromium) : IClassFixture<Chromium>
{
    [Fact]
    public async Task Curl_ReadsLatestWindowsAndStream() => await RunsAsync("sh", "curl", "sh", "-c");

    [Fact]
    public async Task Python_ReadsLatestWindowsAndStream() => await RunsAsync("python", "python3", "python3", "-c");

    [Fact]
    public async Task CSharp_ReadsLatestWindowsAndStream()
    {
        AssertPrinted(Example("csharp"), "Cache.Tests", "Readme", "CSharpExample.cs");

        await using var stack = await StackAsync();
        await RunsAsync(stack, output => CSharpExample.RunAsync(stack.Http, output), output => ReportsAsync(stack, output));
    }

    [Fact]
    public async Task Client_ReadsLatestWindowsAndStream()
    {
        AssertPrinted(await File.ReadAllTextAsync(Repository.File("Cache.Client", "README.md")), "Cache.Tests", "Client", "ClientExample.cs");

        await using var stack = await StackAsync();
        await using var host = ClientHost.Start(stack.Http.BaseAddress!);
        using var stop = new CancellationTokenSource();
        await RunsAsync(stack, output => ClientExample.RunAsync(host.Client, output, stop.Token), async output =>
        {
            await Eventually.HoldsAsync(() => Assert.Contains("read again what you show (start)", output()));
            Assert.Contains("page_view 22", output());
            Assert.Contains("2 windows, 0 events", output());
            await stack.Kafka.SendAsync(Events, 0, Event(Window(3), "page_view", 33));
            await Eventually.HoldsAsync(() => Assert.Contains($"{DateTimeOffset.FromUnixTimeMilliseconds(Window(3)):HH:mm:ss} [page_view, 33]", output()));
            await stop.CancelAsync();
        });
    }

    [Fact]
    public async Task JavaScript_OnAPageOfAnotherOrigin_ReadsLatestWindowsAndStream()
    {
        Chromium.Require();
        var page = WebApplication.CreateSlimBuilder();
        page.Logging.ClearProviders();
        await using var board = page.Build();
        board.Urls.Add("http://127.0.0.1:0");
        var code = "";
        board.MapGet("/", () => Results.Content($"<!doctype html><link rel=icon href=data:,><script type=module>{code}</script>", "text/html"));
        await board.StartAsync();
        var origin = board.Urls.First();
        await using var stack = await StackAsync(("cors_origins", origin));
        code = CodeFor(stack, "js");

        await using var window = await chromium.NewContextAsync(new(origin));
        var lines = new ConcurrentQueue<string>();
        window.Console += (_, message) => lines.Enqueue(message.Text);
        await (await window.NewPageAsync()).GotoAsync("/");

        await ReportsAsync(stack, () => string.Join('\n', lines));
    }

    /// <summary>Asserts that a docs page has the code between the two marks of a file.</summary>
    private static void AssertPrinted(string page, params string[] file)
    {
        var lines = File.ReadAllText(Repository.File(file)).Split("// printed")[1].Split('\n').Select(line => line.Length > 8 ? line[8..] : line.Trim());
        Assert.Contains(string.Join('\n', lines).Trim(), page);
    }

    /// <summary>Runs a C# example in this process.</summary>
    private static async Task RunsAsync(InProcessStack stack, Func<TextWriter, Task> example, Func<Func<string>, Task> reports)
    {
        await using var output = new StringWriter();
        var synchronized = TextWriter.Synchronized(output);
        var running = example(synchronized);
        try
        {
            await reports(Text);
        }
        finally
        {
            // Stopping the service ends the stream.
            await stack.StopServiceAsync();
            await running.ContinueWith(_ => { }, TaskScheduler.Default);
        }

        string Text()
        {
            lock (synchronized)
            {
                return output.ToString();
            }
        }
    }

    private static async Task RunsAsync(string language, string needs, string program, string option)
    {
        Requirement.Program(needs, needs);
        await using var stack = await StackAsync();
        using var process = ChildProcess.Start(program, option, CodeFor(stack, language));
        var output = new StringBuilder();
        process.OutputDataReceived += (_, line) => Keep(line.Data);
        process.ErrorDataReceived += (_, line) => Keep(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        try
        {
            await ReportsAsync(stack, Text);
        }
        finally
        {
            process.Kill(entireProcessTree: true);
        }

        void Keep(string? line)
        {
            lock (output)
            {
                output.AppendLine(line);
            }
        }

        string Text()
        {
            lock (output)
            {
                return output.ToString();
            }
        }
    }

    private static async Task<InProcessStack> StackAsync(params (string Key, string Value)[] settings)
    {
        var stack = await InProcessStack.StartAsync(null, settings);
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "page_view", 11), Event(Window(2), "page_view", 22));
        await stack.EverythingIsCommittedAsync(Events);
        return stack;
    }

    /// <summary>The example prints the latest window and recent ones, and then updates from the stream.</summary>
    private static async Task ReportsAsync(RunningStack stack, Func<string> output)
    {
        await Eventually.HoldsAsync(() => Assert.Contains("resync", output()));
        await Eventually.HoldsAsync(() => Assert.Contains($"{Window(2)}", output()));
        await Eventually.HoldsAsync(() => Assert.Contains("11", output()));
        await stack.Kafka.SendAsync(Events, 0, Event(Window(3), "page_view", 33));
        await Eventually.HoldsAsync(() => Assert.Contains("33", output()));
    }

    private static string CodeFor(RunningStack stack, string language) =>
        Example(language).Replace("localhost:8080", $"127.0.0.1:{stack.Http.BaseAddress!.Port}", StringComparison.Ordinal);

    /// <summary>The only block of docs/api.md in a language that reads the stream.</summary>
    private static string Example(string language) =>
        Assert.Single(File.ReadAllText(Repository.File("docs", "api.md")).Split("```" + language + "\n").Skip(1).Select(block => block.Split("```")[0]),
            block => block.Contains("/stream", StringComparison.Ordinal));
}
