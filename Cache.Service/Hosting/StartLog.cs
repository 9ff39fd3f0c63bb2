using System.Globalization;
using Cache.Service.Options;
using Cache.Service.Telemetry;

namespace Cache.Service.Hosting;

/// <summary>What the log says about a start: what starts, with which settings, where to look at it, and, once, that it is ready.</summary>
internal static partial class StartLog
{
    /// <summary>Logs what is about to start, and the rest as soon as it is true.</summary>
    /// <param name="app">The service, built but not started.</param>
    /// <param name="options">Its configuration.</param>
    /// <param name="reasons">Why the service is not ready; empty when it is.</param>
    /// <param name="changed">Raised when the reasons change.</param>
    public static void LogStart(this WebApplication app, CacheOptions options, Func<IReadOnlyList<string>> reasons, Signal changed)
    {
        var time = app.Services.GetRequiredService<TimeProvider>();
        var given = app.Services.GetRequiredService<GivenSettings>();
        var since = time.GetTimestamp();
        LogStarting(app.Logger, BuildInfo.Version, options.KafkaBootstrapServers, options.ConsumerGroup, string.Join(", ", options.Topics), options.RedisServers, options.RedisDb);
        LogSettings(app.Logger, given.Settings.Count == 0 ? "all defaults" : string.Join("; ", given.Settings));
        if (given.UnknownVariables.Count > 0)
        {
            LogUnknownVariables(app.Logger, string.Join(", ", given.UnknownVariables));
        }

        app.Lifetime.ApplicationStarted.Register(() =>
        {
            if (app.Urls.FirstOrDefault() is { } url)
            {
                LogLinks(app.Logger, Reachable(url));
            }

            _ = LogReadyAsync();
        });

        async Task LogReadyAsync()
        {
            while (!app.Lifetime.ApplicationStopping.IsCancellationRequested)
            {
                var next = changed.Next;
                if (reasons().Count == 0)
                {
                    LogReady(app.Logger, time.GetElapsedTime(since).TotalSeconds);
                    return;
                }

                await next;
            }
        }
    }

    /// <summary>A listening address as a browser on the same machine opens it: a wildcard becomes localhost.</summary>
    internal static string Reachable(string url)
    {
        var address = BindingAddress.Parse(url);
        return address.IsUnixPipe || address.IsNamedPipe
            ? url.TrimEnd('/')
            : string.Create(CultureInfo.InvariantCulture, $"{address.Scheme}://{(address.Host is "*" or "+" or "0.0.0.0" or "[::]" ? "localhost" : address.Host)}:{address.Port}");
    }

    [LoggerMessage(EventIds.Host + 4, LogLevel.Information, "Cache {Version} starts: Kafka at {Servers}, group {Group}, topics {Topics}; Redis at {Redis}, database {Database}.")]
    private static partial void LogStarting(ILogger logger, string version, string servers, string group, string topics, string redis, int database);

    [LoggerMessage(EventIds.Host + 5, LogLevel.Information, "Settings: {Settings}.")]
    private static partial void LogSettings(ILogger logger, string settings);

    [LoggerMessage(EventIds.Host + 6, LogLevel.Warning, "Environment variables that look like settings, but are not, have no effect: {Variables}.")]
    private static partial void LogUnknownVariables(ILogger logger, string variables);

    [LoggerMessage(EventIds.Host + 7, LogLevel.Information, "Live page: {Url}/ API: {Url}/scalar Readiness: {Url}/readyz Metrics: {Url}/metrics")]
    private static partial void LogLinks(ILogger logger, string url);

    [LoggerMessage(EventIds.Host + 8, LogLevel.Information, "Ready after {Seconds:F1} s.")]
    private static partial void LogReady(ILogger logger, double seconds);
}
