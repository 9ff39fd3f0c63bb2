using Cache.Service.Consume;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Service.Telemetry;

namespace Cache.Service.Flush;

/// <summary>
/// The fence around every write to Redis, so that this process overwrites nothing that a partition's new owner wrote.
/// <list type="number">
/// <item>Before a write: the epoch has been checked since connections and partitions last changed (docs/decisions/0005), and Kafka
/// has recently proved that this process is in the group (docs/decisions/0008).</item>
/// <item>After a write: if its partitions may have moved while it was in flight, it stays in doubt. If Kafka shows that it was
/// late, the epoch is renewed, and every partition is reread.</item>
/// </list>
/// Not thread-safe: the flush has one write in flight at a time.
/// </summary>
internal sealed partial class WriteGuard(
    WindowStore store, RedisEpoch epoch, Membership membership, OffsetCommitter committer, TimeProvider time, ILogger<FlushWorker> logger)
{
    // Writes whose partitions may have moved in the meantime: when each ended, and one of its partitions.
    private readonly List<(long EndedAt, AssignedPartition Partition)> _inDoubt = [];

    /// <summary>Whether some write may have been late; <see cref="CheckAsync"/> finds out.</summary>
    public bool HasDoubts => _inDoubt.Count > 0;

    /// <summary>Writes what the batch holds of partitions that are still ours.</summary>
    /// <returns>Null if none of them is.</returns>
    /// <exception cref="MembershipException">Kafka did not prove membership; nothing was written.</exception>
    /// <exception cref="StackExchange.Redis.RedisException">Redis did not accept all of it; the same batch may be written again.</exception>
    public async Task<WriteResult?> WriteAsync(Batch batch)
    {
        // Until both hold at once: either may lapse while the other is awaited.
        while (epoch.IsStale || NeedsProof(batch))
        {
            await (epoch.IsStale ? epoch.CheckAsync() : committer.ProveMembershipAsync(batch.Ranges));
        }

        batch.DropRevoked();
        if (batch.Ranges.Count == 0)
        {
            return null;
        }

        var sent = true;
        try
        {
            return await store.WriteAsync(batch);
        }
        catch (Exception exception) when (RedisErrors.IsNotSent(exception))
        {
            sent = false;
            throw;
        }
        finally
        {
            if (sent && (!membership.IsFresh || batch.Ranges.Exists(range => range.Partition.MayBeElsewhere)))
            {
                var now = time.GetTimestamp();
                _inDoubt.AddRange(batch.Ranges.Select(range => (now, range.Partition)));
            }

            ResolveDoubts();
        }
    }

    /// <summary>Checks the epoch that a write read along the way. Not part of the write: if this fails, the rows are written all the same.</summary>
    public Task ObserveAsync(WriteResult result) => epoch.ObserveAsync(result.Epoch);

    /// <summary>Checks the epoch, and the writes in doubt, without a write.</summary>
    public Task CheckAsync(CancellationToken stoppingToken)
    {
        ResolveDoubts();
        return epoch.CheckAsync(stoppingToken);
    }

    private bool NeedsProof(Batch batch) => !membership.IsFresh && batch.Ranges.Exists(range => range.Partition.Owned);

    /// <summary>Drops the doubts that Kafka has settled; a late write costs a new epoch.</summary>
    private void ResolveDoubts()
    {
        if (_inDoubt.Count == 0)
        {
            return;
        }

        // A rewound partition is reread anyway.
        _inDoubt.RemoveAll(write => write.Partition.WasOwnedAt(write.EndedAt) || write.Partition is { Owned: false, MayBeElsewhere: false });
        if (_inDoubt.RemoveAll(write => write.Partition.MayBeElsewhere) > 0)
        {
            LogWrittenLate();
            epoch.Renew();
        }
    }

    [LoggerMessage(EventIds.Flush + 8, LogLevel.Warning,
        "Partitions moved to another member while their batch was in flight to Redis; it may have overwritten newer values. Rereading every partition.")]
    private partial void LogWrittenLate();
}
