using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Cache.Sample;

/// <summary>Shows how a program of your own reads Cache: the stream keeps it up to date, and reads tell the rest.</summary>
public static class Program
{
    /// <summary>Runs until it is stopped; <c>--help</c> and <c>--version</c> only print.</summary>
    /// <returns>0, or 1 if an option or setting cannot be used.</returns>
    public static async Task<int> Main(string[] args)
    {
        var arguments = SampleCommand.Read(args);
        if (arguments.Answer(Console.Out))
        {
            return 0;
        }

        if (arguments.Errors.Count > 0)
        {
            return await FailAsync(new ConfigurationException(arguments.Errors).Message);
        }

        var builder = Host.CreateApplicationBuilder(args);
        builder.AddServiceDefaults();

        // Four lines per request; the trace shows the same.
        builder.Logging.AddFilter("System.Net.Http.HttpClient", LogLevel.Warning);
        try
        {
            builder.AddCacheClient("cache");
        }
        catch (InvalidOperationException exception)
        {
            return await FailAsync(exception.Message);
        }

        builder.Services.AddHostedService<SampleWorker>();
        await builder.Build().RunAsync();
        return 0;
    }

    private static async Task<int> FailAsync(string error)
    {
        await Console.Error.WriteLineAsync(error);
        await Console.Error.WriteLineAsync("--help lists the options.");
        return 1;
    }
}
