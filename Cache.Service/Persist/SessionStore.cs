using System.Text.Json;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// Writes the sessions of a batch in the same pipeline as its windows. A session stays active for
/// <c>active_session_ttl_seconds</c> after its end; then its hash expires and its index entry is trimmed
/// (docs/decisions/0007).
/// </summary>
internal sealed class SessionStore(RedisKeys keys, CacheOptions options, PersistMetrics metrics, TimeProvider time)
{
    /// <summary>The field names of a session: the same in Kafka, in Redis, in updates and in responses.</summary>
    public const string Id = "session_id", User = "user_id", Start = "start_time", End = "end_time",
        Duration = "duration", Pages = "page_count", Device = "device_category";

    private readonly long _ttl = options.ActiveSessionTtlSeconds * 1000L;

    /// <summary>Sessions that ended at or before this time are inactive; milliseconds since 1970 UTC.</summary>
    public long InactiveUpTo => time.GetUtcNow().ToUnixTimeMilliseconds() - _ttl;

    /// <summary>Adds the commands for the hashes to a pipeline.</summary>
    public SessionReplies SetHashes(IBatch pipeline, Batch batch)
    {
        var inactive = InactiveUpTo;
        var replies = new SessionReplies(inactive);
        foreach (var (id, write) in batch.Sessions)
        {
            var key = keys.Session(id);
            if (write.EndedAfter(inactive) is { } session)
            {
                var ttl = OriginalTtl.Ask(pipeline, key);
                replies.Hashes.Add((session, pipeline.HashSetAsync(key, Entries(session)), ttl));
                replies.Expirations.Add(pipeline.KeyExpireAsync(key, TimeSpan.FromMilliseconds(session.End - inactive)));
            }
            else
            {
                replies.Inactive.Add(new(key, pipeline.HashExistsAsync(key, Id), pipeline.KeyTimeToLiveAsync(key)));
            }
        }

        return replies;
    }

    /// <summary>Adds the commands for the index to a pipeline.</summary>
    public void SetIndex(IBatch pipeline, SessionReplies replies)
    {
        if (replies.Hashes.Count > 0)
        {
            replies.Added = pipeline.SortedSetAddAsync(
                keys.Sessions, [.. replies.Hashes.Select(hash => new SortedSetEntry(hash.Session.Id, hash.Session.End))]);
        }

        replies.Trimmed = pipeline.SortedSetRemoveRangeByScoreAsync(keys.Sessions, double.NegativeInfinity, replies.InactiveUpTo);

        // The index has to outlive every hash: a producer whose clock is ahead may have sent an end in our future, in this
        // batch or an earlier one.
        replies.IndexEnd = replies.Hashes.Select(hash => hash.Session.End).Append(replies.InactiveUpTo + _ttl).Max();
        replies.IndexTtl = OriginalTtl.Ask(pipeline, keys.Sessions);
        replies.Expirations.Add(pipeline.KeyExpireAsync(keys.Sessions, TimeSpan.FromMilliseconds(replies.IndexEnd - replies.InactiveUpTo)));
        replies.Latest = pipeline.SortedSetRangeByRankWithScoresAsync(keys.Sessions, -1, -1);
    }

    /// <summary>Checks every reply, and removes sessions without a hash from the index.</summary>
    /// <returns>The sessions written, and the ids of those that can never be written because a key holds another type.</returns>
    /// <exception cref="RedisException">Part of the batch was not written; write the same batch again.</exception>
    public async Task<SessionResult> FinishAsync(IDatabase database, SessionReplies replies)
    {
        var written = new List<Session>(replies.Hashes.Count);
        var wrongType = new List<string>();
        var indexHasWrongType = RedisReplies.MetWrongType(replies.Trimmed);
        foreach (var (session, set, _) in replies.Hashes)
        {
            if (indexHasWrongType || RedisReplies.MetWrongType(set))
            {
                wrongType.Add(session.Id);
            }
            else
            {
                RedisReplies.ThrowIfAnyFailed(set);
                written.Add(session);
            }
        }

        RedisReplies.ThrowIfAnyFailed([.. replies.Expirations]);
        var wrongTypeTtls = replies.Hashes.Where(hash => RedisReplies.MetWrongType(hash.Set)).Select(hash => hash.Ttl);
        await Task.WhenAll((indexHasWrongType ? wrongTypeTtls.Append(replies.IndexTtl!) : wrongTypeTtls).Select(ttl => ttl.RestoreAsync(database)));
        if (!indexHasWrongType)
        {
            RedisReplies.ThrowIfAnyFailed(replies.Added, replies.Trimmed, replies.Latest);
            if (replies.Latest.Result is [var latest] && latest.Score > replies.IndexEnd)
            {
                await database.KeyExpireAsync(keys.Sessions, TimeSpan.FromMilliseconds(latest.Score - replies.InactiveUpTo));
            }

            if (wrongType.Count > 0)
            {
                await database.SortedSetRemoveAsync(keys.Sessions, [.. wrongType.Select(id => (RedisValue)id)]);
            }

            metrics.Trimmed(RedisKeys.SessionType, replies.Trimmed.Result);
        }
        else
        {
            // The index cannot list these hashes.
            await Task.WhenAll(replies.Hashes.Where(hash => !RedisReplies.MetWrongType(hash.Set)).Select(hash => database.KeyDeleteAsync(keys.Session(hash.Session.Id))));
        }

        await ExpireAsync(database, replies.Inactive);
        metrics.SessionsInactive(replies.Inactive.Count);
        return new(written, wrongType);
    }

    /// <summary>
    /// Inactive sessions are not written. If an earlier attempt wrote the hash but not its TTL, this sets one, so that the hash
    /// does not stay forever. An existing TTL is kept, and a key of another type is not ours to touch.
    /// </summary>
    private async Task ExpireAsync(IDatabase database, List<InactiveSession> sessions)
    {
        var withoutTtl = new List<RedisKey>();
        foreach (var session in sessions.Where(session => !RedisReplies.MetWrongType(session.Exists)))
        {
            RedisReplies.ThrowIfAnyFailed(session.Exists, session.Ttl);
            if (session.Exists.Result && session.Ttl.Result is null)
            {
                withoutTtl.Add(session.Key);
            }
        }

        await Task.WhenAll(withoutTtl.Select(key => database.KeyExpireAsync(key, TimeSpan.FromMilliseconds(_ttl))));
    }

    /// <summary>The update that is published for a session.</summary>
    public static byte[] Message(Session session)
    {
        using var buffer = new MemoryStream(256);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("type"u8, RedisKeys.SessionType);
            json.WriteString(Id, session.Id);
            json.WriteStartObject("fields"u8);
            foreach (var entry in Entries(session).Where(entry => entry.Name != Id))
            {
                var name = entry.Name.ToString();
                if (IsNumber(name))
                {
                    json.WriteNumber(name, (long)entry.Value);
                }
                else
                {
                    json.WriteString(name, entry.Value.ToString());
                }
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        return buffer.ToArray();
    }

    /// <summary>Whether a field of a session holds a number.</summary>
    public static bool IsNumber(string field) => field is Start or End or Duration or Pages;

    /// <summary>Whether a field of a session holds text.</summary>
    public static bool IsText(string field) => field is Id or User or Device;

    private static HashEntry[] Entries(Session session)
    {
        var entries = new List<HashEntry>(7) { new(Id, session.Id) };
        Add(User, session.User);
        Add(Start, session.Start);
        Add(End, session.End);
        Add(Duration, session.Duration);
        Add(Pages, session.Pages);
        Add(Device, session.Device);
        return [.. entries];

        void Add(string field, RedisValue value)
        {
            if (!value.IsNull)
            {
                entries.Add(new(field, value));
            }
        }
    }
}

/// <summary>The pending replies for the sessions of a batch.</summary>
/// <param name="inactiveUpTo">The value of <see cref="SessionStore.InactiveUpTo"/> when the commands were built.</param>
internal sealed class SessionReplies(long inactiveUpTo)
{
    public long InactiveUpTo { get; } = inactiveUpTo;

    /// <summary>One hash per session written.</summary>
    public List<(Session Session, Task Set, OriginalTtl Ttl)> Hashes { get; } = [];

    /// <summary>Sessions not written because they ended too long ago.</summary>
    public List<InactiveSession> Inactive { get; } = [];

    public Task Added { get; set; } = Task.CompletedTask;

    public Task<long> Trimmed { get; set; } = Task.FromResult(0L);

    /// <summary>The session in the index that ends last.</summary>
    public Task<SortedSetEntry[]> Latest { get; set; } = Task.FromResult<SortedSetEntry[]>([]);

    /// <summary>The latest session end that the TTL of the index covers.</summary>
    public long IndexEnd { get; set; }

    /// <summary>The previous TTL of the index; null until requested.</summary>
    public OriginalTtl? IndexTtl { get; set; }

    /// <summary>Replies to EXPIRE, which fail only together with the connection.</summary>
    public List<Task> Expirations { get; } = [];

    /// <summary>All replies.</summary>
    public IEnumerable<Task> All => [.. Hashes.SelectMany(hash => new[] { hash.Set, hash.Ttl.Before }), .. Inactive.SelectMany(session => new Task[] { session.Exists, session.Ttl }), Added, Trimmed, Latest, IndexTtl?.Before ?? Task.CompletedTask, .. Expirations];
}

/// <summary>What Redis holds for a session that is not written.</summary>
/// <param name="Key">Its key.</param>
/// <param name="Exists">Whether the hash exists.</param>
/// <param name="Ttl">The TTL of the key; null if it never expires.</param>
internal sealed record InactiveSession(RedisKey Key, Task<bool> Exists, Task<TimeSpan?> Ttl);

/// <summary>The result of writing the sessions of a batch.</summary>
/// <param name="Written">The sessions as written, without the fields that Redis had before.</param>
/// <param name="WrongType">Ids of sessions not written because one of their keys holds another type.</param>
internal sealed record SessionResult(IReadOnlyCollection<Session> Written, IReadOnlyCollection<string> WrongType)
{
    /// <summary>The result for a batch without sessions.</summary>
    public static SessionResult None { get; } = new([], []);
}
