using System.Runtime.CompilerServices;
using Microsoft.Extensions.Logging;

namespace Cache.Client;

/// <content>The stream of updates.</content>
public sealed partial class CacheClient
{
    /// <summary>
    /// Receives updates as they are written, until the token is canceled. A stream that is lost, or that cannot be opened because the service
    /// is down, is opened again with back-off, and resumes after the last update that was received. If that is not possible, a
    /// <see cref="Resync"/> says so. A consumer that is slow loses nothing but time: it is told to resync if it falls too far behind.
    /// </summary>
    /// <param name="query">Which updates; by default, all.</param>
    /// <param name="cancellationToken">Ends the stream.</param>
    /// <exception cref="CacheException">The service refuses the request, and would do so again: status 400, 401, 403 or 404.</exception>
    /// <exception cref="OperationCanceledException">The token was canceled.</exception>
    public async IAsyncEnumerable<CacheUpdate> StreamAsync(StreamQuery? query = null, [EnumeratorCancellation] CancellationToken cancellationToken = default)
    {
        var route = new Route("stream").With("types", query?.Types).With("dimensions", query?.Dimensions).Uri;
        var delay = _settings.MinReconnectDelay;
        string? lastEventId = null;
        while (true)
        {
            CacheException failure;
            var connection = new StreamConnection(_streams, route, lastEventId, _settings.StreamTimeout, _time);
            await using (connection.ConfigureAwait(false))
            {
                while (await connection.NextAsync(cancellationToken).ConfigureAwait(false))
                {
                    (delay, lastEventId) = (_settings.MinReconnectDelay, connection.LastEventId ?? lastEventId);
                    if (connection.Current is { } update)
                    {
                        yield return update;
                    }
                }

                failure = connection.Failure;
            }

            // Half of it is random, so that the clients of a restarted service do not all come back at once.
            var wait = delay * (0.5 + (Random.Shared.NextDouble() / 2));
            wait = failure.RetryAfter > wait ? failure.RetryAfter.Value : wait;
            LogLost(failure.Message, wait.TotalSeconds);
            await Task.Delay(wait, _time, cancellationToken).ConfigureAwait(false);
            delay = delay * 2 < _settings.MaxReconnectDelay ? delay * 2 : _settings.MaxReconnectDelay;
        }
    }

    [LoggerMessage(1, LogLevel.Warning, "The stream of updates is lost: {Reason}. Opening it again in {Seconds:0.0} s.")]
    private partial void LogLost(string reason, double seconds);
}
