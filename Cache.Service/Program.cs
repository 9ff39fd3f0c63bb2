using System.Net.Sockets;
using System.Runtime.InteropServices;
using Cache.Service.Consume;
using Cache.Service.Enqueue;
using Cache.Service.Flush;
using Cache.Service.Hosting;
using Cache.Service.Http;
using Cache.Service.Http.Access;
using Cache.Service.Http.Fleet;
using Cache.Service.Http.Query;
using Cache.Service.Http.Streaming;
using Cache.Service.Options;
using Cache.Service.Page;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Service.Telemetry;

namespace Cache.Service;

/// <summary>Keeps recent metric windows from Kafka in Redis and serves them over HTTP.</summary>
public static partial class Program
{
    /// <summary>For the cleanup once everything has stopped: freeing handles, sending telemetry.</summary>
    internal static readonly TimeSpan DisposeTimeout = TimeSpan.FromSeconds(5);

    // Until the process is gone: a signal without a handler would kill it while it ends, whatever it has to report.
    private static readonly CancellationTokenSource Stopping = new();
    private static readonly List<PosixSignalRegistration> Signals = [];

    /// <summary>Runs the service until it is stopped; <c>--help</c> and <c>--version</c> only print.</summary>
    /// <returns>0; or 1 if the configuration is invalid, a port is in use, or a worker failed permanently.</returns>
    public static async Task<int> Main(string[] args)
    {
        if (CacheCommand.Read(args).Answer(Console.Out))
        {
            return 0;
        }

        // Handled from here on: a host handles signals only once it starts, and fails on one that arrives during startup.
        Signals.AddRange([PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal), PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal)]);
        try
        {
            return await RunAsync(Build(args), Stopping.Token);
        }
        catch (ConfigurationException exception)
        {
            await Console.Error.WriteLineAsync(exception.Message);
            return 1;
        }
        catch (IOException exception)
        {
            await Console.Error.WriteLineAsync(exception.Message);
            return 1;
        }

        void OnSignal(PosixSignalContext context)
        {
            context.Cancel = true;
            Stopping.Cancel();
        }
    }

    /// <summary>Checks the whole configuration, and builds the service without starting it.</summary>
    /// <exception cref="ConfigurationException">At least one key is invalid; the message lists every error.</exception>
    public static WebApplication Build(string[] args)
    {
        var arguments = CacheCommand.Read(args);
        var builder = CreateBuilder([.. arguments.Keys.Select(key => $"--{key.Key}={key.Value}")]);
        try
        {
            return Build(builder, arguments.Errors);
        }
        catch (InvalidOperationException exception) when (HostSettings.IsOfTheBinder(exception))
        {
            throw new ConfigurationException([Secrets.Hide(exception.Message, builder.Configuration)]);
        }
    }

    private static WebApplication Build(WebApplicationBuilder builder, IEnumerable<string> errors)
    {
        builder.AddServiceDefaults();
        builder.AddStop();
        var options = builder.AddCacheOptions(errors);
        builder.AddTelemetry();
        builder.AddKafka(options);
        builder.AddRedis();
        builder.ListenByDefault();
        builder.Services.AddPartitions().AddEnqueue().AddConsume().AddPersist().AddFlush().AddHttp().AddFleet().AddStreaming();
        builder.AddAccess(options);
        builder.AddQuery(options);
        builder.AddPage();
        var app = builder.Build();
        HostSettings.CheckServer(app);
        app.UseAccess(options);
        var data = app.MapProtected(options);
        data.MapQuery();
        data.MapFleet();
        data.MapStream();
        app.MapOpen(options);
        app.MapPage();
        var readiness = app.Services.GetRequiredService<ReadinessMonitor>();
        app.LogStart(options, () => readiness.Reasons, readiness.Changed);
        return app;
    }

    /// <summary>Runs the service until it is stopped.</summary>
    /// <returns>0; or 1 if it could not start, or a worker failed permanently.</returns>
    /// <exception cref="IOException">It cannot listen; the message says why, and what to do about it.</exception>
    internal static async Task<int> RunAsync(WebApplication app, CancellationToken stop)
    {
        var fatal = app.Services.GetRequiredService<FatalError>();
        var hasWorkers = false;
        try
        {
            // Before the start, because a host that cannot create its workers cannot be stopped either.
            app.Services.GetServices<IHostedService>();
            hasWorkers = true;
            await app.StartAsync(CancellationToken.None);
            await app.WaitForShutdownAsync(stop);
            return fatal.ExitCode;
        }
        catch (Exception exception)
        {
            if (hasWorkers)
            {
                // Stop cleanly whatever has already started.
                await app.StopAsync(CancellationToken.None);
            }

            if (exception is IOException or SocketException)
            {
                throw new IOException(ListenErrors.Explain(exception, app.Configuration), exception);
            }

            // If a worker failed before startup was complete, it has logged why.
            if (exception is not OperationCanceledException || fatal.ExitCode == 0)
            {
                LogNotStarted(app.Logger, exception);
            }

            return 1;
        }
        finally
        {
            // Kafka's client can hang forever while its handles are freed, and exiting without that loses nothing.
            await Task.WhenAny(Task.Run(() => app.DisposeAsync().AsTask(), CancellationToken.None), Task.Delay(DisposeTimeout, TimeProvider.System, CancellationToken.None));
        }
    }

    private static WebApplicationBuilder CreateBuilder(string[] args)
    {
        try
        {
            // appsettings.json is next to the program, whatever the working directory.
            return WebApplication.CreateBuilder(new WebApplicationOptions
            {
                Args = args,
                ApplicationName = typeof(Program).Assembly.GetName().Name,
                ContentRootPath = AppContext.BaseDirectory,
            });
        }
        catch (InvalidDataException exception)
        {
            // The innermost exception contains the line number.
            throw new ConfigurationException([$"{exception.Message.TrimEnd('.')}: {exception.GetBaseException().Message}"]);
        }
    }

    [LoggerMessage(EventIds.Host + 3, LogLevel.Critical, "The service could not start; it exits with code 1.")]
    private static partial void LogNotStarted(ILogger logger, Exception exception);
}
