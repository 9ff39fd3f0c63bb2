using Cache.Service.Partitions;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// Tells whether Redis still holds what was written. The key <c>cache:epoch</c> holds an id, made when there was none, with
/// the run ids of Redis's primaries at that time, and after it the partitions whose windows are in Redis under that id. It
/// goes when Redis loses its data, and is made anew when Redis may have lost some; then, or when a partition is not among
/// the names, the partition has to be read again (docs/decisions/0005).
/// </summary>
internal sealed partial class RedisEpoch(
    RedisConnection redis, RedisKeys keys, Assignment assignment, Membership membership, RebuildRequests rebuilds, ILogger<RedisEpoch> logger)
{
    private const char RunIdsFollow = ':';

    private RedisValue _seen = RedisValue.Null;
    private IReadOnlyList<AssignedPartition>? _covered;
    private IReadOnlyList<AssignedPartition> _lookedFor = [];
    private IReadOnlyList<string> _runIds = [];
    private IReadOnlyList<IServer> _silent = [];
    private volatile string? _restartsSeenBy;
    private int _changes = -1;
    private bool _known;
    private volatile bool _renewalDue;

    /// <summary>
    /// Whether the epoch has to be looked at before the next write. Before the first write: were the epoch made only after it,
    /// data lost in between would not be missed. After a change of connections: another server may be there, with older data.
    /// After a change of partitions: the answer comes only when Redis has done what the partitions' last owner had sent it,
    /// so that our writes are the later ones.
    /// </summary>
    public bool IsStale => !_known || _renewalDue || _changes != redis.Changes || !ReferenceEquals(_lookedFor, assignment.Current);

    /// <summary>
    /// What tells that a primary has started anew: <c>run_id</c>; <c>script_cache</c> where it does not tell that; or <c>nothing</c>.
    /// Null before the first look.
    /// </summary>
    public string? RestartsSeenBy => _restartsSeenBy;

    /// <summary>Some of what is in Redis may be older than it was: every partition is to be read again.</summary>
    public void Renew() => _renewalDue = true;

    /// <summary>Looks at the value that the last write has read.</summary>
    /// <returns>False when it is another by now; then it has to be read again.</returns>
    public Task<bool> ObserveAsync(RedisValue value) => ObserveAsync(value, _lookedFor);

    /// <summary>
    /// Looks at a value that was read for partitions that were held before. It tells nothing of those that came since: their
    /// last owner may have named them after it was read, and then they are not to be read again.
    /// </summary>
    private async Task<bool> ObserveAsync(RedisValue value, IReadOnlyList<AssignedPartition> held)
    {
        // The usual case: nothing changed since every partition was found covered.
        if (ReferenceEquals(held, _covered) && value == _seen && !value.IsNull && !_renewalDue)
        {
            return true;
        }

        _covered = null;
        var database = await redis.GetAsync();
        if (!TryRead(value, out var id, out var names) || _renewalDue || MayHaveLost(id))
        {
            // Another replica may make one at the same time: then its id is the one, and is read next.
            var lost = id;
            id = NewId();
            if (!await ReplaceAsync(database, value, id))
            {
                return false;
            }

            LogNewEpoch(id, lost.Length == 0 ? "it had none" : _renewalDue ? "this process may have written late" : "its primary has started anew or is another");
            _renewalDue = false;
            names = [];
            value = id;
        }

        _known = true;
        var missing = new List<AssignedPartition>();
        var unnamed = new List<AssignedPartition>();
        var all = true;
        foreach (var partition in held)
        {
            if (names.Contains(partition.ToString()))
            {
                partition.CoveredEpoch = id;
            }
            else if (partition.CoveredEpoch is AssignedPartition.AnyEpoch || partition.CoveredEpoch == id)
            {
                partition.CoveredEpoch = id;

                // Only once its start is committed does the name say the truth to whoever gets the partition next.
                all = false;
                if (partition.Committed >= 0)
                {
                    unnamed.Add(partition);
                }
            }
            else
            {
                all = false;
                missing.Add(partition);
            }
        }

        if (missing.Count > 0)
        {
            rebuilds.Add(new(id, missing));
        }

        // Into no other epoch than the one that was looked at, and not for a partition that others may have by now: Redis may
        // have lost what they wrote.
        unnamed.RemoveAll(partition => !partition.Owned);
        if (unnamed.Count > 0 && membership.IsFresh)
        {
            await ReplaceAsync(database, value, $"{value} {string.Join(' ', unnamed)}");
        }

        if (all)
        {
            _seen = value;
            _covered = held;
        }

        return true;
    }

    /// <summary>Reads the epoch, and where connections have changed the primaries' run ids, and looks at them.</summary>
    public async Task CheckAsync(CancellationToken cancellationToken = default)
    {
        var (changes, held) = (redis.Changes, assignment.Current);
        if (changes != _changes)
        {
            (_runIds, _silent) = await redis.RunIdsAsync(cancellationToken);
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
            // Not ours; it is replaced.
            value = RedisValue.EmptyString;
        }

        if (changes != _changes)
        {
            await MarkAsync(value);
        }

        if (await ObserveAsync(value, held))
        {
            (_changes, _lookedFor) = (changes, held);
        }
    }

    /// <summary>Sees to it that a restart is noticed of servers that do not tell their run ids, as far as that can be.</summary>
    private async Task MarkAsync(RedisValue value)
    {
        var seenBy = "run_id";
        if (_silent.Count > 0)
        {
            TryRead(value, out var id, out _);
            var marks = await Task.WhenAll(_silent.Select(server => RunMark.FindOrMakeAsync(server, RunIdsOf(id))));
            _runIds = [.. _runIds, .. marks.OfType<string>().Order(StringComparer.Ordinal)];
            seenBy = marks.Contains(null) ? "nothing" : "script_cache";
        }

        if (_restartsSeenBy == seenBy)
        {
            return;
        }

        _restartsSeenBy = seenBy;
        if (seenBy == "script_cache")
        {
            LogNoRunId();
        }
        else if (seenBy == "nothing")
        {
            LogBlind();
        }
    }

    private string NewId() => _runIds.Count == 0 ? $"{Guid.NewGuid():N}" : $"{Guid.NewGuid():N}{RunIdsFollow}{string.Join(',', _runIds)}";

    /// <summary>Whether a primary has started, or taken over, since the epoch was made: it may have older data, or none.</summary>
    private bool MayHaveLost(string id) => RunIdsOf(id) is { Length: > 0 } runs
        ? _runIds.Except(runs).Any()

        // It was made when there was nothing to tell runs by; a mark that was made since tells nothing of the time before.
        : _silent.Count > 0 && _runIds.Count > 0;

    private static string[] RunIdsOf(string id) =>
        id.IndexOf(RunIdsFollow, StringComparison.Ordinal) is > 0 and var end ? id[(end + 1)..].Split(',') : [];

    /// <summary>Puts another epoch in the place of the one that was read; false when it is another by now.</summary>
    private Task<bool> ReplaceAsync(IDatabase database, RedisValue read, string epoch)
    {
        if (read.IsNullOrEmpty)
        {
            return database.StringSetAsync(keys.Epoch, epoch, when: read.IsNull ? When.NotExists : When.Always);
        }

#pragma warning disable SER301 // Comparing in one command takes Redis 8.4.
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

        // Without an id in front it is not ours.
        id = parts is [var first, ..] && !first.Contains('/') ? first : "";
        return id.Length > 0;
    }

    [LoggerMessage(Telemetry.EventIds.Persist + 1, LogLevel.Information, "Redis got a new epoch, {Epoch}: {Reason}.")]
    private partial void LogNewEpoch(string epoch, string reason);

    [LoggerMessage(Telemetry.EventIds.Persist + 2, LogLevel.Information,
        "Redis does not let this user ask for its run id (INFO): that it has started anew is seen by its script cache.")]
    private partial void LogNoRunId();

    [LoggerMessage(Telemetry.EventIds.Persist + 3, LogLevel.Warning,
        "Redis lets this user ask neither for its run id (INFO) nor for scripts of Redis 7 or later: a Redis that comes back from an old snapshot is not noticed. Grant +info.")]
    private partial void LogBlind();
}
