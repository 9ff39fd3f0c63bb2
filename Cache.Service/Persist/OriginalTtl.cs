using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// The TTL that a key had before a write replaced it, read in the same pipeline as the write. A key of another type is not
/// ours, so its TTL is restored.
/// </summary>
/// <param name="Key">The key.</param>
/// <param name="Before">The previous TTL; null if the key had none or did not exist.</param>
internal sealed record OriginalTtl(RedisKey Key, Task<TimeSpan?> Before)
{
    /// <summary>Reads the TTL; call it before adding the command that changes it.</summary>
    public static OriginalTtl Ask(IBatch pipeline, RedisKey key) => new(key, pipeline.KeyTimeToLiveAsync(key));

    /// <summary>Restores the TTL.</summary>
    public Task RestoreAsync(IDatabase database) => Before is { IsCompletedSuccessfully: true, Result: { } ttl }
        ? database.KeyExpireAsync(Key, ttl)
        : database.KeyPersistAsync(Key);
}
