using System.CommandLine;
using System.Globalization;
using Cache.Metrics;
using Cache.Producer.Simulator;
using Cache.Service.Options;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Cache.Embedded;

/// <summary>The options of <see cref="EmbeddedStack"/> from the command line.</summary>
public sealed class StackOptions
{
    /// <summary>The service's default address.</summary>
    public const string DefaultUrls = "http://localhost:8080";

    private const string Description = """
        Starts Kafka, Redis, the service and the simulator in one process. Everything is in memory and gone at the end.

          --window_retention_count 50 --simulator_rate 1000 --simulator_sessions

        Exit codes:
          0  it was told to stop
          1  it could not start or stop, or the service failed
          2  bad options
        """;

    private const string NoSimulator = "no-simulator";
    private const string OwnRevenue = "revenue";
    private const string OwnOpen = "open";
    private const string OwnRedisPort = "redis_port";

    private const string RevenueTypes = $"--{MetricTypesReader.Key}={RevenueType.MetricTypes}";

    private static readonly string[] OwnConnections = ["ConnectionStrings:kafka", "ConnectionStrings:redis"];

    /// <summary>Whether the simulator runs. Default true.</summary>
    public bool Simulator { get; private init; } = true;

    /// <summary>Whether the simulator sends sessions; the service then consumes them, unless its topics are set. Default false.</summary>
    public bool Sessions { get; private init; }

    /// <summary>Whether the service and the simulator have a third metric type, <see cref="RevenueType"/>. Default false.</summary>
    public bool Revenue { get; private init; }

    /// <summary>Whether the live page is opened in the browser. Default false.</summary>
    public bool Open { get; private init; }

    /// <summary>Port of the embedded Redis, 1 to 65535; 0, the default, picks a free one.</summary>
    public int RedisPort { get; private init; }

    /// <summary>Arguments for the service, in the form <c>--key=value</c>.</summary>
    public IReadOnlyList<string> ServiceArguments { get; private init; } = [];

    /// <summary>Arguments for the simulator, in the form <c>--key=value</c>.</summary>
    public IReadOnlyList<string> SimulatorArguments { get; private init; } = [];

    /// <summary>Reads the command line: <c>--key value</c> or <c>--key=value</c>.</summary>
    /// <exception cref="ConfigurationException">At least one argument is invalid; the message lists them all.</exception>
    public static StackOptions Parse(params string[] args)
    {
        ArgumentNullException.ThrowIfNull(args);
        return Read(Arguments(args));
    }

    /// <summary>Parses the command line into keys.</summary>
    internal static KeyArguments Arguments(string[] args)
    {
        var command = new RootCommand(Description)
        {
            new KeyOption("urls") { HelpName = "url", Description = $"Where the service answers, such as http://localhost:8081; several with semicolons (default: {DefaultUrls})" },
            new KeyOption(OwnOpen) { IsFlag = true, HelpName = "true|false", Description = "Open the live page in the browser (default: false; without a value: true)" },
            new KeyOption(OwnRedisPort) { HelpName = "port", Description = "Port of the embedded Redis, 1 to 65535; 0 takes a free one (default: 0)" },
            new KeyOption(NoSimulator) { IsFlag = true, HelpName = "true|false", Description = "Leave the topics empty: nothing writes to Kafka but you (default: false; without a value: true)" },
            new KeyOption("simulator_sessions") { IsFlag = true, HelpName = "true|false", Description = "Send sessions, and consume them, too (default: false; without a value: true)" },
            new KeyOption(OwnRevenue) { IsFlag = true, HelpName = "true|false", Description = $"Add a third metric type, {RevenueType.Name}, by country and plan (default: false; without a value: true)" },
            new KeyOption("simulator_<option>") { HelpName = "value", Description = "Any other option of the simulator, such as --simulator_rate 50 (rows per second)" },
            new KeyOption("<key>") { HelpName = "value", Description = "Any key of the service's configuration, such as --window_retention_count 50" },
        };
        var shown = command.Options.Select(option => option.Name).ToHashSet(StringComparer.OrdinalIgnoreCase);
        foreach (var option in HiddenOptions().Where(option => !shown.Contains(option.Name)))
        {
            option.Hidden = true;
            command.Add(option);
        }

        return new(
            command, name => OfSimulator(name) is { } key ? SimulatorCommand.IsKey(key) : CacheOptionsReader.Known.Contains(name), args, CacheOptionsReader.Known.Sections);
    }

    /// <summary>Reads the options from the keys that <see cref="Arguments"/> found.</summary>
    /// <exception cref="ConfigurationException">At least one argument is invalid; the message lists them all.</exception>
    internal static StackOptions Read(KeyArguments arguments)
    {
        var configuration = new ConfigurationBuilder().AddInMemoryCollection(arguments.Keys).Build();
        var keys = new FlatKeys(configuration);
        var simulatorKeys = new FlatKeys(configuration, SimulatorOptions.Prefix);
        var simulatorOptions = SimulatorCommand.Options().Select(option => option.Key).ToHashSet(StringComparer.OrdinalIgnoreCase);
        var revenue = keys.Flag(OwnRevenue);
        var options = new StackOptions
        {
            Simulator = !keys.Flag(NoSimulator),
            Sessions = simulatorKeys.Flag("sessions"),
            Revenue = revenue,
            Open = keys.Flag(OwnOpen),
            RedisPort = keys.Value<int>(OwnRedisPort, 0, TryPort, "it must be 1 to 65535, or 0 for a free one."),

            // Everything not read above.
            ServiceArguments =
            [
                .. revenue ? [RevenueTypes] : Array.Empty<string>(),
                .. arguments.Keys.Where(key => OfSimulator(key.Key) is null && !keys.Names.Contains(key.Key)).Select(key => $"--{key.Key}={key.Value}"),
            ],

            // With the prefix, which takes precedence over the environment; libraries do not know the prefix. The metric types are
            // the service's.
            SimulatorArguments =
            [
                .. revenue ? [RevenueTypes, $"--{SimulatorOptions.Prefix}{SimulatorTypes.Key}={RevenueType.SimulatorTypes}"] : Array.Empty<string>(),
                .. arguments.Keys.Where(key => IsMetricTypes(key.Key)).Select(key => $"--{key.Key}={key.Value}"),
                .. from key in arguments.Keys
                   let name = OfSimulator(key.Key)
                   where name is not null
                   select $"--{(simulatorOptions.Contains(name) ? key.Key : name)}={key.Value}",
            ],
        };

        string[] errors =
        [
            .. arguments.Errors,
            .. OwnConnections.Where(arguments.Keys.ContainsKey).Select(key => $"--{key}: this program brings its own Kafka and Redis; for others run Cache.Service by itself"),
            .. revenue && arguments.Keys.Keys.Any(IsMetricTypes) ? [$"--{OwnRevenue}: --{MetricTypesReader.Key} is given, too, and would replace the type {RevenueType.Name}; leave one out"] : Array.Empty<string>(),
            .. keys.Errors,
            .. simulatorKeys.Errors,
        ];
        return errors.Length == 0 ? options : throw new ConfigurationException(errors);
    }

    private static IEnumerable<KeyOption> HiddenOptions() =>
    [
        .. SimulatorCommand.Options().Select(option => new KeyOption(SimulatorOptions.Prefix + option.Key) { IsFlag = option.IsFlag }),
        .. SimulatorCommand.Known.HostKeys.Select(key => new KeyOption(SimulatorOptions.Prefix + key)),
        .. CacheOptionsReader.Keys.Concat(CacheOptionsReader.Known.HostKeys).Select(key => new KeyOption(key)),
    ];

    private static string? OfSimulator(string key) =>
        key.StartsWith(SimulatorOptions.Prefix, StringComparison.OrdinalIgnoreCase) ? key[SimulatorOptions.Prefix.Length..] : null;

    private static bool IsMetricTypes(string key) =>
        key.Equals(MetricTypesReader.Key, StringComparison.OrdinalIgnoreCase) || key.StartsWith($"{MetricTypesReader.Key}:", StringComparison.OrdinalIgnoreCase);

    private static bool TryPort(string text, out int port) =>
        int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out port) && port <= 65535;
}
