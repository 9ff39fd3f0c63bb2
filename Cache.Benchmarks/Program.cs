using System.Globalization;
using System.Runtime.InteropServices;

namespace Cache.Benchmarks;

/// <summary>Measures the product against baselines in the same run: <c>dotnet run -c Release --project Cache.Benchmarks -- VERB [--quick] [--against FOLDER]</c>.</summary>
internal static class Program
{
    private static readonly Dictionary<string, Func<Run, Task>> Verbs = new()
    {
        ["throughput"] = ThroughputVerb.RunAsync,
        ["latency"] = LatencyVerb.RunAsync,
        ["memory"] = MemoryVerb.RunAsync,
        ["scale"] = ScaleVerb.RunAsync,
        ["tracing"] = TracingVerb.RunAsync,
        ["types"] = TypesVerb.RunAsync,
        ["micro"] = MicroVerb.RunAsync,
        ["stream"] = StreamVerb.RunAsync,
        ["reads"] = ReadsVerb.RunAsync,
        ["startup"] = StartupVerb.RunAsync,
        ["limits"] = LimitsVerb.RunAsync,
    };

    /// <summary>Runs a verb, or <c>all</c> of them.</summary>
    /// <returns>0; 1 if the verb cannot run; 2 if there is no such verb.</returns>
    public static async Task<int> Main(string[] args)
    {
        // Baselines and servers, each in its own process.
        switch (args)
        {
            case ["bare-stream"]:
                await BareStream.RunAsync();
                return 0;

            case ["bare-reads", var answers]:
                await BareReads.RunAsync(answers);
                return 0;

            case ["broker", var partitions, var rows, var dimensions, var trace]:
                await Broker.RunAsync(Number(partitions), new(Number(rows), Number(dimensions), Trace: trace));
                return 0;

            case ["consume", var side, var bootstrapServers, var group, var rows, var redisPort]:
                await BareConsumer.RunAsync(side, bootstrapServers, group, Number(rows), Number(redisPort));
                return 0;

            default:
                break;
        }

        var verbs = args.FirstOrDefault() is "all" ? [.. Verbs.Keys] : args.Where(Verbs.ContainsKey).Take(1).ToList();
        var against = Array.IndexOf(args, "--against") is > 0 and var at && at + 1 < args.Length ? args[at + 1] : null;
        if (verbs.Count == 0 || args.Skip(1).Any(option => option is not ("--quick" or "--against") && option != against))
        {
            await Console.Error.WriteLineAsync($"Usage: {string.Join('|', Verbs.Keys)}|all [--quick] [--against FOLDER]");
            return 2;
        }

        using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, _ => ServerProcess.KillAll());
        using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => ServerProcess.KillAll());
        var run = new Run(Quick: args.Contains("--quick"), new Report(), against);
        try
        {
            foreach (var verb in verbs)
            {
                await Verbs[verb](run);
                run.Report.Write("artifacts/bench.json");
            }
        }
        catch (InvalidOperationException exception)
        {
            await Console.Error.WriteLineAsync(exception.Message);
            return 1;
        }
        finally
        {
            ServerProcess.KillAll();
        }

        run.Report.Print();
        return 0;
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}

/// <summary>The settings of a run.</summary>
/// <param name="Quick">Fewer and shorter rounds: to check that it works, not to quote.</param>
/// <param name="Report">Collects the figures.</param>
/// <param name="Against">The folder of another build of the service to compare with; null for none.</param>
internal sealed record Run(bool Quick, Report Report, string? Against)
{
    /// <summary>Rounds per side.</summary>
    public int Rounds => Quick ? 2 : 5;
}
