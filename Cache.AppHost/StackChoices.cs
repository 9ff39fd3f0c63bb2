using Microsoft.Extensions.Configuration;

namespace Cache.AppHost;

/// <summary>Where a server of the stack runs.</summary>
internal enum ServerMode
{
    /// <summary>Inside the AppHost process, in memory only.</summary>
    Embedded,

    /// <summary>In a container, with a volume.</summary>
    Container,

    /// <summary>Elsewhere, at a configured connection string.</summary>
    External,
}

/// <summary>What the stack consists of, from the options <c>--kafka</c>, <c>--redis</c>, <c>--simulator</c> and <c>--revenue</c> and the machine's container engine.</summary>
/// <param name="Kafka">Where Kafka runs.</param>
/// <param name="Redis">Where Redis runs.</param>
/// <param name="Simulator">Whether the simulator runs.</param>
/// <param name="Revenue">Whether the service and the simulator have a third metric type, revenue.</param>
/// <param name="Reason">Why the servers run there.</param>
internal sealed record StackChoices(ServerMode Kafka, ServerMode Redis, bool Simulator, bool Revenue, string Reason)
{
    private static readonly (string Removed, string Replacement)[] RemovedOptions =
    [
        ("--embedded", "--kafka embedded --redis embedded"),
        ("--external-kafka", "--kafka external"),
        ("--external-redis", "--redis external"),
    ];

    /// <summary>Chooses the options that are set; by default containers, or embedded servers if no container engine answers.</summary>
    /// <param name="args">The command line.</param>
    /// <param name="configuration">The command line and the environment: keys <c>kafka</c>, <c>redis</c>, <c>simulator</c> and <c>revenue</c>.</param>
    /// <param name="publishing">Whether the stack is being published: then servers cannot be embedded, and are containers by default.</param>
    /// <param name="findEngine">Returns the name of a running container engine, or null; called only if needed.</param>
    /// <exception cref="FormatException">An option is invalid; the message contains the option and what would be valid.</exception>
    public static StackChoices Choose(string[] args, IConfiguration configuration, bool publishing, Func<string?> findEngine)
    {
        foreach (var (removed, replacement) in RemovedOptions.Where(option => args.Contains(option.Removed)))
        {
            throw new FormatException($"{removed} no longer exists; use {replacement}.");
        }

        var kafka = Mode(configuration, "kafka", publishing);
        var redis = Mode(configuration, "redis", publishing);
        var reason = "set by --kafka and --redis";
        if (kafka is null || redis is null)
        {
            var engine = publishing ? "publishing" : findEngine();
            var fallback = engine is null ? ServerMode.Embedded : ServerMode.Container;
            reason = engine is null ? "no container engine answers (docker info, podman info)" : $"{engine} answers";
            (kafka, redis) = (kafka ?? fallback, redis ?? fallback);
        }

        // Simulated rows do not belong in somebody else's Kafka or in a published stack, unless requested.
        var simulator = Flag(args, configuration, "simulator") ?? (!publishing && kafka != ServerMode.External);
        var revenue = Flag(args, configuration, "revenue") ?? false;
        return new(kafka.Value, redis.Value, simulator, revenue, reason);
    }

    /// <summary>One line for the console: where the servers run, why, and how to change it.</summary>
    public override string ToString() =>
        $"Kafka runs {Where(Kafka, "kafka")}, Redis {Where(Redis, "redis")}: {Reason}. "
        + "To change this, set --kafka and --redis to embedded, container or external."
        + (Revenue ? " A third metric type, revenue, is on (--revenue)." : "");

    private static string Where(ServerMode mode, string name) => mode switch
    {
        ServerMode.Embedded => "inside this process",
        ServerMode.Container => "in a container",
        _ => $"elsewhere (ConnectionStrings:{name})",
    };

    private static ServerMode? Mode(IConfiguration configuration, string key, bool publishing)
    {
        if (configuration[key]?.Trim() is not { Length: > 0 } value)
        {
            return null;
        }

        // Looked up by name, because Enum.TryParse accepts numbers, too.
        var modes = Enum.GetValues<ServerMode>().Where(mode => !publishing || mode != ServerMode.Embedded).ToDictionary(mode => mode.ToString(), StringComparer.OrdinalIgnoreCase);
        return modes.TryGetValue(value, out var found)
            ? found
            : throw new FormatException(
                $"--{key} {value}: it must be {(publishing ? "container or external when publishing" : "embedded, container or external")}.");
    }

    private static bool? Flag(string[] args, IConfiguration configuration, string key)
    {
        var value = args.Contains($"--{key}") && configuration[key] is null ? "" : configuration[key];
        return value is null ? null
            : bool.TryParse(value, out var flag) ? flag
            : throw new FormatException($"--{key} {value}".TrimEnd() + ": it must be followed by true or false.");
    }
}
