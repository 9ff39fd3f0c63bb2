using System.Net.Sockets;
using Cache.Service.Page;
using Cache.Service.Protect;

namespace Cache.Service;

/// <summary>Keeps recent metric windows from Kafka in Redis and serves them over HTTP.</summary>
public static class Program
{
    /// <summary>Runs the service until it is told to stop.</summary>
    /// <returns>0; 1 on bad configuration, when a port is taken, or when a worker has failed for good.</returns>
    public static async Task<int> Main(string[] args)
    {
        try
        {
            var app = Build(args);
            var fatal = app.Services.GetRequiredService<FatalError>();
            await app.RunAsync();
            return fatal.ExitCode;
        }
        catch (ConfigurationException exception)
        {
            await Console.Error.WriteLineAsync(exception.Message);
            return 1;
        }
        catch (Exception exception) when (exception is IOException or SocketException or FormatException)
        {
            // What Kestrel throws when it cannot listen; it names the address.
            await Console.Error.WriteLineAsync(
                $"{exception.Message} Stop what listens there, or choose another address: --urls http://*:8081, or ASPNETCORE_URLS.");
            return 1;
        }
    }

    /// <summary>Puts the service together without starting it.</summary>
    /// <exception cref="ConfigurationException">At least one key of the configuration is wrong; it lists them all.</exception>
    public static WebApplication Build(string[] args)
    {
        // appsettings.json is beside the program, wherever it is started from.
        var builder = WebApplication.CreateBuilder(new WebApplicationOptions
        {
            Args = args,
            ApplicationName = typeof(Program).Assembly.GetName().Name,
            ContentRootPath = AppContext.BaseDirectory,
        });
        builder.AddServiceDefaults();
        var options = builder.AddCacheOptions();
        builder.AddConsume(options);
        builder.AddEnqueue();
        builder.AddFlush();
        builder.AddPersist(options);
        builder.AddProtect(options);
        builder.AddQuery(options);
        builder.AddStreaming();
        builder.AddPage();
        builder.AddTelemetry();
        var app = builder.Build();
        app.UseProtect(options);
        app.MapQuery(options);
        app.MapPage();
        return app;
    }
}
