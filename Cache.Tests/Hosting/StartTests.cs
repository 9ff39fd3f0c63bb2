using Cache.Service.Hosting;
using Cache.Tests.EndToEnd;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Cache.Tests.Hosting;

/// <summary>What happens if the service cannot start.</summary>
public sealed class StartTests
{
    [Fact]
    public async Task FailureToStart_IsLoggedWithItsStack_AndEndsWithOne()
    {
        var log = new LogCapture();
        var builder = WebApplication.CreateBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Logging.ClearProviders().AddProvider(log);
        builder.AddStop();
        builder.Services.AddSingleton<IHostedService>(_ => throw new InvalidOperationException("planted"));

        Assert.Equal(1, await Service.Program.RunAsync(builder.Build(), TestContext.Current.CancellationToken));

        var line = Assert.Single(log.Lines, line => line.Contains("The service could not start", StringComparison.Ordinal));
        Assert.Contains("planted", line, StringComparison.Ordinal);
        Assert.Contains(nameof(FailureToStart_IsLoggedWithItsStack_AndEndsWithOne), line, StringComparison.Ordinal);
    }
}
