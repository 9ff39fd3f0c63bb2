using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// The way to Redis. The first connection is made in the background, since making it blocks for seconds while Redis is
/// away, and neither the start of the service nor an HTTP request may wait for that.
/// </summary>
internal sealed class RedisLink(IServiceProvider services, CacheOptions options)
{
    private readonly Lazy<Task<IConnectionMultiplexer>> _connecting =
        new(() => Task.Run(services.GetRequiredService<IConnectionMultiplexer>));

    /// <summary>The database, once there has been a first attempt to connect.</summary>
    /// <exception cref="OperationCanceledException">That took longer than the caller would wait.</exception>
    public async ValueTask<IDatabase> GetAsync(CancellationToken cancellationToken = default)
    {
        var connecting = _connecting.Value;
        var multiplexer = connecting.IsCompletedSuccessfully ? connecting.Result : await connecting.WaitAsync(cancellationToken);
        return multiplexer.GetDatabase(options.RedisDb);
    }

    /// <summary>Whether Redis answers a PING within a second.</summary>
    public async Task<bool> AnswersAsync(CancellationToken cancellationToken = default)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        deadline.CancelAfter(TimeSpan.FromSeconds(0.75));
        try
        {
            var database = await GetAsync(deadline.Token);
            await database.PingAsync().WaitAsync(deadline.Token);
            return true;
        }
        catch (Exception exception) when (RedisErrors.IsAway(exception))
        {
            return false;
        }
    }
}
