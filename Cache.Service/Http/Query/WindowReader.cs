using Cache.Metrics;
using Cache.Service.Options;
using Cache.Service.Persist;
using StackExchange.Redis;

namespace Cache.Service.Http.Query;

/// <summary>A window as served to readers.</summary>
/// <param name="Start">Milliseconds since 1970 UTC.</param>
/// <param name="Fields">Field names and numbers, as they are in Redis.</param>
internal sealed record Window(long Start, HashEntry[] Fields);

/// <summary>A window found in the index, ready to be read.</summary>
/// <param name="Start">Milliseconds since 1970 UTC.</param>
/// <param name="Fields">The number of its fields.</param>
internal readonly record struct FoundWindow(long Start, long Fields);

/// <summary>
/// Reads windows in three round trips: the index, the lengths of the hashes, and the hashes in one pipeline. Many fields are
/// read in several pipelines, so that neither Redis nor the connection is blocked for long.
/// </summary>
internal sealed class WindowReader(RedisConnection redis, RedisKeys keys, CacheOptions options)
{
    /// <summary>Maximum number of windows found per call.</summary>
    public const int MaxFound = 1000;

    /// <summary>Maximum fields per pipeline: one full window by default, a few milliseconds of Redis's time. A hash is never split.</summary>
    public const int MaxFields = 20_000;

    /// <summary>Finds the newest windows, newest first.</summary>
    /// <param name="type">The metric type.</param>
    /// <param name="limit">Maximum number of windows; capped at retention and <see cref="MaxFound"/>.</param>
    /// <param name="from">The earliest start, in milliseconds; null for no bound.</param>
    /// <param name="to">The latest start, in milliseconds; null for no bound.</param>
    /// <param name="cancellationToken">When the caller stops waiting.</param>
    /// <exception cref="RedisException">Redis did not answer.</exception>
    public async Task<List<FoundWindow>> FindAsync(MetricType type, int limit, long? from, long? to, CancellationToken cancellationToken)
    {
        limit = Math.Min(Math.Min(limit, MaxFound), options.WindowRetentionCount);
        var database = await redis.GetForReadersAsync(cancellationToken);
        var windows = new List<FoundWindow>();

        // A single pass, unless the index has entries whose hash is gone: those are removed, and others may follow them.
        while (true)
        {
            var members = await StartsAsync(database, type, limit - windows.Count, windows is [.., var oldest] ? oldest.Start - 1 : to, from).WaitAsync(cancellationToken);

            // Cache only adds numbers, so a member that is not one is removed, too.
            var starts = Array.FindAll(members, member => member.TryParse(out long _));
            var gone = members.Except(starts).ToList();
            var lengths = await LengthsAsync(database, type, starts).WaitAsync(cancellationToken);
            foreach (var (start, fields) in starts.Zip(lengths))
            {
                if (fields == 0)
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

            await RemoveAsync(database, type, gone).WaitAsync(cancellationToken);
        }
    }

    /// <summary>Splits windows into parts of one pipeline each: up to <see cref="MaxFields"/> fields, or a single larger window.</summary>
    public static IEnumerable<List<FoundWindow>> Parts(IEnumerable<FoundWindow> windows)
    {
        var (part, fields) = (new List<FoundWindow>(), 0L);
        foreach (var window in windows)
        {
            if (part.Count > 0 && fields + window.Fields > MaxFields)
            {
                yield return part;
                (part, fields) = ([], 0);
            }

            part.Add(window);
            fields += window.Fields;
        }

        if (part.Count > 0)
        {
            yield return part;
        }
    }

    /// <summary>Reads windows that were found; a window that has been deleted since is left out.</summary>
    /// <exception cref="RedisException">Redis did not answer.</exception>
    public async Task<List<Window>> ReadAsync(MetricType type, IReadOnlyList<FoundWindow> found, CancellationToken cancellationToken)
    {
        var database = await redis.GetForReadersAsync(cancellationToken);
        var pipeline = database.CreateBatch();
        var reads = found.Select(window => RedisReplies.FieldsAsync(pipeline.HashGetAllAsync(keys.Window(type, window.Start)))).ToList();
        pipeline.Execute();
        var hashes = await Task.WhenAll(reads).WaitAsync(cancellationToken);
        return [.. found.Zip(hashes, (window, fields) => new Window(window.Start, fields)).Where(window => window.Fields.Length > 0)];
    }

    private Task<RedisValue[]> StartsAsync(IDatabase database, MetricType type, int limit, long? to, long? from) =>
        limit <= 0
            ? Task.FromResult<RedisValue[]>([])
            : from is null && to is null
                ? database.SortedSetRangeByRankAsync(keys.Index(type), 0, limit - 1, Order.Descending)
                : database.SortedSetRangeByScoreAsync(
                    keys.Index(type), from ?? double.NegativeInfinity, to ?? double.PositiveInfinity, Exclude.None, Order.Descending, 0, limit);

    private async Task<long[]> LengthsAsync(IDatabase database, MetricType type, RedisValue[] starts)
    {
        if (starts.Length == 0)
        {
            return [];
        }

        var pipeline = database.CreateBatch();
        var lengths = Array.ConvertAll(starts, start => RedisReplies.LengthAsync(pipeline.HashLengthAsync(keys.Window(type, (long)start))));
        pipeline.Execute();
        return await Task.WhenAll(lengths);
    }

    /// <summary>
    /// Removes entries without a hash from the index. A writer may bring a window back at this very moment, writing its index
    /// entry just before the removal and its hash just after: if the hash exists afterwards, the entry is put back.
    /// </summary>
    private async Task RemoveAsync(IDatabase database, MetricType type, List<RedisValue> starts)
    {
        await database.SortedSetRemoveAsync(keys.Index(type), [.. starts]);
        foreach (var start in starts.Where(start => start.TryParse(out long _)))
        {
            if (await database.KeyTypeAsync(keys.Window(type, (long)start)) == RedisType.Hash)
            {
                await database.SortedSetAddAsync(keys.Index(type), start, (double)start);
            }
        }
    }
}
