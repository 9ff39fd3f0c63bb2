using System.Net.Http.Headers;
using Cache.Producer.Simulator;
using Cache.Tests.EndToEnd;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Simulator;

/// <summary>Files of rows, from the simulator to the answers of the service.</summary>
public sealed class FileRunTests : IDisposable
{

    private readonly string _path = Path.Combine(Path.GetTempPath(), $"{Path.GetRandomFileName()}.ndjson");

    public void Dispose() => File.Delete(_path);

    [Fact]
    public async Task RejectedRows_Exported_Corrected_AndSentAgain_AreInTheirWindows()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 1, Event(Window(0), "ok", 1), Event(Window(1), "a", -5), "not json at all", Event(Window(2), "b", -7));
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(1), "tv", -2.5));
        await stack.EverythingIsCommittedAsync();
        await stack.EventuallyAnswersAsync("/metrics/event/windows", $$"""{"windows":[{"window_start":{{Window(0)}},"ok.count":1}]}""");

        var lines = await ExportAsync(stack);
        Assert.Equal(4, lines.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        await File.WriteAllTextAsync(
            _path,
            lines.Replace("""\"event_count\":-""", """\"event_count\":""", StringComparison.Ordinal).Replace(":-2.5", ":2.5", StringComparison.Ordinal)
                .Replace("not json at all", """{\"window_start\":1710000000000,\"event_type\":\"c\",\"user_count\":3}""", StringComparison.Ordinal),
            TestContext.Current.CancellationToken);
        var (status, _) = await RunAsync(stack, "--file", _path);

        Assert.Equal((SimulatorStatus.Success, 4, 4), (status.ExitCode, status.Sent, status.Acknowledged));
        await stack.EventuallyAnswersAsync(
            "/metrics/event/windows",
            $$"""{"windows":[{"window_start":{{Window(2)}},"b.count":7},{"window_start":{{Window(1)}},"a.count":5},{"window_start":{{Window(0)}},"ok.count":1,"c.users":3}]}""");
        await stack.EventuallyAnswersAsync("/metrics/performance/latest", $$"""{"window_start":{{Window(1)}},"tv.avg_load_time":2.5}""");

        // Each went back to the partition that it came from.
        Assert.Equal(7, stack.Kafka.ReadAll(Events).Count(row => row.Partition.Value == 1));
    }

    [Fact]
    public async Task LettersThatAreSentAgainAsTheyAre_AreRejectedAgain_WithTheSameBytes()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, [new() { Key = [0xFF, 0], Value = [0xC3, 0x28], Headers = [new("h", [0xFE])] }, Message("[]"), new() { Value = [] }]);
        await stack.EverythingIsCommittedAsync(Events);

        await File.WriteAllTextAsync(_path, await ExportAsync(stack), TestContext.Current.CancellationToken);
        Assert.Equal(SimulatorStatus.Success, (await RunAsync(stack, "--file", _path)).Status.ExitCode);
        await stack.EverythingIsCommittedAsync(Events);

        // A letter may be there once more: a client that gets no acknowledgement in time sends again. The simulator adds a trace, if anybody listens.
        var letters = stack.Kafka.ReadAll(stack.DeadLetterTopic)
            .CountBy(letter => (
                Convert.ToHexString(letter.Message.Key ?? []), Convert.ToHexString(letter.Message.Value ?? []),
                letter.Message.Headers.Count(header => header.Key is not ("traceparent" or "tracestate"))))
            .ToList();
        Assert.Equal(3, letters.Count);
        Assert.All(letters, letter => Assert.InRange(letter.Value, 2, 3));
    }

    [Fact]
    public async Task BadLine_IsNamed_AndNothingIsSent()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        await File.WriteAllTextAsync(_path, $"{Event(Window(0), "a", 1)}\nbad\n", TestContext.Current.CancellationToken);

        var (status, log) = await RunAsync(stack, "--file", _path);

        Assert.Equal((SimulatorStatus.Unusable, 0), (status.ExitCode, status.Sent));
        Assert.Contains("cannot be sent: line 2: not JSON. Rows sent: 0", log, StringComparison.Ordinal);
        Assert.Empty(stack.Kafka.ReadAll(Events));
    }

    [Fact]
    public async Task File_IsSentAgainAndAgain_ShiftedToNow()
    {
        await using var stack = await InProcessStack.StartAsync();
        await File.WriteAllTextAsync(_path, $"{Event(Window(0), "a", 1)}\n{Event(Window(1), "a", 2)}\n", TestContext.Current.CancellationToken);

        var (status, _) = await RunAsync(stack, "--file", _path, "--loop", "--shift", "--count", "5", "--rate", "1000");

        Assert.Equal((SimulatorStatus.Success, 5, 5), (status.ExitCode, status.Sent, status.Acknowledged));
        await Eventually.HoldsAsync(async () =>
        {
            var windows = (await stack.GetAsync("/metrics/event/windows")).GetProperty("windows").EnumerateArray().Select(window => window.GetProperty("window_start").GetInt64()).ToList();
            Assert.InRange(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() - windows[0], 0, 120_000);
            Assert.Equal(0, windows[0] % 60_000);
            Assert.Contains(windows[0] - 60_000, windows);
        });
    }

    [Fact]
    public async Task StandardInput_IsSent_LineByLine_AndABadLineEndsIt()
    {
        await using var stack = await InProcessStack.PrepareAsync();

        var (exitCode, output, errors) = await PipeAsync(stack, $"{Event(Window(0), "a", 1)}\n{Event(Window(1), "a", 2)}");
        Assert.True(exitCode == 0, output + errors);
        Assert.Contains("Sending standard input to ", output, StringComparison.Ordinal);
        Assert.Matches(@"\ntotal +2 +2 +0 +0\r?\n", output);
        Assert.DoesNotContain("seed", output, StringComparison.Ordinal);

        (exitCode, output, errors) = await PipeAsync(stack, $"{Event(Window(2), "a", 3)}\nbad\n{Event(Window(3), "a", 4)}");
        Assert.Equal(1, exitCode);
        Assert.Contains("standard input cannot be sent: line 2: not JSON. Rows sent: 1", output + errors, StringComparison.Ordinal);
        Assert.Equal(3, stack.Kafka.ReadAll(Events).Count);
    }

    [Fact]
    public async Task StandardInput_ThatStaysOpen_IsSentAsItComes_AndASignalEndsIt()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        using var process = Start(stack);
        try
        {
            var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
            await process.StandardInput.WriteAsync($"{Event(Window(0), "a", 1)}\n");
            await process.StandardInput.FlushAsync();
            await Eventually.HoldsAsync(() => Assert.Single(stack.Kafka.ReadAll(Events)));

            ChildProcess.Signal(process, ChildProcess.SigTerm);
            await process.WaitForExitAsync().WaitAsync(TestTimeout.Full);
            Assert.True(process.ExitCode == 0, await output + await errors);
            Assert.Contains("Stopping: waiting for acknowledgements", await output, StringComparison.Ordinal);
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }
    }

    private static async Task<string> ExportAsync(RunningStack stack)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/dead-letters?limit=1000");
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/x-ndjson"));
        using var answer = await stack.Http.SendAsync(request);
        return await answer.Content.ReadAsStringAsync();
    }

    private static async Task<(SimulatorStatus Status, string Log)> RunAsync(RunningStack stack, params string[] args)
    {
        using var host = Producer.Simulator.Program.Build(["--ConnectionStrings:kafka", stack.KafkaAddress, "--quiet", .. args]);
        var log = new LogCapture();
        host.Services.GetRequiredService<Microsoft.Extensions.Logging.ILoggerFactory>().AddProvider(log);
        var status = host.Services.GetRequiredService<SimulatorStatus>();
        using var deadline = new CancellationTokenSource(TestTimeout.Full);
        await host.RunAsync(deadline.Token);
        Assert.False(deadline.IsCancellationRequested, "not in time");
        return (status, log.ToString());
    }

    private static async Task<(int ExitCode, string Output, string Errors)> PipeAsync(RunningStack stack, string input)
    {
        using var process = Start(stack);
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        try
        {
            await process.StandardInput.WriteAsync(input);
            process.StandardInput.Close();
            await process.WaitForExitAsync().WaitAsync(TestTimeout.Full);
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }

        return (process.ExitCode, await output, await errors);
    }

    private static System.Diagnostics.Process Start(RunningStack stack)
    {
        var dll = Path.Combine(AppContext.BaseDirectory, "Cache.Producer.Simulator.dll");
        return ChildProcess.Start(new System.Diagnostics.ProcessStartInfo("dotnet", [dll, "--ConnectionStrings:kafka", stack.KafkaAddress, "--file", "-"]) { RedirectStandardInput = true });
    }
}
