using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using Microsoft.Extensions.Hosting;

namespace Cache.Benchmarks;

/// <summary>Measures the product against baselines in the same run: <c>dotnet run -c Release --project Cache.Benchmarks -- VERB [--quick] [--service FOLDER] [--against FOLDER] [--broker HOST:PORT]</c>.</summary>
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
        ["steady"] = SteadyVerb.RunAsync,
        ["cold"] = ColdVerb.RunAsync,
        ["idle"] = IdleVerb.RunAsync,
        ["recover"] = RecoverVerb.RunAsync,
        ["stream"] = StreamVerb.RunAsync,
        ["reads"] = ReadsVerb.RunAsync,
        ["startup"] = StartupVerb.RunAsync,
        ["limits"] = LimitsVerb.RunAsync,
    };

    private static readonly string[] Options = ["--quick", "--service", "--against", "--broker"];

    private static readonly string Usage = $"""
        Measures the product against baselines in the same run.

        Usage: {string.Join('|', Verbs.Keys)}|all [--quick] [--service FOLDER] [--against FOLDER] [--broker HOST:PORT]

          --quick             fewer and shorter rounds: to check that it works, not to quote
          --service FOLDER    measure the service of this folder, such as a published one, instead of this build's
          --against FOLDER    the folder of another build of the service to compare with
          --broker HOST:PORT  a Kafka that is there, in place of the embedded one; topics named cache_bench_… are created, and deleted at the end

        Exit codes: 0, 1 if a verb cannot run, 2 for bad arguments
        """;

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

            case ["broker", var partitions]:
                await Broker.RunAsync(Number(partitions));
                return 0;

            case ["consume", var side, var bootstrapServers, var topic, var group, var rows, var redisPort, var fetchWaitMs]:
                await BareConsumer.RunAsync(side, bootstrapServers, topic, group, Number(rows), Number(redisPort), Number(fetchWaitMs));
                return 0;

            default:
                break;
        }

        if (args.Any(arg => arg is "--help" or "-h" or "-?"))
        {
            await Console.Out.WriteLineAsync(Usage);
            return 0;
        }

        if (args.Contains("--version"))
        {
            await Console.Out.WriteLineAsync(typeof(Program).Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion);
            return 0;
        }

        var verbs = args.FirstOrDefault() is "all" ? [.. Verbs.Keys] : args.Where(Verbs.ContainsKey).Take(1).ToList();
        var (service, against, broker) = (Value("--service"), Value("--against"), Value("--broker"));
        string[] known = [.. Verbs.Keys, "all", .. Options];
        if (args.FirstOrDefault(arg => arg != service && arg != against && arg != broker && !known.Contains(arg)) is { } unknown)
        {
            await Console.Error.WriteLineAsync($"{unknown}: no such verb or option{Spelling.DidYouMean(unknown, known)}");
            return 2;
        }

        if (verbs.Count == 0 || args.Skip(1).Any(option => !Options.Contains(option) && option != service && option != against && option != broker))
        {
            await Console.Error.WriteLineAsync(Usage);
            return 2;
        }

        using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, _ => ServerProcess.KillAll());
        using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => ServerProcess.KillAll());
        var run = new Run(Quick: args.Contains("--quick"), new Report(), against, broker);
        try
        {
            if (service is not null)
            {
                Side.MeasureServiceOf(service);
            }

            foreach (var verb in verbs)
            {
                await Console.Error.WriteLineAsync($"== {verb}");
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

        string? Value(string option) => Array.IndexOf(args, option) is > 0 and var at && at + 1 < args.Length ? args[at + 1] : null;
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}

/// <summary>The settings of a run.</summary>
/// <param name="Quick">Fewer and shorter rounds: to check that it works, not to quote.</param>
/// <param name="Report">Collects the figures.</param>
/// <param name="Against">The folder of another build of the service to compare with; null for none.</param>
/// <param name="Kafka">The address of a Kafka that is there; null for the embedded one.</param>
internal sealed record Run(bool Quick, Report Report, string? Against, string? Kafka)
{
    /// <summary>Rounds per side.</summary>
    public int Rounds => Quick ? 2 : 5;

    /// <summary>Starts an empty broker, or creates topics on the one that is there.</summary>
    /// <param name="partitions">The partitions of its topics.</param>
    public Task<Broker> StartBrokerAsync(int partitions) => Kafka is null ? Broker.StartAsync(partitions) : Broker.UseAsync(Kafka, partitions);

    /// <summary>Says under which conditions a verb measures: figures of others cannot be compared.</summary>
    /// <param name="partitions">The partitions of the topic.</param>
    /// <param name="fetchWaitMs">The <c>fetch.wait.max.ms</c> of every consumer.</param>
    /// <param name="more">What else matters.</param>
    public void Conditions(int partitions, int fetchWaitMs = 500, string more = "") => Console.Error.WriteLine(
        $"Kafka {Kafka ?? "embedded (librdkafka's mock)"}, {partitions} partitions, fetch.wait.max.ms {fetchWaitMs}{more}; {Environment.ProcessorCount} processors, {RuntimeInformation.FrameworkDescription}, {RuntimeInformation.OSDescription}");
}
