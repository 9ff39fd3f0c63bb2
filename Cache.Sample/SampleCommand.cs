using System.CommandLine;
using Microsoft.Extensions.Hosting;

namespace Cache.Sample;

/// <summary>The sample's command line.</summary>
internal static class SampleCommand
{
    private const string Description = """
        Shows how a program of your own reads Cache: it follows the stream, and logs each window that is complete.

          --ConnectionStrings:cache http://localhost:8080

        Exit codes:
          0  it was told to stop
          1  bad options
        """;

    private static readonly string[] HostKeys = ["environment", "applicationName", "contentRoot"];

    private static readonly KnownKeys Known = new([], HostKeys, ["Aspire", "hostBuilder", "Logging", "Metrics", "services"], ["cache"]);

    /// <summary>Parses a command line.</summary>
    public static KeyArguments Read(string[] args)
    {
        var command = new RootCommand(Description)
        {
            new KeyOption("ConnectionStrings:cache") { HelpName = "address", Description = "The service; or Endpoint=address;ApiKey=key (default: https+http://cache, by service discovery)" },
            new KeyOption("Logging:LogLevel:<category>") { HelpName = "level", Description = "Trace, Debug, Information, Warning, Error, Critical or None (default: Information)" },
        };
        return new(command, Known.Contains, args, Known.Sections);
    }
}
