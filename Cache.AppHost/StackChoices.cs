using Microsoft.Extensions.Configuration;

namespace Cache.AppHost;

/// <summary>Where a server of the stack runs.</summary>
internal enum ServerMode
{
    /// <summary>Inside the AppHost's own process; everything is in memory.</summary>
    Embedded,

    /// <summary>In a container, with a volume.</summary>
    Container,

    /// <summary>Somewhere else; its connection string is configured.</summary>
    External,
}

/// <summary>What the stack is made of: from the options <c>--kafka</c>, <c>--redis</c> and <c>--simulator</c>, and from what the machine has.</summary>
/// <param name="Kafka">Where Kafka runs.</param>
/// <param name="Redis">Where Redis runs.</param>
/// <param name="Simulator">Whether the simulator is part of it.</param>
/// <param name="Reason">Why the servers run there.</param>
internal sealed record StackChoices(ServerMode Kafka, ServerMode Redis, bool Simulator, string Reason)
{
    private static readonly (string Gone, string Instead)[] OldOptions =
    [
        ("--embedded", "--kafka embedded --redis embedded"),
        ("--external-kafka", "--kafka external"),
        ("--external-redis", "--redis external"),
    ];

    /// <summary>Takes what is asked for; else containers, or embedded servers where no container engine answers.</summary>
    /// <param name="args">The command line.</param>
    /// <param name="configuration">What the command line and the environment say: keys <c>kafka</c>, <c>redis</c>, <c>simulator</c>.</param>
    /// <param name="publishing">A publication has no embedded server, and containers by default.</param>
    /// <param name="findEngine">Gives the name of a container engine that answers, or null; called only when it matters.</param>
    /// <exception cref="FormatException">An option cannot be used; the message names it and says what would be right.</exception>
    public static StackChoices Choose(string[] args, IConfiguration configuration, bool publishing, Func<string?> findEngine)
    {
        foreach (var (gone, instead) in OldOptions.Where(option => args.Contains(option.Gone)))
        {
            throw new FormatException($"{gone} is no option any more; say {instead}.");
        }

        var kafka = Mode(configuration, "kafka", publishing);
        var redis = Mode(configuration, "redis", publishing);
        var reason = "as --kafka and --redis say";
        if (kafka is null || redis is null)
        {
            var engine = publishing ? "publishing" : findEngine();
            var otherwise = engine is null ? ServerMode.Embedded : ServerMode.Container;
            reason = engine is null ? "no container engine answers (docker info, podman info)" : $"{engine} answers";
            (kafka, redis) = (kafka ?? otherwise, redis ?? otherwise);
        }

        // Made-up rows have no business in somebody's Kafka, nor in a publication, unless they are asked for.
        var simulator = Flag(args, configuration, "simulator") ?? (!publishing && kafka != ServerMode.External);
        return new(kafka.Value, redis.Value, simulator, reason);
    }

    /// <summary>One line for the console: where, why, and how to choose.</summary>
    public override string ToString() =>
        $"Kafka runs {Where(Kafka, "kafka")}, Redis {Where(Redis, "redis")}: {Reason}. "
        + "To choose: --kafka and --redis, each embedded, container or external.";

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

        // Looked up by name: Enum.TryParse takes numbers, too.
        var modes = Enum.GetValues<ServerMode>().Where(mode => !publishing || mode != ServerMode.Embedded).ToDictionary(mode => mode.ToString(), StringComparer.OrdinalIgnoreCase);
        return modes.TryGetValue(value, out var found)
            ? found
            : throw new FormatException(
                $"--{key} {value}: it must be {string.Join(" or ", modes.Keys.Select(name => name.ToLowerInvariant()))}{(publishing ? " when publishing" : "")}.");
    }

    private static bool? Flag(string[] args, IConfiguration configuration, string key)
    {
        var value = args.Contains($"--{key}") && configuration[key] is null ? "" : configuration[key];
        return value is null ? null
            : bool.TryParse(value, out var flag) ? flag
            : throw new FormatException($"--{key} {value}".TrimEnd() + ": it must be followed by true or false.");
    }
}
