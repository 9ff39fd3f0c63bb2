using System.CommandLine;
using System.Globalization;
using Cache.Metrics;
using Microsoft.Extensions.Hosting;

namespace Cache.Producer.Simulator;

/// <summary>The simulator's command line; each option is a configuration key.</summary>
internal static class SimulatorCommand
{
    private const string Description = """
        Writes windows of metrics to Kafka, as a stream processor would: made-up ones, or those of a file.

          --ConnectionStrings:kafka localhost:9092 --rate 1000 --count 100000 --seed 7
          --ConnectionStrings:kafka localhost:9092 --file rows.ndjson --shift

        Every option can also be set by an environment variable; with the prefix SIMULATOR_ it wins: SIMULATOR_RATE=100.

        Exit codes:
          0  every row sent was acknowledged
          1  bad options, a bad line in the file, or it could not work at all
          2  rows were not acknowledged
        """;

    private static readonly string[] HostKeys = ["applicationName", "contentRoot", "environment", "shutdownTimeoutSeconds"];

    /// <summary>Every name that the simulator reads.</summary>
    public static KnownKeys Known { get; } = new(
        Options().Select(option => option.Key), HostKeys, ["Aspire", "hostBuilder", "Kafka", "Logging", "Metrics", "services"], ["kafka"])
    {
        Prefix = SimulatorOptions.Prefix,
    };

    /// <summary>The keys of <see cref="SimulatorOptions"/>, without their prefix, with their value's form and meaning.</summary>
    public static IReadOnlyList<KeyOption> Options()
    {
        var defaults = new SimulatorOptions();
        return
        [
            Option("rate", "rows/s", "Rows per second, 0.001 to 1000000; 0 sends as fast as the broker takes them", $"{Text(defaults.Rate)}; 0 for a file without --loop"),
            Option("count", "rows", "Rows to send before it stops; 0 sends without end", Text(defaults.Count)),
            Option("seed", "number", "Seed, 0 to 2147483647; the same seed and options send the same rows again", "random"),
            Option("start", "time", "Time of the first row, 1970 to 2999, in ISO 8601 or epoch milliseconds", "now; with a seed, 2025-01-01T00:00:00Z"),
            Option("window_seconds", "seconds", "Length of a window, 1 to 86400 s, unless its type has one", Text(defaults.WindowSeconds)),
            Option(SimulatorTypes.Key, "names", "Metric types to send in turn, with commas: of event, performance and metric_types", string.Join(',', defaults.Types)),
            Option(MetricTypesReader.Key, "json", "Metric types of your own, as the service reads them", "none"),
            Option("event_types", "names", "Dimensions of event_metrics, with commas or as a JSON array", string.Join(',', defaults.EventTypes)),
            Option("device_categories", "names", "Dimensions of performance_metrics, likewise", string.Join(',', defaults.DeviceCategories)),
            Option("late_share", "share", "Share of rows, 0 to 1, that go to a window up to 10 windows back", Text(defaults.LateShare)),
            Option("repeat_share", "share", "Share of rows, 0 to 1, that are the last well-formed row once more", Text(defaults.RepeatShare)),
            Option("out_of_order_share", "share", "Share of rows, 0 to 1, that are swapped with one up to 10 rows later", Text(defaults.OutOfOrderShare)),
            Option("malformed_share", "share", "Share of rows, 0 to 1, that the service must reject", Text(defaults.MalformedShare)),
            Flag("sessions", "Make every fifth row a session (session_metrics)"),
            Option("file", "path", "Rows to send instead of made-up ones, one JSON object per line, or dead letters as the service exports them; - is standard input", "none"),
            Option("topic", "name", "Topic of the file's rows, unless a line names its own", "that of the metric type whose fields a row has"),
            Flag("loop", "Send the file again and again"),
            Flag("shift", "Move all times in the file by the same distance, so that its newest window is the one of now"),
            Option("partitions", "number", "Partitions of the topics that it has to create, 1 to 10000", Text(defaults.Partitions)),
            Flag("quiet", "Print warnings and errors only"),
            Option("kafka_bootstrap_servers", "host:port", "Kafka's brokers, with commas, unless ConnectionStrings:kafka names them", defaults.BootstrapServers),
        ];

        static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
    }

    /// <summary>Parses a command line.</summary>
    public static KeyArguments Read(string[] args)
    {
        var command = new RootCommand(Description);
        foreach (var option in Options())
        {
            command.Add(option);
            command.Add(new KeyOption(SimulatorOptions.Prefix + option.Key) { IsFlag = option.IsFlag, Hidden = true });
        }

        command.Add(new KeyOption("ConnectionStrings:kafka") { HelpName = "host:port", Description = "Kafka's brokers, with commas; or properties: BootstrapServers=host:port;SecurityProtocol=SaslSsl;…" });
        command.Add(new KeyOption("Kafka:<property>") { HelpName = "value", Description = "Any property of librdkafka, such as --Kafka:security.protocol ssl" });
        foreach (var key in HostKeys)
        {
            command.Add(new KeyOption(key) { Hidden = true });
        }

        return new(command, IsKey, args, Known.Sections);
    }

    /// <summary>Whether a name that is not an option is a key that some library reads, or an item of a list.</summary>
    public static bool IsKey(string name) => Known.Contains(name);

    private static KeyOption Option(string key, string value, string description, string standard) =>
        new(key) { HelpName = value, Description = $"{description} (default: {standard})" };

    private static KeyOption Flag(string key, string description) =>
        new(key) { IsFlag = true, HelpName = "true|false", Description = $"{description} (default: false; without a value: true)" };
}
