using System.Net;
using System.Net.Http.Headers;
using System.Net.ServerSentEvents;
using System.Text.Json;
using Polly;

namespace Cache.Client;

/// <summary>One connection of a stream, opened by the first <see cref="NextAsync"/>.</summary>
/// <param name="http">The client; no time limit of its own may end an open connection.</param>
/// <param name="route">The address.</param>
/// <param name="lastEventId">Where to resume; null to start.</param>
/// <param name="timeout">How long the service may be silent.</param>
/// <param name="time">The clock.</param>
internal sealed class StreamConnection(HttpClient http, Uri route, string? lastEventId, TimeSpan timeout, TimeProvider time) : IAsyncDisposable
{
    private readonly CancellationTokenSource _silence = new(Timeout.InfiniteTimeSpan, time);
    private HttpResponseMessage? _answer;
    private SseParser<CacheUpdate?>? _parser;
    private IAsyncEnumerator<SseItem<CacheUpdate?>>? _items;
    private CancellationTokenSource? _either;

    /// <summary>The update last received; null for a heartbeat, or an event that this version does not know.</summary>
    public CacheUpdate? Current { get; private set; }

    /// <summary>The id of the last event that had one; null before.</summary>
    public string? LastEventId => _parser?.LastEventId is { Length: > 0 } id ? id : null;

    /// <summary>Why the stream ended.</summary>
    public CacheException Failure { get; private set; } = new(null, "The service closed it");

    /// <summary>Waits for the next event; returns false if the connection is lost, or could not be opened.</summary>
    /// <exception cref="CacheException">The service refuses the stream, and would do so again.</exception>
    /// <exception cref="OperationCanceledException">The token was canceled.</exception>
    public async ValueTask<bool> NextAsync(CancellationToken cancellationToken)
    {
        try
        {
            // Not while the consumer is busy: that would be its silence, not the service's.
            _silence.CancelAfter(timeout);
            if (_items is null && !await OpenAsync(cancellationToken).ConfigureAwait(false))
            {
                return false;
            }

            if (!await _items!.MoveNextAsync().ConfigureAwait(false))
            {
                return false;
            }

            Current = _items.Current.Data;
            return true;
        }
        catch (OperationCanceledException) when (cancellationToken.IsCancellationRequested)
        {
            throw new OperationCanceledException(cancellationToken);
        }
        catch (OperationCanceledException exception)
        {
            Failure = new(null, $"The service was silent for {timeout.TotalSeconds:0.#} s", inner: exception);
            return false;
        }
        catch (Exception exception) when (exception is HttpRequestException or IOException or ExecutionRejectedException)
        {
            Failure = CacheException.Of(exception, new Uri(http.BaseAddress!, route));
            return false;
        }
        finally
        {
            _silence.CancelAfter(Timeout.InfiniteTimeSpan);
        }
    }

    public async ValueTask DisposeAsync()
    {
        // First: an enumerator that waits for more would otherwise wait for the rest of the answer.
        _answer?.Dispose();
        if (_items is not null)
        {
            await _items.DisposeAsync().ConfigureAwait(false);
        }

        _either?.Dispose();
        _silence.Dispose();
    }

    private async Task<bool> OpenAsync(CancellationToken cancellationToken)
    {
        _either = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, _silence.Token);
        using var request = new HttpRequestMessage(HttpMethod.Get, route);
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("text/event-stream"));
        if (lastEventId is not null)
        {
            request.Headers.Add("Last-Event-ID", lastEventId);
        }

        _answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, _either.Token).ConfigureAwait(false);
        if (_answer.StatusCode != HttpStatusCode.OK)
        {
            Failure = await CacheException.OfAsync(_answer, time, _either.Token).ConfigureAwait(false);
            return _answer.StatusCode is HttpStatusCode.RequestTimeout or HttpStatusCode.TooManyRequests or >= HttpStatusCode.InternalServerError ? false : throw Failure;
        }

        if (_answer.Content.Headers.ContentType?.MediaType is not "text/event-stream" and var type)
        {
            throw new CacheException(HttpStatusCode.OK, "Not a stream of updates", $"{request.RequestUri} answered with {type ?? "no content type"}. Check the address of the service.");
        }

        _parser = SseParser.Create(await _answer.Content.ReadAsStreamAsync(_either.Token).ConfigureAwait(false), Read);
        _items = _parser.EnumerateAsync(_either.Token).GetAsyncEnumerator(CancellationToken.None);
        return true;
    }

    private static CacheUpdate? Read(string type, ReadOnlySpan<byte> data)
    {
        if (type is not (SseParser.EventTypeDefault or "resync"))
        {
            return null;
        }

        try
        {
            var json = new Utf8JsonReader(data);
            using var document = JsonDocument.ParseValue(ref json);
            var update = document.RootElement;
            if (type is "resync")
            {
                return new Resync(update.GetProperty("reason").GetString() ?? "");
            }

            var (name, fields) = (update.GetProperty("type").GetString()!, update.GetProperty("fields"));
            return name == StreamQuery.Sessions
                ? new SessionUpdate(fields.Deserialize(ClientJson.Default.Session)! with { Id = update.GetProperty("session_id").GetString()! })
                : new WindowUpdate(MetricWindow.Of(name, update.GetProperty("window_start"), fields));
        }
        catch (Exception exception) when (exception is JsonException or KeyNotFoundException or InvalidOperationException or FormatException or ArgumentOutOfRangeException)
        {
            // Another program may publish updates that lack something; the service passes them on.
            return null;
        }
    }
}
