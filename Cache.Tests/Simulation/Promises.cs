using System.Globalization;
using Cache.Service.Decode;

namespace Cache.Tests.Simulation;

/// <summary>A row as the schedule produced it. Its measures are its number, so that a value in Redis tells which row it is from.</summary>
/// <param name="Number">Counts from 1.</param>
/// <param name="Kind"><see cref="RowKind.Rejected"/> for one that is to go to the dead letters.</param>
internal sealed record SimulatedRow(
    int Number, PartitionLog Log, long Offset, RowKind Kind, long Window, string Dimension, bool HasFirst, bool HasSecond, byte[] Value)
{
    public string Key => $"metrics:{(Kind == RowKind.Event ? "event" : "perf")}:{Window.ToString(CultureInfo.InvariantCulture)}";

    public IEnumerable<string> Fields
    {
        get
        {
            if (HasFirst)
            {
                yield return Dimension + (Kind == RowKind.Event ? ".count" : ".avg_load_time");
            }

            if (HasSecond)
            {
                yield return Dimension + (Kind == RowKind.Event ? ".users" : ".p95_load_time");
            }
        }
    }

    public override string ToString() => Kind == RowKind.Rejected
        ? $"row {Number} at {Log} {Offset}, rejected"
        : $"row {Number} at {Log} {Offset}, {string.Join(' ', Fields)} of {Key}";
}

/// <summary>
/// The model: it knows the rows in Kafka and looks at nothing else than Kafka's offsets, the dead letters and Redis. Each
/// change of one of these is checked as it happens; the first promise that is broken stays.
/// </summary>
/// <param name="retention">Windows of a type that stay.</param>
internal sealed class Promises(int retention)
{
    private readonly List<SimulatedRow?> _rows = [null];
    private readonly Dictionary<RowKind, SortedSet<long>> _windows = new() { [RowKind.Event] = [], [RowKind.Performance] = [] };
    private readonly HashSet<(string Topic, int Partition, long Offset)> _deadLetters = [];

    /// <summary>What happened, when somebody wants to read it.</summary>
    public List<string>? Trace { get; init; }

    /// <summary>The first promise that was broken, and how; null while all are kept.</summary>
    public string? Broken { get; private set; }

    public IReadOnlyList<PartitionLog> Logs { get; init; } = [];

    public SimulatedRedis Redis { get; set; } = null!;

    /// <summary>By number.</summary>
    public IReadOnlyList<SimulatedRow?> Rows => _rows;

    public void Break(string how)
    {
        Trace?.Add($"BROKEN: {how}");
        Broken ??= how;
    }

    public void Produced(SimulatedRow row)
    {
        _rows.Add(row);
        if (row.Kind != RowKind.Rejected)
        {
            _windows[row.Kind].Add(row.Window);
        }
    }

    /// <summary>
    /// I4: a field of a window got another value. Rows may be written again, older ones first, as long as they were never
    /// committed or Redis has lost them; behind a committed offset nothing goes back.
    /// </summary>
    public void Written(long before, long now)
    {
        if (before != 0 && _rows[(int)before] is { } last && _rows[(int)now] is { } row
            && row.Offset < last.Offset && row.Log.IsNamed && row.Offset < row.Log.Committed)
        {
            Break($"I4: {row} was written over {last}, though offset {row.Log.Committed} was committed");
        }
    }

    /// <summary>A window's hash was deleted.</summary>
    public void Deleted(string key)
    {
        var kind = key.StartsWith("metrics:event:", StringComparison.Ordinal) ? RowKind.Event : RowKind.Performance;
        var window = long.Parse(key.AsSpan(key.LastIndexOf(':') + 1), CultureInfo.InvariantCulture);
        if (!IsBeyondRetention(kind, window))
        {
            Break($"I1: {key} was deleted, and is within retention");
        }
    }

    /// <summary>The epoch changed: which partitions does it name?</summary>
    public void EpochIs(string? value)
    {
        var parts = value?.Split(' ', StringSplitOptions.RemoveEmptyEntries) ?? [];
        var hasId = parts is [var id, ..] && !id.Contains('/', StringComparison.Ordinal);
        foreach (var log in Logs)
        {
            var isNamed = hasId && parts.Contains(log.ToString());
            if (!isNamed)
            {
                log.CheckedUpTo = 0;
            }

            if (isNamed && !log.IsNamed)
            {
                log.IsNamed = true;
                Durable(log);
            }

            log.IsNamed = isNamed;
        }
    }

    /// <summary>I3: the group's offset of a partition moved.</summary>
    public void Committed(PartitionLog log, long offset)
    {
        Trace?.Add($"kafka: {log} committed {offset}");
        log.Committed = offset;
        if (log.IsNamed)
        {
            Durable(log);
        }
    }

    /// <summary>I2: a row came to the dead letters.</summary>
    public void DeadLettered(string topic, int partition, long offset, byte[]? value)
    {
        Trace?.Add($"kafka: dead letter of {topic}/{partition} {offset}");
        var row = Logs.Single(log => log.Topic == topic && log.Partition == partition).Rows[(int)offset];
        if (row is not { Kind: RowKind.Rejected } || !row.Value.AsSpan().SequenceEqual(value))
        {
            Break($"I2: {topic}/{partition} {offset} is in the dead letters, and is none");
        }

        _deadLetters.Add((topic, partition, offset));
    }

    /// <summary>I1 and I2: nothing is on its way any more.</summary>
    public void Settled()
    {
        var expected = new SortedDictionary<string, Dictionary<string, long>>(StringComparer.Ordinal);
        foreach (var row in Logs.SelectMany(log => log.Rows))
        {
            if (row is { Kind: RowKind.Rejected } && !_deadLetters.Contains((row.Log.Topic, row.Log.Partition, row.Offset)))
            {
                Break($"I2: {row}, is not in the dead letters");
            }
            else if (row is { Kind: not RowKind.Rejected } && !IsBeyondRetention(row.Kind, row.Window))
            {
                expected.TryAdd(row.Key, []);
                foreach (var field in row.Fields)
                {
                    expected[row.Key][field] = row.Number;
                }
            }
        }

        foreach (var (key, fields) in expected)
        {
            if (!Redis.Data.Hashes.TryGetValue(key, out var hash))
            {
                Break($"I1: {key} is missing");
            }
            else if (Differs(fields, hash.Fields))
            {
                Break($"I1: {key} is {Show(hash.Fields)} and should be {Show(fields)}");
            }
            else if (!hash.Expires)
            {
                Break($"I1: {key} has no TTL");
            }
        }

        foreach (var key in Redis.Data.Hashes.Keys.Where(key => !expected.ContainsKey(key)))
        {
            Break($"I1: {key} should not be there");
        }

        foreach (var (key, kind) in new[] { ("metrics:event:windows", RowKind.Event), ("metrics:perf:windows", RowKind.Performance) })
        {
            var windows = _windows[kind].Reverse().Take(retention).Reverse().ToList();
            var index = Redis.Data.Indices.GetValueOrDefault(key);
            if (!windows.SequenceEqual(index?.Starts ?? []))
            {
                Break($"I1: {key} is {string.Join(' ', index?.Starts ?? [])} and should be {string.Join(' ', windows)}");
            }
            else if (index is { Expires: false })
            {
                Break($"I1: {key} has no TTL");
            }
        }
    }

    private bool IsBeyondRetention(RowKind kind, long window)
    {
        var newer = 0;
        foreach (var other in _windows[kind].Reverse())
        {
            if (other <= window || ++newer >= retention)
            {
                break;
            }
        }

        return newer >= retention;
    }

    /// <summary>Whether all before the committed offset is in Redis, or in the dead letters.</summary>
    private void Durable(PartitionLog log)
    {
        for (var offset = log.CheckedUpTo; offset < log.Committed; offset++)
        {
            if (log.Rows[(int)offset] is not { } row)
            {
                continue;
            }

            if (row.Kind == RowKind.Rejected ? !_deadLetters.Contains((log.Topic, log.Partition, offset)) : !IsBeyondRetention(row.Kind, row.Window) && !IsInRedis(row))
            {
                Break($"I3: offset {log.Committed} of {log} is committed, and {row}, is not there");
            }
        }

        log.CheckedUpTo = log.Committed;
    }

    private bool IsInRedis(SimulatedRow row) => Redis.Data.Hashes.TryGetValue(row.Key, out var hash)
        && row.Fields.All(field => hash.Fields.TryGetValue(field, out var number) && _rows[(int)number]!.Offset >= row.Offset);

    private static bool Differs(Dictionary<string, long> expected, Dictionary<string, long> actual) =>
        expected.Count != actual.Count || expected.Any(field => actual.GetValueOrDefault(field.Key) != field.Value);

    private static string Show(Dictionary<string, long> fields) =>
        string.Join(' ', fields.OrderBy(field => field.Key, StringComparer.Ordinal).Select(field => $"{field.Key}={field.Value}"));
}
