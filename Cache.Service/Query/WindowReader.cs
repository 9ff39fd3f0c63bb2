using Cache.Service.Decode;
using Cache.Service.Persist;
using StackExchange.Redis;

namespace Cache.Service.Query;

/// <summary>A window as it is served.</summary>
/// <param name="Start">Milliseconds since 1970 UTC.</param>
/// <param name="Fields">Field names and numbers as Redis has them.</param>
internal sealed record Window(long Start, HashEntry[] Fields);

/// <summary>Reads windows in two round trips: the index, then all hashes in one pipeline.</summary>
internal sealed class WindowReader(RedisLink redis, RedisKeys keys, CacheOptions options)
{
    /// <summary>Reads the newest windows, newest first.</summary>
    /// <param name="kind">The type.</param>
    /// <param name="limit">How many at most; beyond retention means all.</param>
    /// <param name="from">The earliest start, milliseconds; null for no bound.</param>
    /// <param name="to">The latest start, milliseconds; null for no bound.</param>
    /// <param name="cancellationToken">When the caller stops waiting.</param>
    /// <exception cref="RedisException">Redis did not answer.</exception>
    public async Task<List<Window>> ReadAsync(RowKind kind, int limit, long? from, long? to, CancellationToken cancellationToken)
    {
        limit = Math.Min(limit, options.WindowRetentionCount);
        var database = await redis.GetAsync(cancellationToken);
        var windows = new List<Window>();

        // One pass, but for entries whose hash is gone: they are taken off the index, and others may stand behind them.
        while (true)
        {
            var members = await StartsAsync(database, kind, limit - windows.Count, windows is [.., var oldest] ? oldest.Start - 1 : to, from).WaitAsync(cancellationToken);

            // A member that is no time is none of ours.
            var starts = Array.FindAll(members, member => member.TryParse(out long _));
            var gone = members.Except(starts).ToList();
            var hashes = await HashesAsync(database, kind, starts).WaitAsync(cancellationToken);
            foreach (var (start, fields) in starts.Zip(hashes))
            {
                if (fields.Length == 0)
                {
                    gone.Add(start);
                }
                else
                {
                    windows.Add(new((long)start, fields));
                }
            }

            if (gone.Count == 0)
            {
                return windows;
            }

            await RemoveAsync(database, kind, gone).WaitAsync(cancellationToken);
        }
    }

    private Task<RedisValue[]> StartsAsync(IDatabase database, RowKind kind, int limit, long? to, long? from) =>
        limit <= 0
            ? Task.FromResult<RedisValue[]>([])
            : from is null && to is null
                ? database.SortedSetRangeByRankAsync(keys.Index(kind), 0, limit - 1, Order.Descending)
                : database.SortedSetRangeByScoreAsync(
                    keys.Index(kind), from ?? double.NegativeInfinity, to ?? double.PositiveInfinity, Exclude.None, Order.Descending, 0, limit);

    private async Task<HashEntry[][]> HashesAsync(IDatabase database, RowKind kind, RedisValue[] starts)
    {
        var pipeline = database.CreateBatch();
        var reads = Array.ConvertAll(starts, start => pipeline.HashGetAllAsync(keys.Window(kind, (long)start)));
        pipeline.Execute();
        return await Task.WhenAll(Array.ConvertAll(reads, RedisReplies.FieldsAsync));
    }

    /// <summary>
    /// Takes entries without a hash off the index. A writer may bring the window back at that very moment, its index entry
    /// just before this and its hash just after: so whoever finds the hash afterwards puts the entry back.
    /// </summary>
    private async Task RemoveAsync(IDatabase database, RowKind kind, List<RedisValue> starts)
    {
        await database.SortedSetRemoveAsync(keys.Index(kind), [.. starts]);
        foreach (var start in starts.Where(start => start.TryParse(out long _)))
        {
            if (await database.KeyTypeAsync(keys.Window(kind, (long)start)) == RedisType.Hash)
            {
                await database.SortedSetAddAsync(keys.Index(kind), start, (double)start);
            }
        }
    }
}
