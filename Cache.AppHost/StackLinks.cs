using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Cache.AppHost;

/// <summary>Logs where to look, once the service is ready; the rest of the console is Aspire's.</summary>
internal static partial class StackLinks
{
    /// <summary>Logs the links of the service once, at the first time that it is ready.</summary>
    /// <param name="cache">The service.</param>
    /// <param name="kafka">Kafka, whose address is logged with them; null for one that is not started here, whose connection string may have secrets.</param>
    public static void WithLinksInTheLog(this IResourceBuilder<ProjectResource> cache, IResourceWithConnectionString? kafka)
    {
        var logged = 0;
        cache.OnResourceReady(async (resource, ready, stop) =>
        {
            if (Interlocked.Exchange(ref logged, 1) == 0)
            {
                var broker = kafka is null ? null : (await kafka.GetConnectionStringAsync(stop))?.Split(',')[0];
                LogLinks(
                    ready.Services.GetRequiredService<ILoggerFactory>().CreateLogger(typeof(StackLinks).Namespace!), resource.GetEndpoint("http").Url,
                    broker is null ? "" : $" Kafka: {broker}");
            }
        });
    }

    [LoggerMessage(1, LogLevel.Information, "Ready. Live page: {Url}/ API: {Url}/scalar Metrics: {Url}/metrics{Kafka}")]
    private static partial void LogLinks(ILogger logger, string url, string kafka);
}
