using System.Reflection;
using Cache.AppHost;
using Cache.Embedded;

namespace Cache.Tests;

/// <summary>What every program does with its command line.</summary>
public sealed class CommandTests
{
    private static readonly TimeSpan Deadline = TestTimeout.Full;

    private static readonly string[] Programs = ["Cache.Service", "Cache.Producer.Simulator", "Cache.Embedded", "Cache.AppHost", "Cache.Benchmarks", "Cache.Sample"];

    public static TheoryData<string> AllPrograms => [.. Programs];

    [Theory]
    [MemberData(nameof(AllPrograms))]
    public async Task Help_AndVersion_ArePrinted_AndNothingIsStarted(string program)
    {
        var help = await RunAsync(program, "--help");
        Assert.Equal((0, ""), (help.Code, help.Errors));
        Assert.Contains("Usage:", help.Output, StringComparison.Ordinal);
        Assert.Contains("Exit codes:", help.Output, StringComparison.Ordinal);

        var version = await RunAsync(program, "--version");
        Assert.Equal((0, ""), (version.Code, version.Errors));
        Assert.Equal(typeof(EmbeddedStack).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion, version.Output.Trim());
    }

    [Theory]
    [InlineData("Cache.Service", "--windw_retention 5", "--windw_retention: no such option; did you mean --window_retention_count?", 1)]
    [InlineData("Cache.Producer.Simulator", "--simulator_rat 5", "--simulator_rat: no such option; did you mean --simulator_rate?", 1)]
    [InlineData("Cache.Embedded", "--simulator_rat 5", "--simulator_rat: no such option; did you mean --simulator_rate?", 2)]
    [InlineData("Cache.AppHost", "--kafak embedded", "--kafak: no such option; did you mean --kafka?", 1)]
    [InlineData("Cache.AppHost", "--Parameters:simulator-rat 5", "--Parameters:simulator-rat: no such option; did you mean --Parameters:simulator-rate?", 1)]
    [InlineData("Cache.Service", "--ConnectionStrings:rediss a:1", "--ConnectionStrings:rediss: no such option; did you mean --ConnectionStrings:redis?", 1)]
    [InlineData("Cache.Sample", "--ConnectionStrings:cash http://a", "--ConnectionStrings:cash: no such option; did you mean --ConnectionStrings:cache?", 1)]
    [InlineData("Cache.Benchmarks", "througput", "througput: no such verb or option; did you mean throughput?", 2)]
    public async Task UnknownOption_EndsTheProgram_WithTheNearest(string program, string arguments, string error, int code)
    {
        var run = await RunAsync(program, arguments.Split(' '));

        Assert.Equal((code, ""), (run.Code, run.Output));
        Assert.Contains(error, run.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", run.Errors, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Sample_WithAnAddressThatIsNone_EndsWithTheKey()
    {
        var run = await RunAsync("Cache.Sample", "--ConnectionStrings:cache", "nowhere");

        Assert.Equal((1, ""), (run.Code, run.Output));
        Assert.Contains("ConnectionStrings:cache", run.Errors, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", run.Errors, StringComparison.Ordinal);
    }

    /// <summary>What the Aspire CLI, <c>dotnet run</c> and the docs pass to the AppHost.</summary>
    [Theory]
    [InlineData("--operation publish --publisher manifest --output-path manifest.json --kafka external --redis external")]
    [InlineData("--operation run --log-level Information --step deploy --clear-cache --list-steps --include-exception-details")]
    [InlineData("--kafka embedded --redis=container --simulator true --revenue true --environment Development")]
    [InlineData("--Parameters:simulator_rate 100 --ConnectionStrings:kafka a:1 --ASPIRE_ALLOW_UNSECURED_TRANSPORT true")]
    public void AppHost_TakesTheOptionsOfAspire(string arguments) => Assert.Empty(AppHostCommand.Read(arguments.Split(' ')).Errors);

    private static async Task<(int Code, string Output, string Errors)> RunAsync(string program, params string[] args)
    {
        // Each from its own folder, as dotnet run starts it.
        var folder = Path.Combine(Repository.File(program), AppContext.BaseDirectory[Repository.File("Cache.Tests").Length..].TrimStart(Path.DirectorySeparatorChar));
        using var process = ChildProcess.Start("dotnet", [Path.Combine(folder, $"{program}.dll"), .. args]);
        try
        {
            var output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
            var errors = await process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken).WaitAsync(Deadline, TestContext.Current.CancellationToken);
            await process.WaitForExitAsync(TestContext.Current.CancellationToken).WaitAsync(Deadline, TestContext.Current.CancellationToken);
            return (process.ExitCode, await output, errors);
        }
        finally
        {
            if (!process.HasExited)
            {
                process.Kill();
            }
        }
    }
}
