using System.Net.Sockets;
using System.Runtime.InteropServices;
using Cache.Service.Consume;
using Cache.Service.Enqueue;
using Cache.Service.Flush;
using Cache.Service.Hosting;
using Cache.Service.Http;
using Cache.Service.Http.Access;
using Cache.Service.Http.Query;
using Cache.Service.Http.Streaming;
using Cache.Service.Options;
using Cache.Service.Page;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Service.Telemetry;

namespace Cache.Service;

/// <summary>Keeps recent metric windows from Kafka in Redis and serves them over HTTP.</summary>
public static class Program
{
    // What is left when everything has stopped: handles that are freed, telemetry that is sent.
    private static readonly TimeSpan EndTimeout = TimeSpan.FromSeconds(5);

    /// <summary>Runs the service until it is told to stop; <c>--version</c> tells which build this is, and nothing runs.</summary>
    /// <returns>0; 1 on bad configuration, when a port is taken, or when a worker has failed for good.</returns>
    public static async Task<int> Main(string[] args)
    {
        if (args.Contains("--version"))
        {
            await Console.Out.WriteLineAsync($"Cache {BuildInfo.Version}");
            return 0;
        }

        // From here on: a host listens to signals only once it starts, and one that comes during its start makes it fail.
        using var stop = new CancellationTokenSource();
        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        try
        {
            return await RunAsync(Build(args), stop.Token);
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

        void OnSignal(PosixSignalContext context)
        {
            context.Cancel = true;
            stop.Cancel();
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
        builder.AddStop();
        var options = builder.AddCacheOptions();
        builder.AddTelemetry();
        builder.AddKafka(options);
        builder.AddRedis();
        builder.Services.AddPartitions().AddEnqueue().AddConsume().AddPersist().AddFlush();
        builder.AddHttp();
        builder.AddAccess(options);
        builder.AddQuery(options);
        builder.Services.AddStreaming();
        builder.AddPage();
        var app = builder.Build();
        HostSettings.CheckServer(app);
        app.UseAccess(options);
        var data = app.MapProtected(options);
        data.MapQuery();
        data.MapStream();
        app.MapOpen(options);
        app.MapPage();
        return app;
    }

    private static async Task<int> RunAsync(WebApplication app, CancellationToken stop)
    {
        var fatal = app.Services.GetRequiredService<FatalError>();
        try
        {
            await app.StartAsync(CancellationToken.None);
            await app.WaitForShutdownAsync(stop);
            return fatal.ExitCode;
        }
        catch (Exception exception)
        {
            // What has started by then stops as it should.
            await app.StopAsync(CancellationToken.None);
            if (exception is OperationCanceledException && fatal.ExitCode != 0)
            {
                // A worker failed before all had started, and its log tells why.
                return fatal.ExitCode;
            }

            throw;
        }
        finally
        {
            // Kafka's client can hang for good while its handles are freed, and nothing is lost by ending without that.
            await Task.WhenAny(Task.Run(() => app.DisposeAsync().AsTask(), CancellationToken.None), Task.Delay(EndTimeout, TimeProvider.System, CancellationToken.None));
        }
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
