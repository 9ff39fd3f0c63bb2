using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;

namespace Cache.Tests.ServiceDefaults;

internal static class Hosts
{
    /// <summary>A host builder with only these configuration keys.</summary>
    public static HostApplicationBuilder Builder(params (string Key, string? Value)[] configuration)
    {
        var builder = Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(configuration.Select(pair => KeyValuePair.Create(pair.Key, pair.Value)));
        return builder;
    }

    /// <summary>The report of one health check.</summary>
    public static async Task<HealthReportEntry> CheckAsync(this IServiceProvider services, string check)
    {
        var report = await services.GetRequiredService<HealthCheckService>().CheckHealthAsync(c => c.Name == check);
        return Assert.Single(report.Entries).Value;
    }
}
