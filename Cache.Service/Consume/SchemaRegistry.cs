using System.Threading.Channels;
using Cache.Service.Decode;
using Cache.Service.Hosting;
using Cache.Service.Options;
using Cache.Service.Telemetry;

namespace Cache.Service.Consume;

/// <summary>
/// Fetches the schemas that partitions wait for, beside the consume loop. A registry that does not answer is asked again for as long as
/// anything waits: a row is never rejected because of it.
/// </summary>
internal sealed partial class SchemaRegistry(
    SchemaClient client, Schemas schemas, CacheOptions options, ConsumeMetrics metrics, TimeProvider time, FatalError fatal, ILogger<SchemaRegistry> logger)
    : Worker(fatal, time, logger)
{
    private static readonly TimeSpan FirstRetry = TimeSpan.FromMilliseconds(100);
    private static readonly TimeSpan LongestRetry = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan LogInterval = TimeSpan.FromSeconds(30);

    private readonly Channel<bool> _wake = Channel.CreateBounded<bool>(new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite });
    private volatile IReadOnlyCollection<int> _wanted = [];
    private volatile Trouble? _trouble;

    /// <summary>The schemas fetched so far.</summary>
    public Schemas Schemas => schemas;

    /// <summary>Why rows wait for the registry; null if none do, or it has just been asked.</summary>
    public string? Obstacle => _wanted.Count > 0 && _trouble is { } trouble ? $"the schema registry at {options.SchemaRegistryUrl} does not answer: {trouble.Error}" : null;

    /// <summary>Says which schemas partitions wait for; called by the consume loop, again as long as any does.</summary>
    public void Want(IReadOnlyCollection<int> ids)
    {
        _wanted = ids;
        if (ids.Count > 0)
        {
            _wake.Writer.TryWrite(true);
        }
    }

    /// <summary>Fetches a schema, without retrying.</summary>
    /// <returns>True.</returns>
    /// <exception cref="IOException">The registry does not answer.</exception>
    public async Task<bool> LearnAsync(int id)
    {
        schemas.Add(id, await client.FetchAsync(id));
        return true;
    }

    /// <inheritdoc/>
    protected internal override async Task RunAsync(CancellationToken stoppingToken)
    {
        while (true)
        {
            await _wake.Reader.ReadAsync(stoppingToken);
            var retry = FirstRetry;
            while (_wanted.Where(id => schemas.Find(id) is null).ToList() is { Count: > 0 } missing)
            {
                var errors = await Task.WhenAll(missing.Select(TryLearnAsync)).WaitAsync(stoppingToken);
                if (Array.Find(errors, error => error is not null) is { } error)
                {
                    Note(error, missing);
                    await Task.Delay(retry * (0.5 + Random.Shared.NextDouble()), Time, stoppingToken);
                    retry = retry * 2 < LongestRetry ? retry * 2 : LongestRetry;
                }
                else if (_trouble is { } trouble)
                {
                    LogAnswers(options.SchemaRegistryUrl, Time.GetElapsedTime(trouble.Since).TotalSeconds);
                    _trouble = null;
                }
            }

            // Whoever waited may have lost the partition.
            _trouble = null;
        }
    }

    private async Task<string?> TryLearnAsync(int id)
    {
        try
        {
            await LearnAsync(id);
            return null;
        }
        catch (IOException exception)
        {
            metrics.SchemaFailed();
            return exception.Message;
        }
    }

    private void Note(string error, IEnumerable<int> missing)
    {
        var now = Time.GetTimestamp();
        var (since, logged) = _trouble is { } before ? (before.Since, before.LoggedAt) : (now, (long?)null);
        if (logged is null)
        {
            LogNoAnswer(options.SchemaRegistryUrl, error, string.Join(", ", missing));
        }
        else if (Time.GetElapsedTime(logged.Value, now) >= LogInterval)
        {
            LogStillNoAnswer(options.SchemaRegistryUrl, Time.GetElapsedTime(since, now).TotalSeconds, error, string.Join(", ", missing));
        }
        else
        {
            now = logged.Value;
        }

        _trouble = new(error, since, now);
    }

    [LoggerMessage(EventIds.Consume + 70, LogLevel.Warning,
        "The schema registry at {Url} does not answer: {Error}. Partitions wait for schema {Ids}; not ready until it does. Retrying.")]
    private partial void LogNoAnswer(string url, string error, string ids);

    [LoggerMessage(EventIds.Consume + 71, LogLevel.Warning,
        "The schema registry at {Url} has not answered for {Seconds:F0} s: {Error}. Partitions wait for schema {Ids}. Retrying.")]
    private partial void LogStillNoAnswer(string url, double seconds, string error, string ids);

    [LoggerMessage(EventIds.Consume + 72, LogLevel.Information, "The schema registry at {Url} answers again, after {Seconds:F0} s.")]
    private partial void LogAnswers(string url, double seconds);

    /// <summary>Why the registry did not answer, since when, and when that was last logged (<see cref="TimeProvider.GetTimestamp"/>).</summary>
    private sealed record Trouble(string Error, long Since, long LoggedAt);
}
