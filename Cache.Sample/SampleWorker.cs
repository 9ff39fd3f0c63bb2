using System.Diagnostics;
using Cache.Client;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Cache.Sample;

/// <summary>
/// Follows the windows of every metric type. At the start, and whenever updates may have been missed, it reads the latest windows; from then
/// on, the stream says what changes. The first update of a window means that the one before is complete: it is read and logged.
/// </summary>
internal sealed partial class SampleWorker(CacheClient cache, IHostEnvironment environment, ILogger<SampleWorker> logger) : BackgroundService
{
    // Its spans hold those of the reads; AddServiceDefaults listens to a source of the application's name.
    private readonly ActivitySource _spans = new(environment.ApplicationName);
    private readonly Dictionary<string, DateTimeOffset> _newest = [];

    /// <inheritdoc/>
    public override void Dispose()
    {
        _spans.Dispose();
        base.Dispose();
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        await foreach (var update in cache.StreamAsync(cancellationToken: stoppingToken))
        {
            try
            {
                await (update switch
                {
                    Resync resync => ReadAllAsync(resync.Reason, stoppingToken),
                    WindowUpdate { Window: var window } when IsNew(window) => ReadCompleteAsync(window, stoppingToken),
                    _ => Task.CompletedTask,
                });
            }
            catch (CacheException exception)
            {
                // The client has retried, and the next window is read anyway.
                LogFailed(exception.Message);
            }
        }
    }

    private async Task ReadAllAsync(string reason, CancellationToken stoppingToken)
    {
        using var span = _spans.StartActivity("resync");
        LogResync(reason);
        foreach (var type in await cache.GetTypesAsync(stoppingToken))
        {
            if (await cache.GetLatestAsync(type.Name, cancellationToken: stoppingToken) is { } latest)
            {
                _newest[type.Name] = latest.Start;
            }
        }
    }

    private bool IsNew(MetricWindow window)
    {
        var isNew = _newest.TryGetValue(window.Type, out var newest) && window.Start > newest;
        _newest[window.Type] = newest > window.Start ? newest : window.Start;
        return isNew;
    }

    private async Task ReadCompleteAsync(MetricWindow next, CancellationToken stoppingToken)
    {
        using var span = _spans.StartActivity("window");
        var complete = await cache.GetWindowsAsync(next.Type, new() { To = next.Start.AddMilliseconds(-1), Limit = 1 }, stoppingToken);
        var summary = await cache.GetSummaryAsync(next.Type, new() { Last = TimeSpan.FromMinutes(15), Top = 3 }, stoppingToken);
        var measure = summary.Rollups.Keys.First();
        foreach (var window in complete)
        {
            LogComplete(next.Type, window.Start, window.Dimensions.Count, measure, string.Join(", ", summary.Dimensions.Select(one => $"{one.Dimension} {one.Measures.GetValueOrDefault(measure):0.#}")));
        }
    }

    [LoggerMessage(1, LogLevel.Information, "Reading the latest windows ({Reason}).")]
    private partial void LogResync(string reason);

    [LoggerMessage(2, LogLevel.Information, "{Type} {Start:HH:mm:ss} is complete, with {Dimensions} dimensions. Largest {Measure} of the last 15 min: {Largest}.")]
    private partial void LogComplete(string type, DateTimeOffset start, int dimensions, string measure, string largest);

    [LoggerMessage(3, LogLevel.Warning, "Not read: {Reason}")]
    private partial void LogFailed(string reason);
}
