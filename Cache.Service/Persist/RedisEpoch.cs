using Cache.Service.Consume;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>
/// Tells whether Redis still holds what was written. The key <c>cache:epoch</c> holds an id, made when there was none, and
/// after it the partitions whose windows are in Redis under that id. It goes when Redis loses its data; then, or when a
/// partition is not among the names, the partition has to be read again (docs/decisions/0005).
/// </summary>
internal sealed partial class RedisEpoch(RedisLink redis, RedisKeys keys, Assignment assignment, RebuildRequests rebuilds, ILogger<RedisEpoch> logger)
{
    private RedisValue _seen = RedisValue.Null;
    private IReadOnlyList<AssignedPartition>? _covered;

    /// <summary>
    /// Whether Redis has an epoch that this process knows. Before the first write it must: were the epoch made only after it,
    /// data lost in between would not be missed.
    /// </summary>
    public bool IsKnown { get; private set; }

    /// <summary>Looks at the value that the last write, or <see cref="CheckAsync"/>, has read.</summary>
    public async Task ObserveAsync(RedisValue value)
    {
        // The usual case: nothing changed since every partition was found covered.
        var held = assignment.Current;
        if (ReferenceEquals(held, _covered) && value == _seen && !value.IsNull)
        {
            return;
        }

        _covered = null;
        var database = await redis.GetAsync();
        if (!TryRead(value, out var id, out var names))
        {
            // Another replica may make one at the same time: then its id is the one, and is read next.
            id = Guid.NewGuid().ToString("N");
            if (!await database.StringSetAsync(keys.Epoch, id, when: value.IsNull ? When.NotExists : When.Always))
            {
                return;
            }

            LogNewEpoch(id);
            value = id;
        }

        IsKnown = true;
        var missing = new List<AssignedPartition>();
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
                    await database.StringAppendAsync(keys.Epoch, " " + partition);
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

        if (all)
        {
            _seen = value;
            _covered = held;
        }
    }

    /// <summary>Reads the epoch and looks at it.</summary>
    public async Task CheckAsync(CancellationToken cancellationToken = default)
    {
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

        await ObserveAsync(value);
    }

    private static bool TryRead(RedisValue value, out string id, out HashSet<string> names)
    {
        var parts = value.ToString().Split(' ', StringSplitOptions.RemoveEmptyEntries);
        names = [.. parts.Skip(1)];

        // Without an id in front it is not ours, or only a name that was appended just after the key went.
        id = parts is [var first, ..] && !first.Contains('/') ? first : "";
        return id.Length > 0;
    }

    [LoggerMessage(Telemetry.EventIds.Persist + 1, LogLevel.Information, "Redis has no epoch yet; made {Epoch}.")]
    private partial void LogNewEpoch(string epoch);
}

/// <summary>Partitions to read again under an epoch.</summary>
internal sealed record RebuildRequest(string Epoch, IReadOnlyList<AssignedPartition> Partitions);

/// <summary>Carries requests to the consume loop, which alone may rewind.</summary>
internal sealed class RebuildRequests
{
    private RebuildRequest? _next;

    /// <summary>Asks for a rebuild; a newer request stands for an older one that was not taken yet.</summary>
    public void Add(RebuildRequest request) => Volatile.Write(ref _next, request);

    /// <summary>Takes the request, if there is one.</summary>
    public RebuildRequest? Take() => Volatile.Read(ref _next) is null ? null : Interlocked.Exchange(ref _next, null);
}
