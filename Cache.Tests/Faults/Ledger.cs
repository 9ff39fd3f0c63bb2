using System.Collections.Concurrent;
using System.Globalization;
using Confluent.Kafka;

namespace Cache.Tests.Faults;

/// <summary>A row that was sent, and what has to become of it: that follows from how it was made, not from decoding it.</summary>
/// <param name="Number">Its number, which is its Kafka key too.</param>
/// <param name="To">The partition; a dimension always has the same one.</param>
/// <param name="Value">The bytes; null for a tombstone.</param>
/// <param name="Entry">Where its fields go in Redis; null for a row that is rejected, or skipped.</param>
/// <param name="Fields">The fields of its hash, with their values.</param>
/// <param name="Rejected">Whether it has to end in the dead letters.</param>
internal sealed record LedgerRow(
    long Number, TopicPartition To, byte[]? Value, Entry? Entry, IReadOnlyList<(string Name, string Value)> Fields, bool Rejected);

/// <summary>A hash with its place on an index.</summary>
internal sealed record Entry(string Hash, string Index, string Member, double Score)
{
    private const string Sessions = "sessions:active";

    /// <summary>Whether only the newest of its index stay.</summary>
    public bool IsTrimmed => Index != Sessions;

    public static Entry Session(string id, long end) => new($"session:{id}", Sessions, id, end);

    public static Entry Window(string type, long start) =>
        new($"metrics:{type}:{start}", $"metrics:{type}:windows", start.ToString(CultureInfo.InvariantCulture), start);
}

/// <summary>Everything that was sent; reads Kafka's topics back, and knows from them what Redis has to hold.</summary>
/// <param name="retention">How many windows of a type stay.</param>
internal sealed class Ledger(int retention)
{
    private readonly ConcurrentDictionary<long, LedgerRow> _rows = new();
    private long _last;

    /// <summary>How many windows of a type stay.</summary>
    public int Retention => retention;

    /// <summary>The number of the last row.</summary>
    public long Last => Volatile.Read(ref _last);

    /// <summary>Notes a row, before it is sent.</summary>
    public void Add(LedgerRow row)
    {
        _rows[row.Number] = row;
        Volatile.Write(ref _last, Math.Max(_last, row.Number));
    }

    public LedgerRow this[long number] => _rows[number];

    /// <summary>Rows in the order in which they were noted.</summary>
    public IEnumerable<LedgerRow> Rows => _rows.Values.OrderBy(row => row.Number);

    /// <summary>The message of a row.</summary>
    public static Message<byte[]?, byte[]?> Message(LedgerRow row) => new() { Key = BitConverter.GetBytes(row.Number), Value = row.Value };

    /// <summary>Whether a message's key is that of a row here, where others send to the same topics.</summary>
    public bool Has(byte[]? key) => key?.Length == sizeof(long) && _rows.ContainsKey(BitConverter.ToInt64(key));

    /// <summary>Brings together what Kafka holds and what was meant by it.</summary>
    public KafkaLog Read(IEnumerable<ConsumeResult<byte[]?, byte[]?>> messages) =>
        new(this, messages.Select(message => (message.TopicPartition, message.Offset.Value, _rows[BitConverter.ToInt64(message.Message.Key!)])));
}

/// <summary>The field of a hash.</summary>
internal readonly record struct FieldKey(string Hash, string Name)
{
    public override string ToString() => $"{Hash} {Name}";
}

/// <summary>The topics as they stand: for each partition, every row with its offset.</summary>
internal sealed class KafkaLog
{
    private readonly Dictionary<FieldKey, FieldHistory> _fields = [];
    private readonly Dictionary<string, Entry> _entries = [];

    public KafkaLog(Ledger ledger, IEnumerable<(TopicPartition Partition, long Offset, LedgerRow Row)> rows)
    {
        Ledger = ledger;
        foreach (var partition in rows.GroupBy(row => row.Partition))
        {
            Partitions[partition.Key] = [.. partition.OrderBy(row => row.Offset).Select(row => (row.Offset, row.Row))];
            foreach (var (offset, row) in Partitions[partition.Key])
            {
                if (row.Entry is { } entry)
                {
                    _entries[entry.Hash] = entry;
                }

                foreach (var (name, value) in row.Fields)
                {
                    var key = new FieldKey(row.Entry!.Hash, name);
                    if (!_fields.TryGetValue(key, out var history))
                    {
                        _fields[key] = history = new(partition.Key);
                    }

                    history.Add(offset, value);
                }
            }
        }
    }

    public Ledger Ledger { get; }

    public Dictionary<TopicPartition, List<(long Offset, LedgerRow Row)>> Partitions { get; } = [];

    /// <summary>Every field that was ever written, with its values in the order of the log.</summary>
    public IReadOnlyDictionary<FieldKey, FieldHistory> Fields => _fields;

    /// <summary>The rejected rows, by origin.</summary>
    public IEnumerable<TopicPartitionOffset> Rejected => Partitions.SelectMany(partition =>
        partition.Value.Where(row => row.Row.Rejected).Select(row => new TopicPartitionOffset(partition.Key, row.Offset)));

    /// <summary>The place of each hash on its index, as the last row has it.</summary>
    public IReadOnlyDictionary<string, Entry> Entries => _entries;

    /// <summary>What has to be in Redis at the end: every session, and the newest windows of a type.</summary>
    public HashSet<Entry> Retained() => [.. _entries.Values.GroupBy(entry => entry.Index).SelectMany(index =>
        index.OrderByDescending(entry => entry.Score).TakeWhile((entry, rank) => !entry.IsTrimmed || rank < Ledger.Retention))];
}

/// <summary>The values of one field, as its partition has them.</summary>
internal sealed class FieldHistory(TopicPartition partition)
{
    private readonly Dictionary<string, long> _lastOffset = [];

    public TopicPartition Partition { get; } = partition;

    /// <summary>The value that stands at the end.</summary>
    public string Last { get; private set; } = "";

    public void Add(long offset, string value)
    {
        _lastOffset[value] = offset;
        Last = value;
    }

    /// <summary>The last offset with a value; negative when no row says so.</summary>
    public long OffsetOf(string value) => _lastOffset.GetValueOrDefault(value, -1);
}
