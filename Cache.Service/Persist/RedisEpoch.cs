using Cache.Service.Partitions;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// Detects whether Redis still holds what was written. The key <c>cache:epoch</c> holds an id with the run ids of the Redis
/// primaries at the time it was created, followed by the partitions whose windows are in Redis under that id. The key
/// disappears when Redis loses its data, and is replaced when Redis may have lost some. A partition that the epoch does not
/// list has to be read again (docs/decisions/0005).
/// </summary>
internal sealed partial class RedisEpoch(
    RedisConnection redis, RedisKeys keys, Assignment assignment, Membership membership, RebuildRequests rebuilds, ILogger<RedisEpoch> logger)
{
    private const char RunIdSeparator = ':';

    private RedisValue _coveredValue = RedisValue.Null;
    private IReadOnlyList<AssignedPartition>? _covered;
    private IReadOnlyList<AssignedPartition> _checkedFor = [];
    private IReadOnlyList<string> _runIds = [];
    private IReadOnlyList<IServer> _withoutRunId = [];
    private volatile string? _restartsSeenBy;
    private int _checkedChanges = -1;
    private bool _isKnown;
    private volatile bool _isRenewalDue;

    /// <summary>
    /// Whether the epoch has to be checked before the next write. Before the first write: if the epoch were created only
    /// afterwards, data lost in between would go unnoticed. After a connection change: the new connection may lead to another
    /// server, with older data. After a rebalance: the reply arrives only after Redis has executed what the previous owner
    /// sent, so that our writes come last.
    /// </summary>
    public bool IsStale => !_isKnown || _isRenewalDue || _checkedChanges != redis.Changes || !ReferenceEquals(_checkedFor, assignment.Current);

    /// <summary>
    /// How a restart of a primary is detected: by its <c>run_id</c>, by its <c>script_cache</c> if it does not reveal its run
    /// id, or by <c>nothing</c>. Null before the first check.
    /// </summary>
    public string? RestartsSeenBy => _restartsSeenBy;

    /// <summary>Requests a new epoch, and so a rebuild of every partition: a late write may have overwritten newer data.</summary>
    public void Renew() => _isRenewalDue = true;

    /// <summary>Processes the epoch that the last write read.</summary>
    /// <returns>False if it has changed since and has to be read again.</returns>
    public Task<bool> ObserveAsync(RedisValue value) => ObserveAsync(value, _checkedFor);

    /// <summary>
    /// Processes an epoch for the partitions that were assigned before it was read. It says nothing about partitions assigned
    /// later: their previous owner may have added them after the read, and then they need no rebuild.
    /// </summary>
    private async Task<bool> ObserveAsync(RedisValue value, IReadOnlyList<AssignedPartition> held)
    {
        // The usual case: no change since every partition was found covered.
        if (ReferenceEquals(held, _covered) && value == _coveredValue && !value.IsNull && !_isRenewalDue)
        {
            return true;
        }

        _covered = null;
        var database = await redis.GetAsync();
        if (!TryRead(value, out var id, out var names) || _isRenewalDue || MayHaveLost(id))
        {
            // Another replica may create one at the same time: then its id wins, and is read next.
            var lost = id;
            id = NewId();
            if (!await ReplaceAsync(database, value, id))
            {
                return false;
            }

            LogNewEpoch(id, lost.Length == 0 ? "it had none" : _isRenewalDue ? "this process may have written late" : "its primary restarted or changed");
            _isRenewalDue = false;
            names = [];
            value = id;
        }

        _isKnown = true;
        var missing = new List<AssignedPartition>();
        var unlisted = new List<AssignedPartition>();
        var allCovered = true;
        foreach (var partition in held)
        {
            if (names.Contains(partition.ToString()))
            {
                partition.CoveredEpoch = id;
            }
            else if (partition.CoveredEpoch is AssignedPartition.AnyEpoch || partition.CoveredEpoch == id)
            {
                partition.CoveredEpoch = id;

                // Listed only once its start is committed: until then, the next owner could not rely on it.
                allCovered = false;
                if (partition.Committed >= 0)
                {
                    unlisted.Add(partition);
                }
            }
            else
            {
                allCovered = false;
                missing.Add(partition);
            }
        }

        if (missing.Count > 0)
        {
            rebuilds.Add(new(id, missing));
        }

        // Added only to the epoch that was checked, and only for partitions that no other member can have by now: Redis may
        // have lost what such a member wrote.
        unlisted.RemoveAll(partition => !partition.Owned);
        if (unlisted.Count > 0 && membership.IsFresh)
        {
            await ReplaceAsync(database, value, $"{value} {string.Join(' ', unlisted)}");
        }

        if (allCovered)
        {
            _coveredValue = value;
            _covered = held;
        }

        return true;
    }

    /// <summary>Reads and checks the epoch, and after a connection change the run ids of the primaries, too.</summary>
    public async Task CheckAsync(CancellationToken cancellationToken = default)
    {
        var (changes, held) = (redis.Changes, assignment.Current);
        if (changes != _checkedChanges)
        {
            (_runIds, _withoutRunId) = await redis.RunIdsAsync(cancellationToken);
            _covered = null;
        }

        var database = await redis.GetAsync(cancellationToken);
        RedisValue value;
        try
        {
            value = await database.StringGetAsync(keys.Epoch);
        }
        catch (RedisServerException exception) when (RedisErrors.IsWrongType(exception))
        {
            // Not ours: it is replaced.
            value = RedisValue.EmptyString;
        }

        if (changes != _checkedChanges)
        {
            await MarkAsync(value);
        }

        if (await ObserveAsync(value, held))
        {
            (_checkedChanges, _checkedFor) = (changes, held);
        }
    }

    /// <summary>Marks servers that do not reveal their run ids, so that their restarts are detected if at allCovered possible.</summary>
    private async Task MarkAsync(RedisValue value)
    {
        var detectedBy = "run_id";
        if (_withoutRunId.Count > 0)
        {
            TryRead(value, out var id, out _);
            var marks = await Task.WhenAll(_withoutRunId.Select(server => RunMark.FindOrMakeAsync(server, RunIdsOf(id))));
            _runIds = [.. _runIds, .. marks.OfType<string>().Order(StringComparer.Ordinal)];
            detectedBy = marks.Contains(null) ? "nothing" : "script_cache";
        }

        if (_restartsSeenBy == detectedBy)
        {
            return;
        }

        _restartsSeenBy = detectedBy;
        if (detectedBy == "script_cache")
        {
            LogNoRunId();
        }
        else if (detectedBy == "nothing")
        {
            LogRestartsUndetectable();
        }
    }

    private string NewId() => _runIds.Count == 0 ? $"{Guid.NewGuid():N}" : $"{Guid.NewGuid():N}{RunIdSeparator}{string.Join(',', _runIds)}";

    /// <summary>Whether a primary has started or taken over since the epoch was created: its data may be old, or gone.</summary>
    private bool MayHaveLost(string id) => RunIdsOf(id) is { Length: > 0 } runs
        ? _runIds.Except(runs).Any()

        // The epoch was created without any run id; a mark set later says nothing about the time before it.
        : _withoutRunId.Count > 0 && _runIds.Count > 0;

    private static string[] RunIdsOf(string id) =>
        id.IndexOf(RunIdSeparator, StringComparison.Ordinal) is > 0 and var end ? id[(end + 1)..].Split(',') : [];

    /// <summary>Replaces the epoch that was read; false if it has changed since.</summary>
    private Task<bool> ReplaceAsync(IDatabase database, RedisValue read, string epoch)
    {
        if (read.IsNullOrEmpty)
        {
            return database.StringSetAsync(keys.Epoch, epoch, when: read.IsNull ? When.NotExists : When.Always);
        }

#pragma warning disable SER301 // A compare-and-set in one command needs Redis 8.4.
        var transaction = database.CreateTransaction();
        transaction.AddCondition(Condition.StringEqual(keys.Epoch, read));
        _ = transaction.StringSetAsync(keys.Epoch, epoch);
#pragma warning restore SER301
        return transaction.ExecuteAsync();
    }

    private static bool TryRead(RedisValue value, out string id, out HashSet<string> names)
    {
        var parts = value.ToString().Split(' ', StringSplitOptions.RemoveEmptyEntries);
        names = [.. parts.Skip(1)];

        // Without a leading id, the value is not ours.
        id = parts is [var first, ..] && !first.Contains('/') ? first : "";
        return id.Length > 0;
    }

    [LoggerMessage(Telemetry.EventIds.Persist + 1, LogLevel.Information, "New epoch {Epoch} for Redis: {Reason}.")]
    private partial void LogNewEpoch(string epoch, string reason);

    [LoggerMessage(Telemetry.EventIds.Persist + 2, LogLevel.Information,
        "This Redis user has no permission for INFO (run id); restarts of Redis are detected by its script cache instead.")]
    private partial void LogNoRunId();

    [LoggerMessage(Telemetry.EventIds.Persist + 3, LogLevel.Warning,
        "Restarts of Redis cannot be detected: this user has no permission for INFO (run id), and the script cache is no substitute (no permission for SCRIPT, or Redis older than 7). If Redis comes back from an old snapshot, rows may be missing. Grant +info.")]
    private partial void LogRestartsUndetectable();
}
