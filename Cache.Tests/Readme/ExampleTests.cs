using System.Text;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Readme;

/// <summary>The README's examples work as printed.</summary>
public sealed class ExampleTests
{
    [Fact]
    public async Task Curl_ReadsLatestWindowsAndStream() => await RunsAsync("sh", "curl", "sh", "-c");

    [Fact]
    public async Task Python_ReadsLatestWindowsAndStream() => await RunsAsync("python", "python3", "python3", "-c");

    [Fact]
    public async Task CSharp_ReadsLatestWindowsAndStream()
    {
        var text = await File.ReadAllTextAsync(Repository.File("Cache.Tests", "Readme", "CSharpExample.cs"));
        var lines = text.Split("// README")[1].Split('\n').Select(line => line.Length > 8 ? line[8..] : line.Trim());
        Assert.Contains(string.Join('\n', lines).Trim(), Example("csharp"));

        await using var stack = await StackAsync();
        await using var output = new StringWriter();
        var synchronized = TextWriter.Synchronized(output);
        var running = CSharpExample.RunAsync(stack.Http, synchronized);
        try
        {
            await ReportsAsync(stack, () => Text(output));
        }
        finally
        {
            // Stopping the service ends the stream.
            await stack.StopServiceAsync();
            await running.ContinueWith(_ => { }, TaskScheduler.Default);
        }

        static string Text(StringWriter writer)
        {
            lock (writer)
            {
                return writer.GetStringBuilder().ToString();
            }
        }
    }

    private static async Task RunsAsync(string language, string needs, string program, string option)
    {
        Requirement.Program(needs, needs);
        await using var stack = await StackAsync();
        var code = Example(language).Replace("localhost:8080", $"127.0.0.1:{stack.Http.BaseAddress!.Port}", StringComparison.Ordinal);
        using var process = ChildProcess.Start(program, option, code);
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

    private static async Task<InProcessStack> StackAsync()
    {
        var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "page_view", 11), Event(Window(2), "page_view", 22));
        await stack.EverythingIsCommittedAsync(Events);
        return stack;
    }

    /// <summary>The example prints the latest window and recent ones, and then updates from the stream.</summary>
    private static async Task ReportsAsync(RunningStack stack, Func<string> output)
    {
        await Eventually.HoldsAsync(() => Assert.Contains("resync", output()));
        Assert.Contains($"{Window(2)}", output());
        Assert.Contains("11", output());
        await stack.Kafka.SendAsync(Events, 0, Event(Window(3), "page_view", 33));
        await Eventually.HoldsAsync(() => Assert.Contains("33", output()));
    }

    /// <summary>The README's only block in a language that reads the stream.</summary>
    private static string Example(string language) =>
        Assert.Single(File.ReadAllText(Repository.File("README.md")).Split("```" + language + "\n").Skip(1).Select(block => block.Split("```")[0]),
            block => block.Contains("/stream", StringComparison.Ordinal));
}
