using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Cache.Client;

/// <summary>Healthy if the service can serve reads, that is, if it answers and its Redis does (<c>/healthz</c>).</summary>
/// <param name="http">Without retries: a health check reports what is.</param>
internal sealed class CacheHealthCheck(HttpClient http) : IHealthCheck
{
    private static readonly Uri Route = new("healthz", UriKind.Relative);

    /// <inheritdoc/>
    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        try
        {
            using var answer = await http.GetAsync(Route, cancellationToken).ConfigureAwait(false);
            return answer.IsSuccessStatusCode ? HealthCheckResult.Healthy()
                : new(context.Registration.FailureStatus, $"Cache at {http.BaseAddress} answers with {(int)answer.StatusCode} on /{Route}: {await answer.Content.ReadAsStringAsync(cancellationToken).ConfigureAwait(false)}");
        }
        catch (Exception exception) when (exception is HttpRequestException or IOException)
        {
            return new(context.Registration.FailureStatus, $"Cache at {http.BaseAddress} does not answer", exception);
        }
    }
}
