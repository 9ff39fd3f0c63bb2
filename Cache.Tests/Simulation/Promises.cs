using System.Globalization;
using Cache.Metrics;
using Confluent.Kafka;

namespace Cache.Tests.Simulation;

/// <summary>A row that the schedule produced. Its measures equal its number, so that a value in Redis identifies its row.</summary>
/// <param name="Number">Its number, from 1.</param>
/// <param name="Log">Its partition.</param>
/// <param name="Offset">Its offset in the partition.</param>
/// <param name="IsRejected">Whether it belongs in the dead letters.</param>
/// <param name="Type">The metric type; null for a session.</param>
/// <param name="Time">The window's start, or the session's end.</param>
/// <param name="Name">The dimension, or the session's id.</param>
/// <param name="Present">A bit for each measure that it has; for a session, the duration and the pages.</param>
/// <param name="Value">Its bytes.</param>
/// <param name="Fits">How much of it the dead-letter topic accepts.</param>
internal sealed record SimulatedRow(
    int Number, PartitionLog Log, long Offset, bool IsRejected, MetricType? Type, long Time, string Name, int Present, byte[] Value, Fit Fits = Fit.Whole)
{
    /// <summary>The hash that it is written to.</summary>
    public string Key { get; } = Type is null ? $"session:{Name}" : string.Create(CultureInfo.InvariantCulture, $"metrics:{Type.Key}:{Time}");

    /// <summary>The fields that hold its number.</summary>
    public IReadOnlyList<string> Fields { get; } =
        [.. (Type?.Measures.Select(measure => $"{Name}.{measure.Name}") ?? ["duration", "page_count"]).Where((_, number) => (Present & (1 << number)) != 0)];

    public bool IsOfWindow => Type is not null && !IsRejected;

    public override string ToString() => IsRejected
        ? $"row {Number} at {Log} {Offset}, rejected"
        : $"row {Number} at {Log} {Offset}, {string.Join(' ', Fields)} of {Key}";
}

/// <summary>How much of a row the dead-letter topic accepts.</summary>
internal enum Fit
{
    Whole,
    WithoutValue,
    NotAtAll,
}

/// <summary>
/// The model. It knows the rows in Kafka, and sees nothing but Kafka's offsets, the dead letters and Redis. Every change of
/// these is checked as it happens; the first broken promise is recorded.
/// </summary>
/// <param name="retention">Number of windows retained per type.</param>
internal sealed class Promises(int retention)
{
    private readonly List<SimulatedRow?> _rows = [null];

    // The retained windows, newest first.
    private readonly Dictionary<MetricType, List<long>> _windows = [];
    private readonly HashSet<(string Topic, int Partition, long Offset)> _deadLetters = [];
    private readonly HashSet<(string Topic, int Partition, long Offset)> _refused = [];

    /// <summary>What happened, line by line; null unless requested.</summary>
    public List<string>? Trace { get; init; }

    /// <summary>The first broken promise, and how it was broken; null while all are kept.</summary>
    public string? Broken { get; private set; }

    public IReadOnlyList<PartitionLog> Logs { get; init; } = [];

    public SimulatedRedis Redis { get; set; } = null!;

    /// <summary>The number of the next row.</summary>
    public int NextNumber => _rows.Count;

    public void Break(string how)
    {
        Trace?.Add($"BROKEN: {how}");
        Broken ??= how;
    }

    public void Produced(SimulatedRow row)
    {
        _rows.Add(row);
        if (row.IsOfWindow && WindowsOf(row.Type!) is var windows && !windows.Contains(row.Time))
        {
            windows.Add(row.Time);
            windows.Sort(static (one, other) => other.CompareTo(one));
            if (windows.Count > retention)
            {
                windows.RemoveAt(retention);
            }
        }
    }

    /// <summary>
    /// I4: a field's value changed. Rows may be rewritten, older ones first, if they were never committed or Redis lost them;
    /// nothing before the committed offset may regress.
    /// </summary>
    public void Written(string field, string? before, string now)
    {
        if (before is not null && RowOf(field, before) is { } last && RowOf(field, now) is { } row
            && row.Offset < last.Offset && row.Log.IsNamed && row.Offset < row.Log.Committed)
        {
            Break($"I4: {row} was written over {last}, though offset {row.Log.Committed} was committed");
        }
    }

    /// <summary>A window's hash was deleted.</summary>
    public void Deleted(string key)
    {
        var type = _windows.Keys.SingleOrDefault(type => key.StartsWith($"metrics:{type.Key}:", StringComparison.Ordinal));
        var window = long.Parse(key.AsSpan(key.LastIndexOf(':') + 1), CultureInfo.InvariantCulture);
        if (type is null || !IsBeyondRetention(type, window))
        {
            Break($"I1: {key} was deleted, and is within retention");
        }
    }

    /// <summary>The epoch changed, and with it possibly the partitions that it lists.</summary>
    public void EpochIs(string? value)
    {
        var parts = value?.Split(' ', StringSplitOptions.RemoveEmptyEntries) ?? [];
        var named = parts.ToHashSet();

        // An epoch from an earlier run of Redis proves nothing: what was written after the last save is gone.
        var holds = parts is [var id, ..] && id.EndsWith(':' + Redis.RunId, StringComparison.Ordinal);
        foreach (var log in Logs)
        {
            var isNamed = holds && named.Contains(log.Name);
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

    /// <summary>I3: the group committed an offset.</summary>
    public void Committed(PartitionLog log, long offset)
    {
        Trace?.Add($"kafka: {log} committed {offset}");
        log.Committed = offset;
        if (log.IsNamed)
        {
            Durable(log);
        }
    }

    /// <summary>I2: a row is sent to the dead letters, which may reject it.</summary>
    public ErrorCode DeadLettered(string topic, int partition, long offset, byte[]? value)
    {
        var row = Logs.Single(log => log.Topic == topic && log.Partition == partition).Rows[(int)offset];
        if (row is not { IsRejected: true } || !(row.Value.AsSpan().SequenceEqual(value) || (value is null && row.Fits != Fit.Whole)))
        {
            Break($"I2: {topic}/{partition} {offset} is in the dead letters, and is none");
            return ErrorCode.NoError;
        }

        if (row.Fits == Fit.NotAtAll || (row.Fits == Fit.WithoutValue && value is not null))
        {
            if (value is null)
            {
                _refused.Add((topic, partition, offset));
            }

            return row.Fits == Fit.NotAtAll ? ErrorCode.InvalidRecord : ErrorCode.MsgSizeTooLarge;
        }

        Trace?.Add($"kafka: dead letter of {topic}/{partition} {offset}");
        _deadLetters.Add((topic, partition, offset));
        return ErrorCode.NoError;
    }

    /// <summary>I1 and I2: nothing is in flight any more.</summary>
    public void Settled()
    {
        var expected = new RedisData();
        foreach (var row in Logs.SelectMany(log => log.Rows).OfType<SimulatedRow>())
        {
            if (row.IsRejected)
            {
                if (!IsDoneWith(row))
                {
                    Break($"I2: {row}, is not in the dead letters");
                }
            }
            else if (!IsBeyondRetention(row))
            {
                expected.Hashes.TryAdd(row.Key, new());
                var fields = expected.Hashes[row.Key].Fields;
                foreach (var field in row.Fields)
                {
                    fields[field] = row.Number.ToString(CultureInfo.InvariantCulture);
                }

                var (index, member) = (IndexOf(row.Type), row.Time.ToString(CultureInfo.InvariantCulture));
                if (row.Type is null)
                {
                    (fields["session_id"], fields["end_time"], member) = (row.Name, member, row.Name);
                }

                expected.Indices.TryAdd(index, new());
                expected.Indices[index].Scores[member] = row.Time;
            }
        }

        Compare(expected.Hashes, Redis.Data.Hashes, hash => hash.Fields, hash => hash.Expires);
        Compare(expected.Indices, Redis.Data.Indices, index => index.Scores, index => index.Expires);
    }

    private void Compare<T, TValue>(
        Dictionary<string, T> expected, Dictionary<string, T> actual, Func<T, Dictionary<string, TValue>> content, Func<T, bool> expires)
    {
        foreach (var key in expected.Keys.Union(actual.Keys).Order(StringComparer.Ordinal))
        {
            if (!expected.TryGetValue(key, out var should))
            {
                Break($"I1: {key} should not be there");
            }
            else if (!actual.TryGetValue(key, out var is_))
            {
                Break($"I1: {key} is missing");
            }
            else if (!AreEqual(content(should), content(is_)))
            {
                Break($"I1: {key} is {Show(content(is_))} and should be {Show(content(should))}");
            }
            else if (!expires(is_))
            {
                Break($"I1: {key} has no TTL");
            }
        }
    }

    private static bool AreEqual<TValue>(Dictionary<string, TValue> one, Dictionary<string, TValue> other) =>
        one.Count == other.Count && one.All(entry => other.TryGetValue(entry.Key, out var value) && Equals(value, entry.Value));

    private bool IsBeyondRetention(SimulatedRow row) => row.IsOfWindow && IsBeyondRetention(row.Type!, row.Time);

    private bool IsBeyondRetention(MetricType type, long window) => WindowsOf(type) is var windows && windows.Count == retention && window < windows[^1];

    /// <summary>Checks that every row before the committed offset is in Redis, or in the dead letters.</summary>
    private void Durable(PartitionLog log)
    {
        if (log.Committed > log.Rows.Count)
        {
            Break($"I3: offset {log.Committed} of {log} is committed, and the partition ends at {log.Rows.Count}");
            return;
        }

        for (var offset = log.CheckedUpTo; offset < log.Committed; offset++)
        {
            if (log.Rows[(int)offset] is { } row
                && !(row.IsRejected ? IsDoneWith(row) : IsBeyondRetention(row) || IsInRedis(row)))
            {
                Break($"I3: offset {log.Committed} of {log} is committed, and {row}, is not there");
            }
        }

        log.CheckedUpTo = log.Committed;
    }

    /// <summary>Whether a rejected row is in the dead letters, or was refused by them.</summary>
    private bool IsDoneWith(SimulatedRow row) => (row.Fits == Fit.NotAtAll ? _refused : _deadLetters).Contains((row.Log.Topic, row.Log.Partition, row.Offset));

    private bool IsInRedis(SimulatedRow row) => Redis.Data.Hashes.TryGetValue(row.Key, out var hash)
        && row.Fields.All(field => hash.Fields.TryGetValue(field, out var value) && RowOf(field, value)!.Offset >= row.Offset);

    /// <summary>The row that wrote a field's value; null for fields that do not identify it.</summary>
    public SimulatedRow? RowOf(string field, string value) =>
        field is "session_id" or "end_time" ? null : _rows[int.Parse(value, CultureInfo.InvariantCulture)];

    private static string IndexOf(MetricType? type) => type is null ? "sessions:active" : $"metrics:{type.Key}:windows";

    private List<long> WindowsOf(MetricType type)
    {
        if (!_windows.TryGetValue(type, out var windows))
        {
            _windows[type] = windows = [];
        }

        return windows;
    }

    private static string Show<TValue>(Dictionary<string, TValue> content) =>
        string.Join(' ', content.OrderBy(entry => entry.Key, StringComparer.Ordinal).Select(entry => $"{entry.Key}={entry.Value}"));
}
