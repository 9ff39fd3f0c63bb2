using System.Net;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Polly;

namespace Cache.Client;

/// <summary>
/// Reads Cache: recent windows of each metric type, summaries, sessions, and the stream of updates. Thread-safe; one instance serves a
/// whole program. Every method throws <see cref="CacheException"/> if the service answers with an error or not at all, and
/// <see cref="OperationCanceledException"/> only if its token is canceled.
/// </summary>
public sealed partial class CacheClient
{
    private readonly HttpClient _reads;
    private readonly HttpClient _streams;
    private readonly CacheClientSettings _settings;
    private readonly TimeProvider _time;
    private readonly ILogger _logger;

    /// <summary>Creates a client without a host; with one, use <c>builder.AddCacheClient</c>, which adds retries, service discovery and telemetry.</summary>
    /// <param name="http">Its base address is that of the service. Its key, if one is needed, is a default header, <c>X-Api-Key</c>.</param>
    public CacheClient(HttpClient http)
        : this(http, http, new(), TimeProvider.System, NullLogger.Instance)
    {
    }

    internal CacheClient(HttpClient reads, HttpClient streams, CacheClientSettings settings, TimeProvider time, ILogger logger)
    {
        ArgumentNullException.ThrowIfNull(reads);
        if (reads.BaseAddress is null)
        {
            throw new ArgumentException("The client has no base address; set it to the service's.", nameof(reads));
        }

        (_reads, _streams, _settings, _time, _logger) = (reads, streams, settings, time, logger);
    }

    /// <summary>Reads the newest window of a metric type; null if there is none.</summary>
    /// <param name="type">The name of the type, such as <c>event</c>.</param>
    /// <param name="dimensions">The dimensions to read; all if null or empty.</param>
    /// <param name="cancellationToken">When the caller stops waiting.</param>
    /// <exception cref="CacheException">The request failed; with status 404, the service has no such type.</exception>
    public async Task<MetricWindow?> GetLatestAsync(string type, IReadOnlyCollection<string>? dimensions = null, CancellationToken cancellationToken = default) =>
        await GetAsync(Metrics(type, "latest").With("fields", dimensions), window => MetricWindow.Of(type, window), cancellationToken).ConfigureAwait(false);

    /// <summary>Reads the recent windows of a metric type, newest first.</summary>
    /// <param name="type">The name of the type, such as <c>event</c>.</param>
    /// <param name="query">Which windows; by default, the 20 newest.</param>
    /// <param name="cancellationToken">When the caller stops waiting.</param>
    /// <exception cref="CacheException">The request failed.</exception>
    public Task<IReadOnlyList<MetricWindow>> GetWindowsAsync(string type, WindowQuery? query = null, CancellationToken cancellationToken = default) =>
        GetAsync<IReadOnlyList<MetricWindow>>(
            Metrics(type, "windows").With("limit", query?.Limit).With("from", query?.From).With("to", query?.To).With("fields", query?.Dimensions),
            answer => [.. answer.GetProperty("windows").EnumerateArray().Select(window => MetricWindow.Of(type, window)!)],
            cancellationToken);

    /// <summary>Reads the windows of a metric type, rolled up.</summary>
    /// <param name="type">The name of the type, such as <c>event</c>.</param>
    /// <param name="query">Which windows, and how; by default, all that the service keeps.</param>
    /// <param name="cancellationToken">When the caller stops waiting.</param>
    /// <exception cref="CacheException">The request failed.</exception>
    /// <exception cref="ArgumentException">A duration is not a whole number of seconds.</exception>
    public Task<MetricSummary> GetSummaryAsync(string type, SummaryQuery? query = null, CancellationToken cancellationToken = default) =>
        GetAsync(
            Metrics(type, "summary").With("last", query?.Last).With("windows", query?.Windows).With("from", query?.From).With("to", query?.To)
                .With("step", query?.Step).With("top", query?.Top).With("by", query?.By).With("fields", query?.Dimensions),
            ClientJson.Default.MetricSummary,
            cancellationToken);

    /// <summary>Reads the metric types that the service is configured with, in the order in which they are shown.</summary>
    /// <param name="cancellationToken">When the caller stops waiting.</param>
    /// <exception cref="CacheException">The request failed.</exception>
    public async Task<IReadOnlyList<MetricType>> GetTypesAsync(CancellationToken cancellationToken = default) =>
        (await GetAsync(new("types"), ClientJson.Default.TypesAnswer, cancellationToken).ConfigureAwait(false)).Types;

    /// <summary>Reads the active sessions, latest first; none if the service does not read sessions.</summary>
    /// <param name="limit">Maximum number of sessions, 1 to 1000; 20 by default.</param>
    /// <param name="cancellationToken">When the caller stops waiting.</param>
    /// <exception cref="CacheException">The request failed.</exception>
    public async Task<IReadOnlyList<Session>> GetActiveSessionsAsync(int? limit = null, CancellationToken cancellationToken = default) =>
        (await GetAsync(new Route("sessions/active").With("limit", limit), ClientJson.Default.SessionsAnswer, cancellationToken).ConfigureAwait(false)).Sessions;

    private static Route Metrics(string type, string route)
    {
        ArgumentException.ThrowIfNullOrEmpty(type);
        return new($"metrics/{Uri.EscapeDataString(type)}/{route}");
    }

    private Task<T> GetAsync<T>(Route route, JsonTypeInfo<T> type, CancellationToken cancellationToken) =>
        GetAsync(route, answer => answer.Deserialize(type) ?? throw new JsonException("The answer is null."), cancellationToken);

    private async Task<T> GetAsync<T>(Route route, Func<JsonElement, T> read, CancellationToken cancellationToken)
    {
        try
        {
            using var answer = await _reads.GetAsync(route.Uri, cancellationToken).ConfigureAwait(false);
            if (answer.StatusCode != HttpStatusCode.OK)
            {
                throw await CacheException.OfAsync(answer, _time, cancellationToken).ConfigureAwait(false);
            }

            var body = await answer.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
            await using (body.ConfigureAwait(false))
            {
                using var json = await JsonDocument.ParseAsync(body, default, cancellationToken).ConfigureAwait(false);
                return read(json.RootElement);
            }
        }
        catch (Exception exception) when (IsFailure(exception, cancellationToken))
        {
            throw CacheException.Of(exception, new Uri(_reads.BaseAddress!, route.Uri));
        }
    }

    /// <summary>Whether an exception means that there was no usable answer: no connection, a time limit, an open circuit, or not our JSON.</summary>
    private static bool IsFailure(Exception exception, CancellationToken cancellationToken) =>
        exception is HttpRequestException or IOException or ExecutionRejectedException or JsonException or KeyNotFoundException or InvalidOperationException
        || (exception is OperationCanceledException && !cancellationToken.IsCancellationRequested);
}
