using System.Text.Json;
using Cache.Metrics;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using StackExchange.Redis;
using static Cache.Service.Persist.RedisReplies;

namespace Cache.Service.Persist;

/// <summary>Writes a batch to Redis in one pipeline, checks every reply, and enforces retention.</summary>
internal sealed class WindowStore(RedisConnection redis, RedisKeys keys, CacheOptions options, SessionStore sessions, DimensionLimit limit, PersistMetrics metrics)
{
    private readonly TimeSpan _ttl = TimeSpan.FromSeconds(options.WindowHashTtlSeconds);

    /// <summary>
    /// Removes the dimensions that exceed a window's limit. Call it before <see cref="WriteAsync"/>, which then needs no reads
    /// before it writes.
    /// </summary>
    /// <exception cref="RedisException">Redis did not answer; the batch is unchanged.</exception>
    public async Task LimitAsync(Batch batch) => await limit.ApplyAsync(await redis.GetAsync(), batch);

    /// <summary>Writes the windows and sessions of a batch.</summary>
    /// <returns>The epoch of Redis, and what can never be written because a key holds another type.</returns>
    /// <exception cref="RedisException">Part of the batch was not written; write the same batch again.</exception>
    public async Task<WriteResult> WriteAsync(Batch batch)
    {
        var database = await redis.GetAsync();
        var pipeline = database.CreateBatch();
        var epoch = pipeline.StringGetAsync(keys.Epoch);
        var hashes = new List<(WindowKey Window, Task Set)>(batch.Windows.Count);
        var ttls = new List<OriginalTtl>();
        var expirations = new List<Task>(batch.Windows.Count);
        var lengths = new List<(WindowKey Window, Task<long> Fields)>();
        foreach (var (window, write) in batch.Windows)
        {
            var key = keys.Window(window);
            if (limit.IsNew(window))
            {
                ttls.Add(OriginalTtl.Ask(pipeline, key));
            }

            hashes.Add((window, pipeline.HashSetAsync(key, write.Entries())));
            expirations.Add(pipeline.KeyExpireAsync(key, _ttl));
            limit.Learn(pipeline, lengths, window);
        }

        var sessionReplies = batch.Sessions.Count > 0 ? sessions.SetHashes(pipeline, batch) : null;

        // On a cluster, the keys of a window live on different nodes, and the index must not list a hash before it exists.
        // On a single node, the pipeline preserves the order.
        if (IsCluster(database))
        {
            pipeline.Execute();
            await Settle([.. hashes.Select(hash => hash.Set), .. sessionReplies?.All ?? []]);
            pipeline = database.CreateBatch();
        }

        if (sessionReplies is not null)
        {
            sessions.SetIndex(pipeline, sessionReplies);
        }

        var indices = batch.Windows.Keys.GroupBy(window => window.Type).Select(windows => AddToIndex(pipeline, windows.Key, windows)).ToList();
        pipeline.Execute();

        await Settle([epoch, .. hashes.Select(hash => hash.Set), .. ttls.Select(ttl => ttl.Before), .. expirations, .. indices.SelectMany(index => index.Replies), .. lengths.Select(length => length.Fields), .. sessionReplies?.All ?? []]);
        limit.Written(batch, lengths);
        var wrongType = WrongType(hashes, indices);
        ThrowIfAnyFailed([.. expirations]);
        if (wrongType.Count > 0)
        {
            var wrongTypeKeys = hashes.Where(hash => MetWrongType(hash.Set)).Select(hash => keys.Window(hash.Window)).ToHashSet();
            await Task.WhenAll(ttls.Where(ttl => wrongTypeKeys.Contains(ttl.Key))
                .Concat(indices.Where(index => MetWrongType(index.Added)).Select(index => index.Ttl))
                .Select(ttl => ttl.RestoreAsync(database)));
        }

        // An epoch key of another type counts as missing and is replaced. A failed read does not mean that the epoch is gone.
        var epochHasWrongType = MetWrongType(epoch);
        if (!epochHasWrongType)
        {
            ThrowIfAnyFailed(epoch);
        }

        foreach (var index in indices)
        {
            if (index.Added.IsCompletedSuccessfully)
            {
                await TrimAsync(database, index, wrongType);
            }
            else
            {
                // The index cannot list these hashes, so nothing would ever trim them.
                await DeleteAsync(database, [.. hashes.Where(hash => hash.Window.Type == index.Type && !MetWrongType(hash.Set)).Select(hash => keys.Window(hash.Window))]);
            }
        }

        return new(
            epochHasWrongType ? RedisValue.EmptyString : epoch.Result,
            wrongType,
            batch.Refused,
            sessionReplies is null ? SessionResult.None : await sessions.FinishAsync(database, sessionReplies));
    }

    /// <summary>Publishes one update per written window and session. Fire-and-forget: nothing depends on delivery.</summary>
    public async Task PublishAsync(Batch batch, WriteResult result)
    {
        var database = await redis.GetAsync();
        foreach (var (window, write) in batch.Windows.Where(write => !result.WrongType.Contains(write.Key)))
        {
            _ = database.PublishAsync(keys.Updates, Message(window, write), CommandFlags.FireAndForget);
        }

        foreach (var session in result.Sessions.Written)
        {
            _ = database.PublishAsync(keys.Updates, SessionStore.Message(session), CommandFlags.FireAndForget);
        }
    }

    private static bool IsCluster(IDatabase database) =>
        database.Multiplexer is { } multiplexer && Array.Exists(multiplexer.GetServers(), server => server.ServerType == ServerType.Cluster);

    private IndexWrite AddToIndex(IBatch pipeline, MetricType type, IEnumerable<WindowKey> windows)
    {
        var index = keys.Index(type);
        return new(
            type,
            OriginalTtl.Ask(pipeline, index),
            pipeline.SortedSetAddAsync(index, [.. windows.Select(window => new SortedSetEntry(window.Start, window.Start))]),
            pipeline.KeyExpireAsync(index, _ttl),
            FindPastRetentionAsync(pipeline, type));
    }

    /// <summary>Lists the windows in the index that are past retention.</summary>
    private Task<RedisValue[]> FindPastRetentionAsync(IDatabaseAsync database, MetricType type) =>
        database.SortedSetRangeByRankAsync(keys.Index(type), 0, -(options.WindowRetentionCount + 1L));

    /// <summary>Collects the windows whose hash or index holds another type; throws on any other failure.</summary>
    private static HashSet<WindowKey> WrongType(List<(WindowKey Window, Task Set)> hashes, List<IndexWrite> indices)
    {
        var wrong = new HashSet<WindowKey>();
        foreach (var (window, set) in hashes)
        {
            if (MetWrongType(set))
            {
                wrong.Add(window);
            }
            else
            {
                ThrowIfAnyFailed(set);
            }
        }

        foreach (var index in indices)
        {
            if (MetWrongType(index.Added))
            {
                wrong.UnionWith(hashes.Select(hash => hash.Window).Where(window => window.Type == index.Type));
            }
            else
            {
                ThrowIfAnyFailed(index.Added, index.Expires, index.PastRetention);
            }
        }

        return wrong;
    }

    /// <summary>Deletes the windows past retention, and removes windows without a hash from the index.</summary>
    private async Task TrimAsync(IDatabase database, IndexWrite index, HashSet<WindowKey> wrongType)
    {
        var pastRetention = index.PastRetention.Result;
        var withoutHash = wrongType.Where(window => window.Type == index.Type).Select(window => (RedisValue)window.Start).ToArray();
        if (withoutHash.Length > 0)
        {
            // These windows were briefly in the index and may have pushed others past retention, so the list is read again.
            // Their keys are not ours to delete.
            await database.SortedSetRemoveAsync(keys.Index(index.Type), withoutHash);
            pastRetention = await FindPastRetentionAsync(database, index.Type);
        }

        if (pastRetention.Length == 0)
        {
            return;
        }

        // Hashes first: a crash in between leaves an index entry, which the next flush trims, and never an orphaned hash.
        // Hashes again at the end: another replica may have written a late row to one of them in the meantime.
        // An index member that is not a number is not ours; it has no hash, and is removed from the index like the rest.
        RedisKey[] hashes = [.. pastRetention.Where(start => start.TryParse(out long _)).Select(start => keys.Window(index.Type, (long)start))];
        await DeleteAsync(database, hashes);
        await database.SortedSetRemoveAsync(keys.Index(index.Type), pastRetention);
        await DeleteAsync(database, hashes);
        metrics.Trimmed(index.Type.Name, pastRetention.Length);
    }

    /// <summary>Sends one command per key, because keys of one command must share a slot on a cluster.</summary>
    private static Task<bool[]> DeleteAsync(IDatabase database, RedisKey[] hashes) =>
        Task.WhenAll(Array.ConvertAll(hashes, hash => database.KeyDeleteAsync(hash)));

    private static byte[] Message(WindowKey window, WindowWrite write)
    {
        var entries = write.Entries();
        using var buffer = new MemoryStream(128 + (entries.Length * 24));
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("type"u8, window.Type.Name);
            json.WriteNumber("window_start"u8, window.Start);
            json.WriteStartObject("fields"u8);
            foreach (var entry in entries)
            {
                json.WritePropertyName(entry.Name.ToString());
                json.WriteRawValue(entry.Value.ToString(), skipInputValidation: true);
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        return buffer.ToArray();
    }

    /// <summary>The pending replies for the index of one metric type.</summary>
    private sealed record IndexWrite(MetricType Type, OriginalTtl Ttl, Task<long> Added, Task<bool> Expires, Task<RedisValue[]> PastRetention)
    {
        public IEnumerable<Task> Replies => [Ttl.Before, Added, Expires, PastRetention];
    }
}

/// <summary>The result of a write.</summary>
/// <param name="Epoch">The value of <c>cache:epoch</c> when the batch was written.</param>
/// <param name="WrongType">Windows not written because one of their keys holds another type.</param>
/// <param name="NoRoom">Dimensions not written because their windows are at the limit.</param>
/// <param name="Sessions">The result for the sessions.</param>
internal sealed record WriteResult(
    RedisValue Epoch,
    IReadOnlyCollection<WindowKey> WrongType,
    IReadOnlySet<(WindowKey Window, Dimension Dimension)> NoRoom,
    SessionResult Sessions)
{
    /// <summary>Whether everything was written.</summary>
    public bool IsComplete => WrongType.Count == 0 && NoRoom.Count == 0 && Sessions.WrongType.Count == 0;

    /// <summary>Why a row was not written; <see cref="RejectReason.None"/> if it was.</summary>
    public RejectReason Refused(in Row row)
    {
        if (row.Kind == RowKind.Session)
        {
            return Sessions.WrongType.Contains(row.Session!.Id) ? RejectReason.WrongKeyType : RejectReason.None;
        }

        if (row.Kind != RowKind.Window)
        {
            return RejectReason.None;
        }

        var window = row.Key;
        return WrongType.Contains(window) ? RejectReason.WrongKeyType
            : NoRoom.Contains((window, row.Dimension!)) ? RejectReason.TooManyDimensions
            : RejectReason.None;
    }
}
