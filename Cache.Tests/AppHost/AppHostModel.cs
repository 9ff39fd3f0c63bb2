using Aspire.Hosting;
using Aspire.Hosting.ApplicationModel;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cache.Tests.AppHost;

/// <summary>What can be asked of the AppHost's model.</summary>
internal static class AppHostModel
{
    private static readonly TimeSpan TestTimeout = TimeSpan.FromMinutes(2);

    /// <summary>The environment variables of a resource, evaluated.</summary>
    public static async Task<Dictionary<string, string>> EnvironmentAsync(IResource resource, DistributedApplicationExecutionContext context)
    {
        using var deadline = new CancellationTokenSource(TestTimeout);
        var result = await ExecutionConfigurationBuilder.Create(resource)
            .WithEnvironmentVariablesConfig()
            .WithArgumentsConfig()
            .BuildAsync(context, NullLogger.Instance, deadline.Token);
        Assert.Null(result.Exception);
        return result.EnvironmentVariables.ToDictionary();
    }
}
