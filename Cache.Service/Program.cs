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
        catch (Exception exception) when (exception is IOException or SocketException)
        {
            await Console.Error.WriteLineAsync(HostSettings.CannotListen(exception));
            return 1;
        }
    }

    /// <summary>Checks the whole configuration, and puts the service together without starting it.</summary>
    /// <exception cref="ConfigurationException">At least one key of the configuration is wrong; it lists them all.</exception>
    public static WebApplication Build(string[] args)
    {
        var builder = CreateBuilder(args);
        try
        {
            return Build(builder);
        }
        catch (InvalidOperationException exception) when (HostSettings.IsOfTheBinder(exception))
        {
            throw new ConfigurationException([Secrets.Hide(exception.Message, builder.Configuration)]);
        }
    }

    private static WebApplication Build(WebApplicationBuilder builder)
    {
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
        HostSettings.CheckServer(app);
        app.UseProtect(options);
        app.MapQuery(options);
        app.MapPage();
        return app;
    }

    private static WebApplicationBuilder CreateBuilder(string[] args)
    {
        try
        {
            // appsettings.json is beside the program, wherever it is started from.
            return WebApplication.CreateBuilder(new WebApplicationOptions
            {
                Args = args,
                ApplicationName = typeof(Program).Assembly.GetName().Name,
                ContentRootPath = AppContext.BaseDirectory,
            });
        }
        catch (InvalidDataException exception)
        {
            // The innermost names the line.
            throw new ConfigurationException([$"{exception.Message.TrimEnd('.')}: {exception.GetBaseException().Message}"]);
        }
        catch (FormatException)
        {
            // Not repeated: a password may stand there.
            throw new ConfigurationException(["The command line has an option with one hyphen; it must be --key value, or --key=value."]);
        }
    }
}
