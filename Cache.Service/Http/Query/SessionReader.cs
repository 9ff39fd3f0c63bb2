using Cache.Service.Persist;
using StackExchange.Redis;

namespace Cache.Service.Http.Query;

/// <summary>Reads the active sessions in two round trips: the index, then all hashes in one pipeline.</summary>
internal sealed class SessionReader(RedisConnection redis, RedisKeys keys, SessionStore sessions, LargeReads reads)
{
    /// <summary>Maximum number of sessions per answer: there is no other bound on how many are active.</summary>
    public const int MaxSessions = 1000;

    private const int FieldsPerSession = 7;

    /// <summary>Reads the active sessions, latest end first.</summary>
    /// <param name="limit">Maximum number of sessions; capped at <see cref="MaxSessions"/>.</param>
    /// <param name="cancellationToken">When the caller stops waiting.</param>
    /// <returns>The fields of each session, as they are in Redis.</returns>
    /// <exception cref="RedisException">Redis did not answer.</exception>
    /// <exception cref="NoRoomException">Other answers hold too much memory.</exception>
    public async Task<List<HashEntry[]>> ReadAsync(int limit, CancellationToken cancellationToken)
    {
        limit = Math.Min(limit, MaxSessions);
        var database = await redis.GetForReadersAsync(cancellationToken);
        var active = new List<HashEntry[]>();

        // A single pass, unless the index has entries whose hash is gone: those are removed, and others may follow them. Then
        // everything is read again, or a session that moved up in the meantime would be in the answer twice, and another not at all.
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
    /// Removes entries without a hash from the index. A writer may bring a session back at this very moment, writing its index
    /// entry just before the removal and its hash just after: if the hash exists afterwards, the entry is put back.
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
