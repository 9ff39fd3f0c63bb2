using System.CommandLine;
using Microsoft.Extensions.Hosting;

namespace Cache.AppHost;

/// <summary>The AppHost's command line: our own options, and those of Aspire.</summary>
internal static class AppHostCommand
{
    private const string Description = """
        Starts the whole stack as an Aspire application: Kafka, Redis, two replicas of the service, the simulator, and the dashboard.

          --kafka embedded --redis embedded --revenue true

        Every option can also be set as a key of the configuration or as an environment variable.

        Exit codes:
          0  it was told to stop
          1  bad options, or it failed
        """;

    // What Aspire and its CLI pass.
    private static readonly string[] OfAspire =
    [
        "clear-cache", "configuration", "dcp-cli-path", "dcp-container-runtime", "dcp-dashboard-path", "dcp-dependency-check-timeout", "deploy", "diagnostics", "include-exception-details",
        "list-steps", "log-level", "no-build", "no-launch-profile", "non-interactive", "operation", "output-path", "project", "step", "verbose",
        "applicationName", "contentRoot", "environment", "urls",
    ];

    private static readonly string[] Parameters = ["Parameters:simulator-rate", "Parameters:simulator-seed", "Parameters:simulator-sessions"];

    private static readonly string[] Sections =
        ["AppHost", "Aspire", "ConnectionStrings", "DcpPublisher", "Dashboard", "Deployment", "Kestrel", "Logging", "Pipeline", "Publishing", "ResourceService"];

    private static readonly string[] Prefixes = ["ASPIRE_", "DOTNET_", "ASPNETCORE_", "OTEL_", "Azure"];

    /// <summary>Parses a command line, of which only what is wrong with it, help and version matter here.</summary>
    public static KeyArguments Read(string[] args)
    {
        var command = new RootCommand(Description)
        {
            new KeyOption("kafka") { HelpName = "where", Description = "Where Kafka runs: embedded, container, or external (ConnectionStrings:kafka) (default: container, or embedded without a container engine)" },
            new KeyOption("redis") { HelpName = "where", Description = "Where Redis runs, likewise (ConnectionStrings:redis)" },
            new KeyOption("simulator") { IsFlag = true, HelpName = "true|false", Description = "Whether the simulator runs (default: true, unless Kafka is external or the stack is published)" },
            new KeyOption("revenue") { IsFlag = true, HelpName = "true|false", Description = "Whether there is a third metric type, revenue, by country and plan (default: false)" },
            new KeyOption("Parameters:<name>") { HelpName = "value", Description = "simulator-rate (rows per second), simulator-seed or simulator-sessions, such as --Parameters:simulator-rate 100" },
            new KeyOption("publisher") { HelpName = "name", Description = "Publish instead of running, such as --publisher manifest --output-path manifest.json" },
        };
        foreach (var name in OfAspire)
        {
            command.Add(new KeyOption(name) { Hidden = true, IsFlag = true });
        }

        foreach (var parameter in Parameters)
        {
            command.Add(new KeyOption(parameter) { Hidden = true });
            command.Add(new KeyOption(parameter.Replace('-', '_')) { Hidden = true });
        }

        return new(command, IsKey, args, Sections);
    }

    private static bool IsKey(string name) =>
        Sections.Contains(name.Split(':')[0], StringComparer.OrdinalIgnoreCase) || Prefixes.Any(prefix => name.StartsWith(prefix, StringComparison.OrdinalIgnoreCase));
}
