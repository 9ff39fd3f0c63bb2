using System.Diagnostics;
using System.Text.RegularExpressions;
using Cache.Embedded;
using Cache.Producer.Simulator;

namespace Cache.Tests.Simulator;

public sealed partial class StatusLineTests
{
    private const string Erase = "\r\e[2K";

    [Fact]
    public async Task OtherOutput_ScrollsBy_AboveTheLine()
    {
        using var terminal = new StringWriter { NewLine = "\n" };
        await using var line = new StatusLine(terminal, () => 80, hasColors: false) { NewLine = "\n" };

        line.Show("one");
        Assert.Equal("one", Taken());
        line.Show("two");
        Assert.Equal($"{Erase}two", Taken());
        line.WriteLine("a log");
        Assert.Equal($"{Erase}a log\ntwo", Taken());

        // Nothing is put in the middle of what is written piece by piece.
        line.Write("half");
        line.Show("three");
        line.Write(" whole");
        Assert.Equal($"{Erase}half whole", Taken());
        line.Write('\n');
        Assert.Equal("\nthree", Taken());
        line.Show("");
        Assert.Equal(Erase, Taken());
        line.WriteLine("after");
        Assert.Equal("after\n", Taken());

        string Taken()
        {
            var text = terminal.ToString();
            terminal.GetStringBuilder().Clear();
            return text;
        }
    }

    [Theory]
    [InlineData(6, false, "01234")]
    [InlineData(10, false, "012345678")]
    [InlineData(11, false, "0123456789")]
    [InlineData(6, true, "\e[32m01234\e[0m")]
    public void Line_FitsTheTerminal(int width, bool hasColors, string shown)
    {
        using var terminal = new StringWriter();
        using var line = new StatusLine(terminal, () => width, hasColors);

        line.Show("0123456789", "32");

        Assert.Equal(shown, terminal.ToString());
    }

    [Theory]
    [InlineData(1000, 10, 250, "██████░░░░░░░░░░░░░░░░░░   25%  30 s left  250 of 1,000 rows  25 rows/s")]
    [InlineData(100_000, 100, 1000, "░░░░░░░░░░░░░░░░░░░░░░░░    1%  2:45:00 left  1,000 of 100,000 rows  25 rows/s")]
    [InlineData(1000, 90, 450, "██████████░░░░░░░░░░░░░░   45%  1:50 left  450 of 1,000 rows  25 rows/s")]
    [InlineData(1000, 9, 999, "███████████████████████░   99%  1 s left  999 of 1,000 rows  25 rows/s")]
    [InlineData(1000, 10, 1000, "████████████████████████  100%  1,000 of 1,000 rows  25 rows/s")]
    [InlineData(1000, 1, 0, "░░░░░░░░░░░░░░░░░░░░░░░░    0%  0 of 1,000 rows  25 rows/s")]
    [InlineData(0, 75, 1500, "1:15  1,500 rows sent  25 rows/s")]
    public void Bar_ShowsTheShare_AndTheTimeLeft(long total, int seconds, long acknowledged, string bar) =>
        Assert.Equal(bar, new Progress(total).Bar(TimeSpan.FromSeconds(seconds), acknowledged, acknowledged, 25, 0));

    [Fact]
    public void Errors_AreShown() => Assert.EndsWith("  3 errors", new Progress(10).Bar(TimeSpan.FromSeconds(1), 5, 2, 1, 3), StringComparison.Ordinal);

    [Fact]
    public void LineOfALog_HasTheTimeLeft_IfThereIsAnEnd()
    {
        Assert.EndsWith("0 errors   25%  6 s left", new Progress(1000).Line(TimeSpan.FromSeconds(2), 300, 250, 125, 0), StringComparison.Ordinal);
        Assert.EndsWith("0 errors", new Progress(0).Line(TimeSpan.FromSeconds(2), 300, 250, 125, 0), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Simulator_OnATerminal_ShowsABar_ThenTheSummaryInItsPlace()
    {
        var script = Requirement.Program("script", "script");
        await using var kafka = await EmbeddedStack.StartKafkaAsync(cancellationToken: TestContext.Current.CancellationToken);

        // script(1) runs a program on a terminal of its own, by a shell.
        var start = new ProcessStartInfo(script, ["-qec", $"exec dotnet {typeof(SimulatorOptions).Assembly.Location} --ConnectionStrings:kafka {kafka.BootstrapServers} --rate 500 --count 1000", "/dev/null"]);
        (start.Environment["TERM"], start.Environment["SHELL"], start.RedirectStandardInput) = ("xterm-256color", "/bin/sh", true);
        start.Environment.Remove("NO_COLOR");
        using var process = ChildProcess.Start(start);
        try
        {
            var output = await process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken).WaitAsync(TestTimeout.Full, TestContext.Current.CancellationToken);

            Assert.Matches(Bar(), output);
            Assert.Contains(Erase, output, StringComparison.Ordinal);
            Assert.Matches(@"total +1,000 +1,000", output[output.LastIndexOf(Erase, StringComparison.Ordinal)..]);
        }
        finally
        {
            process.Kill(entireProcessTree: true);
        }
    }

    [GeneratedRegex("█+░+ +[0-9]+%  [0-9]+ s left  [0-9]+ of 1,000 rows")]
    private static partial Regex Bar();
}
