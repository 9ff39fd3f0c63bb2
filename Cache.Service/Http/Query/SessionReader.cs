using Cache.Service.Persist;
using StackExchange.Redis;

namespace Cache.Service.Http.Query;

/// <summary>Reads the active sessions in two round trips: the index, then all hashes in one pipeline.</summary>
internal sealed class SessionReader(RedisConnection redis, RedisKeys keys, SessionStore sessions, LargeReads reads)
{
    /// <summary>The most that one answer has: there is no bound to how many people are there at once.</summary>
    public const int MaxSessions = 1000;

    private const int FieldsPerSession = 7;

    /// <summary>Reads the active sessions, the latest end first.</summary>
    /// <param name="limit">How many at most; beyond <see cref="MaxSessions"/> means so many.</param>
    /// <param name="cancellationToken">When the caller stops waiting.</param>
    /// <returns>The fields of each as Redis has them.</returns>
    /// <exception cref="RedisException">Redis did not answer.</exception>
    /// <exception cref="NoRoomException">Other answers hold too much.</exception>
    public async Task<List<HashEntry[]>> ReadAsync(int limit, CancellationToken cancellationToken)
    {
        limit = Math.Min(limit, MaxSessions);
        var database = await redis.GetForReadersAsync(cancellationToken);
        var active = new List<HashEntry[]>();

        // One pass, but for entries whose hash is gone: they are taken off the index, and others may stand behind them. Then all are
        // read again: one that has moved up meanwhile would be in the answer twice, and another not at all.
        while (true)
        {
            active.Clear();
            var ids = await database.SortedSetRangeByScoreAsync(
                keys.Sessions, sessions.InactiveUpTo, double.PositiveInfinity, Exclude.Start, Order.Descending, 0, limit)
                .WaitAsync(cancellationToken);
            using var room = reads.Take((long)ids.Length * FieldsPerSession * LargeReads.BytesPerField);
            var gone = new List<RedisValue>();
            foreach (var (id, fields) in ids.Zip(await HashesAsync(database, ids).WaitAsync(cancellationToken)))
            {
                if (fields.Length == 0)
                {
                    gone.Add(id);
                }
                else
                {
                    active.Add(fields);
                }
            }

            if (gone.Count == 0)
            {
                break;
            }

            await RemoveAsync(database, gone).WaitAsync(cancellationToken);
        }

        return active;
    }

    private async Task<HashEntry[][]> HashesAsync(IDatabase database, RedisValue[] ids)
    {
        var pipeline = database.CreateBatch();
        var reads = Array.ConvertAll(ids, id => pipeline.HashGetAllAsync(keys.Session(id.ToString())));
        pipeline.Execute();
        return await Task.WhenAll(Array.ConvertAll(reads, RedisReplies.FieldsAsync));
    }

    /// <summary>
    /// Takes entries without a hash off the index. A writer may bring the session back at that very moment, its index entry
    /// just before this and its hash just after: so whoever finds the hash afterwards puts the entry back.
    /// </summary>
    private async Task RemoveAsync(IDatabase database, List<RedisValue> ids)
    {
        await database.SortedSetRemoveAsync(keys.Sessions, [.. ids]);
        var pipeline = database.CreateBatch();
        var reads = ids.ConvertAll(id => (Id: id, Hash: pipeline.HashGetAllAsync(keys.Session(id.ToString()))));
        pipeline.Execute();
        foreach (var (id, hash) in reads)
        {
            var found = Array.Find(await RedisReplies.FieldsAsync(hash), field => field.Name == SessionStore.End).Value;
            if (!found.IsNull && found.TryParse(out long end))
            {
                await database.SortedSetAddAsync(keys.Sessions, id, end);
            }
        }
    }
}
