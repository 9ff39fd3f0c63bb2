using System.Globalization;

namespace Cache.Embedded;

/// <summary>What the command line asks of <see cref="EmbeddedStack"/>.</summary>
public sealed class StackOptions
{
    /// <summary>Where the service answers when nothing else is said.</summary>
    public const string DefaultUrls = "http://localhost:8080";

    private const string SimulatorPrefix = "simulator_";

    /// <summary>The page that <c>--help</c> prints.</summary>
    public const string Help = """
        Starts Kafka, Redis, the service and the simulator in one process. Everything is in memory and gone at the end.

          --urls http://localhost:8081   where the service answers (default http://localhost:8080)
          --redis_port 6380              port of the embedded Redis (default 0: a free one)
          --no-simulator                 nothing writes to Kafka but you
          --simulator_sessions           sessions too: sent, and consumed
          --simulator_rate 50            likewise every other option of the simulator, after "simulator_"
          --window_retention_count 50    likewise every other option of the service, as it is
          --help                         this page

        """;

    /// <summary>Whether to print <see cref="Help"/> and do nothing else.</summary>
    public bool AsksForHelp { get; private set; }

    /// <summary>Whether the simulator runs.</summary>
    public bool Simulator { get; private set; } = true;

    /// <summary>Whether the simulator sends sessions; then the service consumes them, unless it is told its topics.</summary>
    public bool Sessions { get; private set; }

    /// <summary>Port of the embedded Redis, 0 for a free one.</summary>
    public int RedisPort { get; private set; }

    /// <summary>Arguments for the service, in the form <c>--key=value</c>.</summary>
    public IReadOnlyList<string> ServiceArguments { get; private set; } = [];

    /// <summary>Arguments for the simulator, in the form <c>--key=value</c>, without their prefix.</summary>
    public IReadOnlyList<string> SimulatorArguments { get; private set; } = [];

    /// <summary>Reads the command line: <c>--key value</c> or <c>--key=value</c>.</summary>
    /// <exception cref="FormatException">Some argument cannot be used; the message names it.</exception>
    public static StackOptions Parse(params string[] args)
    {
        ArgumentNullException.ThrowIfNull(args);
        var options = new StackOptions();
        var service = new List<string>();
        var simulator = new List<string>();
        for (var i = 0; i < args.Length; i++)
        {
            if (args[i] is "--help" or "-h" or "-?")
            {
                options.AsksForHelp = true;
                continue;
            }

            if (!args[i].StartsWith("--", StringComparison.Ordinal) || args[i].Length == 2)
            {
                throw new FormatException($"{args[i]}: options look like --key value; --help lists them");
            }

            var (key, value) = Split(args[i][2..]);
            var valueFollows = i + 1 < args.Length && !args[i + 1].StartsWith("--", StringComparison.Ordinal);
            switch (key.ToUpperInvariant())
            {
                case "NO-SIMULATOR":
                    // A bare flag; "--no-simulator true" works as well.
                    value ??= valueFollows && bool.TryParse(args[i + 1], out _) ? args[++i] : "true";
                    options.Simulator = !bool.TryParse(value, out var without)
                        ? throw new FormatException($"--{key} {value}: stands alone, or is followed by true or false")
                        : !without;
                    continue;
                case "CONNECTIONSTRINGS:KAFKA" or "CONNECTIONSTRINGS:REDIS":
                    throw new FormatException(
                        $"--{key}: this program brings its own Kafka and Redis; for others run Cache.Service by itself");
            }

            var toSimulator = key.StartsWith(SimulatorPrefix, StringComparison.OrdinalIgnoreCase);
            value ??= valueFollows
                ? args[++i]
                : toSimulator ? "true" : throw new FormatException($"--{key}: must be followed by a value");
            if (key.Equals("redis_port", StringComparison.OrdinalIgnoreCase))
            {
                options.RedisPort = Port(value);
            }
            else if (toSimulator)
            {
                simulator.Add($"--{key[SimulatorPrefix.Length..]}={value}");
                options.Sessions = key.Equals(SimulatorPrefix + "sessions", StringComparison.OrdinalIgnoreCase)
                    ? bool.TryParse(value, out var sessions) && sessions
                    : options.Sessions;
            }
            else
            {
                service.Add($"--{key}={value}");
            }
        }

        options.ServiceArguments = service;
        options.SimulatorArguments = simulator;
        return options;
    }

    private static (string Key, string? Value) Split(string argument)
    {
        var equals = argument.IndexOf('=', StringComparison.Ordinal);
        return equals < 0 ? (argument, null) : (argument[..equals], argument[(equals + 1)..]);
    }

    private static int Port(string value) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out var port) && port <= 65535
            ? port
            : throw new FormatException($"--redis_port {value}: must be 1 to 65535, or 0 for a free one");
}
