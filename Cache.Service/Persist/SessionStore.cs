using System.Text.Json;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// Writes the sessions of a batch, within the pipeline of its windows. A session is active until
/// <c>active_session_ttl_seconds</c> after its end: then its hash expires and its index entry is trimmed
/// (docs/decisions/0007).
/// </summary>
internal sealed class SessionStore(RedisKeys keys, CacheOptions options, PersistMetrics metrics, TimeProvider time)
{
    /// <summary>The names of a session's fields in Redis, in messages and in answers; as they are in Kafka.</summary>
    public const string Id = "session_id", User = "user_id", Start = "start_time", End = "end_time",
        Duration = "duration", Pages = "page_count", Device = "device_category";

    private readonly long _ttl = options.ActiveSessionTtlSeconds * 1000L;

    /// <summary>The end up to which a session is no longer active, milliseconds since 1970 UTC.</summary>
    public long InactiveUpTo => time.GetUtcNow().ToUnixTimeMilliseconds() - _ttl;

    /// <summary>Puts the commands for the hashes into a pipeline.</summary>
    public SessionReplies SetHashes(IBatch pipeline, Batch batch)
    {
        var inactive = InactiveUpTo;
        var replies = new SessionReplies(inactive);
        foreach (var (id, write) in batch.Sessions)
        {
            var key = keys.Session(id);
            if (write.EndedAfter(inactive) is { } session)
            {
                var ttl = OwnTtl.Ask(pipeline, key);
                replies.Hashes.Add((session, pipeline.HashSetAsync(key, Entries(session)), ttl));
                replies.Others.Add(pipeline.KeyExpireAsync(key, TimeSpan.FromMilliseconds(session.End - inactive)));
            }
            else
            {
                replies.Inactive.Add(new(key, pipeline.HashExistsAsync(key, Id), pipeline.KeyTimeToLiveAsync(key)));
            }
        }

        return replies;
    }

    /// <summary>Puts the commands for the index into a pipeline.</summary>
    public void SetIndex(IBatch pipeline, SessionReplies replies)
    {
        if (replies.Hashes.Count > 0)
        {
            replies.Added = pipeline.SortedSetAddAsync(
                keys.Sessions, [.. replies.Hashes.Select(hash => new SortedSetEntry(hash.Session.Id, hash.Session.End))]);
        }

        replies.Trimmed = pipeline.SortedSetRemoveRangeByScoreAsync(keys.Sessions, double.NegativeInfinity, replies.InactiveUpTo);

        // As long as the longest of its hashes: a clock ahead of ours may have ended a session in our future, in this batch or before.
        replies.IndexEnd = replies.Hashes.Select(hash => hash.Session.End).Append(replies.InactiveUpTo + _ttl).Max();
        replies.IndexTtl = OwnTtl.Ask(pipeline, keys.Sessions);
        replies.Others.Add(pipeline.KeyExpireAsync(keys.Sessions, TimeSpan.FromMilliseconds(replies.IndexEnd - replies.InactiveUpTo)));
        replies.Latest = pipeline.SortedSetRangeByRankWithScoresAsync(keys.Sessions, -1, -1);
    }

    /// <summary>Looks at every reply, and takes off the index what has no hash.</summary>
    /// <returns>What was written, and the ids of what Redis will never take since a key holds another type.</returns>
    /// <exception cref="RedisException">Redis did not take all of it; the same batch may be written again.</exception>
    public async Task<SessionResult> FinishAsync(IDatabase database, SessionReplies replies)
    {
        var written = new List<Session>(replies.Hashes.Count);
        var wrongType = new List<string>();
        var indexIsForeign = RedisReplies.MetWrongType(replies.Trimmed);
        foreach (var (session, set, _) in replies.Hashes)
        {
            if (indexIsForeign || RedisReplies.MetWrongType(set))
            {
                wrongType.Add(session.Id);
            }
            else
            {
                RedisReplies.ThrowIfAnyFailed(set);
                written.Add(session);
            }
        }

        RedisReplies.ThrowIfAnyFailed([.. replies.Others]);
        var foreign = replies.Hashes.Where(hash => RedisReplies.MetWrongType(hash.Set)).Select(hash => hash.Ttl);
        await Task.WhenAll((indexIsForeign ? foreign.Append(replies.IndexTtl!) : foreign).Select(ttl => ttl.RestoreAsync(database)));
        if (!indexIsForeign)
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

            metrics.Trimmed(RedisKeys.TypeName(RowKind.Session), replies.Trimmed.Result);
        }
        else
        {
            // No index will ever name them.
            await Task.WhenAll(replies.Hashes.Where(hash => !RedisReplies.MetWrongType(hash.Set)).Select(hash => database.KeyDeleteAsync(keys.Session(hash.Session.Id))));
        }

        await ExpireAsync(database, replies.Inactive);
        metrics.SessionsInactive(replies.Inactive.Count);
        return new(written, wrongType);
    }

    /// <summary>
    /// Nothing of theirs is written. But should an earlier attempt have got no further than a hash, it must not stay for ever;
    /// one with a TTL keeps it, and a key of another type is somebody else's.
    /// </summary>
    private async Task ExpireAsync(IDatabase database, List<InactiveSession> sessions)
    {
        var endless = new List<RedisKey>();
        foreach (var session in sessions.Where(session => !RedisReplies.MetWrongType(session.IsThere)))
        {
            RedisReplies.ThrowIfAnyFailed(session.IsThere, session.Ttl);
            if (session.IsThere.Result && session.Ttl.Result is null)
            {
                endless.Add(session.Key);
            }
        }

        await Task.WhenAll(endless.Select(key => database.KeyExpireAsync(key, TimeSpan.FromMilliseconds(_ttl))));
    }

    /// <summary>What subscribers are told of a session.</summary>
    public static byte[] Message(Session session)
    {
        using var buffer = new MemoryStream(256);
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("type"u8, RedisKeys.TypeName(RowKind.Session));
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

/// <summary>The replies that a batch's sessions wait for.</summary>
/// <param name="inactiveUpTo">The end up to which a session was no longer active when the commands were made.</param>
internal sealed class SessionReplies(long inactiveUpTo)
{
    public long InactiveUpTo { get; } = inactiveUpTo;

    /// <summary>The hash of each session that is written.</summary>
    public List<(Session Session, Task Set, OwnTtl Ttl)> Hashes { get; } = [];

    /// <summary>Sessions that are not written, since they ended too long ago.</summary>
    public List<InactiveSession> Inactive { get; } = [];

    public Task Added { get; set; } = Task.CompletedTask;

    public Task<long> Trimmed { get; set; } = Task.FromResult(0L);

    /// <summary>The session on the index that ends last.</summary>
    public Task<SortedSetEntry[]> Latest { get; set; } = Task.FromResult<SortedSetEntry[]>([]);

    /// <summary>The end that the index was made to stay for.</summary>
    public long IndexEnd { get; set; }

    /// <summary>What the index was to stay before; null as long as nobody has asked.</summary>
    public OwnTtl? IndexTtl { get; set; }

    /// <summary>Expirations, which fail only as a whole connection does.</summary>
    public List<Task> Others { get; } = [];

    /// <summary>All of them.</summary>
    public IEnumerable<Task> All => [.. Hashes.SelectMany(hash => new[] { hash.Set, hash.Ttl.Before }), .. Inactive.SelectMany(session => new Task[] { session.IsThere, session.Ttl }), Added, Trimmed, Latest, IndexTtl?.Before ?? Task.CompletedTask, .. Others];
}

/// <summary>What Redis has of a session that is not written.</summary>
/// <param name="Key">Its key.</param>
/// <param name="IsThere">Whether there is a hash.</param>
/// <param name="Ttl">How long the key stays; null for ever.</param>
internal sealed record InactiveSession(RedisKey Key, Task<bool> IsThere, Task<TimeSpan?> Ttl);

/// <summary>What came of the sessions of a write.</summary>
/// <param name="Written">As they were written: what a session had before is not in them.</param>
/// <param name="WrongType">Ids of those that were not written, since a key of theirs holds another type.</param>
internal sealed record SessionResult(IReadOnlyCollection<Session> Written, IReadOnlyCollection<string> WrongType)
{
    /// <summary>There were none.</summary>
    public static SessionResult None { get; } = new([], []);
}
