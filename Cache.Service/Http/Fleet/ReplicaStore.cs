using Cache.Service.Persist;
using StackExchange.Redis;
using static Cache.Service.Persist.RedisReplies;

namespace Cache.Service.Http.Fleet;

/// <summary>
/// The states of replicas in Redis: a key with a TTL for each, and an index of them. The index may name replicas that are gone:
/// a reader removes those that it finds without a state, a writer those that nobody has read for a while.
/// </summary>
internal sealed class ReplicaStore(RedisConnection redis, RedisKeys keys, TimeProvider time)
{
    /// <summary>Maximum size of a state, in bytes: that of more than 15,000 partitions that are all behind.</summary>
    public const int MaxBytes = 1024 * 1024;

    /// <summary>Maximum number of replicas that are read.</summary>
    public const int MaxReplicas = 200;

    /// <summary>Maximum number of partitions that are read, of all replicas together: about 10 MB of JSON.</summary>
    public const int MaxPartitions = 100_000;

    // Longer than any host's name; anything longer is not ours.
    private const int MaxIdBytes = 300;

    // Bounds what is held while it is read.
    private const int AtOnce = 16;

    /// <summary>How long after its last publication a replica is considered gone: three of them may fail.</summary>
    public static readonly TimeSpan Ttl = TimeSpan.FromSeconds(20);

    // Not sooner, because the clocks of replicas differ.
    private static readonly TimeSpan IndexTtl = TimeSpan.FromMinutes(10);

    /// <summary>Publishes a state.</summary>
    /// <exception cref="RedisException">Redis did not accept it.</exception>
    public async Task WriteAsync(string id, ReplicaState state, CancellationToken cancellationToken)
    {
        var value = PublishedReplica.Encode(state);
        if (value.Length > MaxBytes)
        {
            return;
        }

        var database = await redis.GetAsync(cancellationToken);
        var now = time.GetUtcNow();
        var pipeline = database.CreateBatch();
        await SendAsync(
            pipeline,
            cancellationToken,
            pipeline.StringSetAsync(keys.Replica(id), value, Ttl),
            pipeline.SortedSetAddAsync(keys.Replicas, id, now.ToUnixTimeMilliseconds()),
            pipeline.SortedSetRemoveRangeByScoreAsync(keys.Replicas, double.NegativeInfinity, (now - IndexTtl).ToUnixTimeMilliseconds()),
            pipeline.KeyExpireAsync(keys.Replicas, IndexTtl));
    }

    /// <summary>Removes a replica.</summary>
    /// <exception cref="RedisException">Redis did not accept it.</exception>
    public async Task RemoveAsync(string id, CancellationToken cancellationToken)
    {
        var database = await redis.GetAsync(cancellationToken);
        var pipeline = database.CreateBatch();
        await SendAsync(pipeline, cancellationToken, pipeline.KeyDeleteAsync(keys.Replica(id)), pipeline.SortedSetRemoveAsync(keys.Replicas, id));
    }

    /// <summary>Reads the states of all replicas but one. Never fails: what cannot be read within the time limit of a request is missing.</summary>
    /// <param name="self">The id of the replica to leave out.</param>
    public async Task<OtherReplicas> ReadOthersAsync(string self)
    {
        using var deadline = ApiAnswers.Deadline();
        var found = new List<ReplicaState>();
        try
        {
            return new(found, await ReadAsync(self, found, deadline.Token));
        }
        catch (Exception exception) when (IsOfRedis(exception))
        {
            return new(found, false);
        }
    }

    /// <summary>Whether a failure is one of Redis or the connection to it, for whatever reason.</summary>
    public static bool IsOfRedis(Exception exception) => RedisErrors.IsUnavailable(exception) || exception is RedisCommandException;

    private async Task<bool> ReadAsync(string self, List<ReplicaState> found, CancellationToken cancellationToken)
    {
        var database = await redis.GetForReadersAsync(cancellationToken);
        var ids = await database.SortedSetRangeByRankAsync(keys.Replicas, 0, MaxReplicas, Order.Descending).WaitAsync(cancellationToken);
        var (complete, partitions) = (ids.Length <= MaxReplicas, 0);
        var gone = new List<RedisValue>();
        foreach (var some in ids.Take(MaxReplicas).Where(id => id != self && id.Length() <= MaxIdBytes).Chunk(AtOnce))
        {
            var pipeline = database.CreateBatch();

            // Not all of it, because a foreign value may have any size.
            var reads = Array.ConvertAll(some, id => pipeline.StringGetRangeAsync(keys.Replica(id.ToString()), 0, MaxBytes));
            pipeline.Execute();
            await Settle(reads).WaitAsync(cancellationToken);
            foreach (var (id, read) in some.Zip(reads))
            {
                if (MetWrongType(read))
                {
                    complete = false;
                }
                else if ((await read).IsNullOrEmpty)
                {
                    gone.Add(id);
                }
                else if (((ReadOnlyMemory<byte>)read.Result) is { Length: <= MaxBytes } value && PublishedReplica.Decode(value.Span) is { } published
                    && (partitions += published.PartitionCount) <= MaxPartitions)
                {
                    found.Add(published.StateOf(id.ToString()));
                }
                else
                {
                    complete = false;
                }
            }
        }

        // One that comes back at this very moment is in the index again with its next publication.
        if (gone.Count > 0)
        {
            await database.SortedSetRemoveAsync(keys.Replicas, [.. gone]).WaitAsync(cancellationToken);
        }

        return complete;
    }

    private static async Task SendAsync(IBatch pipeline, CancellationToken cancellationToken, params Task[] replies)
    {
        pipeline.Execute();
        await Settle(replies).WaitAsync(cancellationToken);
        ThrowIfAnyFailed(replies);
    }
}

/// <summary>The other replicas, as far as they could be read.</summary>
/// <param name="Found">Their states.</param>
/// <param name="Complete">Whether these are all.</param>
internal sealed record OtherReplicas(IReadOnlyList<ReplicaState> Found, bool Complete);
