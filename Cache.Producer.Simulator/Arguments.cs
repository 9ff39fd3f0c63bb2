using System.Globalization;
using System.Text;
using Microsoft.Extensions.Options;

namespace Cache.Producer.Simulator;

/// <summary>What .NET's command-line configuration leaves to the program: help, bare flags, misspelt names.</summary>
internal static class Arguments
{
    private static readonly string[] Flags = ["sessions", "quiet"];
    private static readonly string[] Others = ["kafka_bootstrap_servers", "environment", "contentRoot"];

    /// <summary>The page that <c>--help</c> prints.</summary>
    public static string Help
    {
        get
        {
            var text = new StringBuilder()
                .AppendLine("Writes windows of metrics to Kafka, as a stream processor would.")
                .AppendLine()
                .AppendLine("  --ConnectionStrings:kafka host:port --rate 1000 --count 100000 --seed 7")
                .AppendLine();
            foreach (var (key, standard, help) in SimulatorOptions.Keys)
            {
                text.AppendLine(CultureInfo.InvariantCulture, $"  --{key,-18} {help} (default {standard})");
            }

            return text
                .AppendLine("  --Kafka:<property>   any property of librdkafka, such as --Kafka:security.protocol ssl")
                .AppendLine()
                .AppendLine("Each is also read from the environment, where the prefix SIMULATOR_ wins: SIMULATOR_RATE=100.")
                .AppendLine("Exit code 0: every row sent was acknowledged. 1: bad options, or it could not work.")
                .AppendLine("2: rows were not acknowledged.")
                .ToString();
        }
    }

    /// <summary>Whether the arguments ask for <see cref="Help"/>.</summary>
    public static bool AsksForHelp(string[] args) => args.Any(arg => arg is "--help" or "-h" or "-?");

    /// <summary>Gives bare flags their value, which .NET would take from the next argument.</summary>
    public static string[] Expand(string[] args)
    {
        var expanded = new List<string>(args.Length);
        for (var i = 0; i < args.Length; i++)
        {
            expanded.Add(args[i]);
            var bare = i + 1 == args.Length || args[i + 1].StartsWith("--", StringComparison.Ordinal);
            if (bare && Flags.Contains(Unprefixed(args[i]), StringComparer.OrdinalIgnoreCase))
            {
                expanded.Add("true");
            }
        }

        return [.. expanded];
    }

    /// <summary>Refuses what .NET would silently ignore: a misspelt <c>--cuont 100</c> would send for ever.</summary>
    /// <exception cref="OptionsValidationException">An argument is none of the simulator's, or has no value.</exception>
    public static void Check(string[] args)
    {
        var errors = new List<string>();
        args = Expand(args);
        for (var i = 0; i < args.Length; i++)
        {
            // Without its value, which may be a password and is not repeated.
            var arg = args[i].Split('=')[0];
            var (key, hasValue) = (Unprefixed(arg), args[i].Contains('=', StringComparison.Ordinal));
            if ((!arg.StartsWith("--", StringComparison.Ordinal) && !hasValue) || !IsKnown(key))
            {
                errors.Add($"{arg}: no such option");
            }

            if (arg.StartsWith("--", StringComparison.Ordinal) && !hasValue && ++i == args.Length)
            {
                errors.Add($"{arg}: must be followed by a value");
            }
        }

        if (errors.Count > 0)
        {
            throw new OptionsValidationException(nameof(SimulatorOptions), typeof(SimulatorOptions), errors);
        }
    }

    private static bool IsKnown(string key) =>
        key.Contains(':', StringComparison.Ordinal)
        || key.StartsWith("OTEL_", StringComparison.OrdinalIgnoreCase)
        || SimulatorOptions.Keys.Select(known => known.Key).Concat(Others).Contains(key, StringComparer.OrdinalIgnoreCase);

    private static string Unprefixed(string arg)
    {
        var key = arg.StartsWith("--", StringComparison.Ordinal) ? arg[2..] : arg;
        return key.StartsWith(SimulatorOptions.Prefix, StringComparison.OrdinalIgnoreCase)
            ? key[SimulatorOptions.Prefix.Length..]
            : key;
    }
}
