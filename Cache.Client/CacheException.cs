using System.Net;
using System.Text.Json;

namespace Cache.Client;

/// <summary>
/// A request failed: the service answered with an error (<see cref="Status"/>), or did not answer at all (<see cref="Status"/> is null, and
/// <see cref="Exception.InnerException"/> says why). Where it is worth it, it was retried before.
/// </summary>
public sealed class CacheException : Exception
{
    internal CacheException(HttpStatusCode? status, string title, string? detail = null, TimeSpan? retryAfter = null, Exception? inner = null)
        : base(Sentence(status, title, detail), inner) => (Status, Title, Detail, RetryAfter) = (status, title, detail, retryAfter);

    /// <summary>The status of the answer; null if there was none, or if it could not be read.</summary>
    public HttpStatusCode? Status { get; }

    /// <summary>What kind of error it is.</summary>
    public string Title { get; }

    /// <summary>What is wrong with this request, and what to do; null if the service did not say.</summary>
    public string? Detail { get; }

    /// <summary>How long to wait before the next attempt; null if the service did not say.</summary>
    public TimeSpan? RetryAfter { get; }

    /// <summary>Reads the answer of a request that failed.</summary>
    internal static async Task<CacheException> OfAsync(HttpResponseMessage answer, TimeProvider time, CancellationToken cancellationToken)
    {
        Problem? problem = null;
        try
        {
            if (answer.Content.Headers.ContentType?.MediaType is "application/problem+json")
            {
                var body = await answer.Content.ReadAsStreamAsync(cancellationToken).ConfigureAwait(false);
                await using (body.ConfigureAwait(false))
                {
                    problem = await JsonSerializer.DeserializeAsync(body, ClientJson.Default.Problem, cancellationToken).ConfigureAwait(false);
                }
            }
        }
        catch (Exception exception) when (exception is JsonException or HttpRequestException or IOException)
        {
            // The status is what matters.
        }

        return new(answer.StatusCode, problem?.Title ?? answer.ReasonPhrase ?? "Error", problem?.Detail, RetryAfterOf(answer, time));
    }

    /// <summary>A failure to get an answer.</summary>
    internal static CacheException Of(Exception exception, Uri? address) =>
        new(null, $"No usable answer from {address}", exception.Message, inner: exception);

    private static TimeSpan? RetryAfterOf(HttpResponseMessage answer, TimeProvider time) => answer.Headers.RetryAfter switch
    {
        { Delta: { } delta } => delta,
        { Date: { } date } when date - time.GetUtcNow() is var wait => wait > TimeSpan.Zero ? wait : TimeSpan.Zero,
        _ => null,
    };

    private static string Sentence(HttpStatusCode? status, string title, string? detail) =>
        (status is null ? title : $"{title} ({(int)status})") + (detail is null ? "" : $": {detail}");
}
