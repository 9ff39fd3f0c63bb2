using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using StackExchange.Redis;

namespace Microsoft.Extensions.Hosting;

/// <summary>Connects to Redis when the host starts, in the background: the start does not wait for Redis.</summary>
internal sealed partial class RedisActivation(IServiceProvider services, ILogger<RedisActivation> logger) : BackgroundService
{
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        try
        {
            // Connecting blocks and cannot be cancelled; a host that stops goes without it.
            await Task.Run(services.GetRequiredService<IConnectionMultiplexer>, stoppingToken).WaitAsync(stoppingToken);
        }
        catch (Exception exception) when (exception is not OperationCanceledException)
        {
            NotConnected(exception);
        }
    }

    [LoggerMessage(1, LogLevel.Error, "Redis could not be connected at start; its first use tries again")]
    private partial void NotConnected(Exception exception);
}
