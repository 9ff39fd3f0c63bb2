using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// The TTL that a key had before a write gave it ours, asked for in the pipeline of that write. A key of another type is
/// somebody else's: it gets back what it had.
/// </summary>
/// <param name="Key">The key.</param>
/// <param name="Before">How long it was to stay; null for ever, or when it was not there.</param>
internal sealed record OwnTtl(RedisKey Key, Task<TimeSpan?> Before)
{
    /// <summary>Asks for it, ahead of the command that changes it.</summary>
    public static OwnTtl Ask(IBatch pipeline, RedisKey key) => new(key, pipeline.KeyTimeToLiveAsync(key));

    /// <summary>Gives it back.</summary>
    public Task RestoreAsync(IDatabase database) => Before is { IsCompletedSuccessfully: true, Result: { } ttl }
        ? database.KeyExpireAsync(Key, ttl)
        : database.KeyPersistAsync(Key);
}
