using System.Collections.Concurrent;
using System.Globalization;
using Confluent.Kafka;

namespace Cache.Tests.Faults;

/// <summary>A row that was sent, and its expected outcome, which follows from how it was made, not from decoding it.</summary>
/// <param name="Number">Its number, which is also its Kafka key.</param>
/// <param name="To">Its partition, always the same one for a dimension.</param>
/// <param name="Value">Its bytes; null for a tombstone.</param>
/// <param name="Entry">The hash in Redis for its fields; null for a row that is rejected or skipped.</param>
/// <param name="Fields">Its fields in the hash, with their values.</param>
/// <param name="Rejected">Whether it must end up in the dead letters.</param>
internal sealed record LedgerRow(
    long Number, TopicPartition To, byte[]? Value, Entry? Entry, IReadOnlyList<(string Name, string Value)> Fields, bool Rejected);

/// <summary>A hash, and its entry in an index.</summary>
internal sealed record Entry(string Hash, string Index, string Member, double Score)
{
    private const string Sessions = "sessions:active";

    /// <summary>Whether the index retains only its newest entries.</summary>
    public bool IsTrimmed => Index != Sessions;

    public static Entry Session(string id, long end) => new($"session:{id}", Sessions, id, end);

    public static Entry Window(string type, long start) =>
        new($"metrics:{type}:{start}", $"metrics:{type}:windows", start.ToString(CultureInfo.InvariantCulture), start);
}

/// <summary>Every row that was sent. Given what is in Kafka's topics, it knows what Redis must hold.</summary>
/// <param name="retention">Number of windows retained per type.</param>
internal sealed class Ledger(int retention)
{
    private readonly ConcurrentDictionary<long, LedgerRow> _rows = new();
    private long _last;

    /// <summary>Number of windows retained per type.</summary>
    public int Retention => retention;

    /// <summary>The number of the last row.</summary>
    public long Last => Volatile.Read(ref _last);

    /// <summary>Records a row, before it is sent.</summary>
    public void Add(LedgerRow row)
    {
        _rows[row.Number] = row;
        Volatile.Write(ref _last, Math.Max(_last, row.Number));
    }

    public LedgerRow this[long number] => _rows[number];

    /// <summary>The rows, in the order of recording.</summary>
    public IEnumerable<LedgerRow> Rows => _rows.Values.OrderBy(row => row.Number);

    /// <summary>The Kafka message of a row.</summary>
    public static Message<byte[]?, byte[]?> Message(LedgerRow row) => new() { Key = BitConverter.GetBytes(row.Number), Value = row.Value };

    /// <summary>Whether a message's key is that of a row here, if others send to the same topics, too.</summary>
    public bool Has(byte[]? key) => key?.Length == sizeof(long) && _rows.ContainsKey(BitConverter.ToInt64(key));

    /// <summary>Matches the messages in Kafka with the rows sent.</summary>
    public KafkaLog Read(IEnumerable<ConsumeResult<byte[]?, byte[]?>> messages) =>
        new(this, messages.Select(message => (message.TopicPartition, message.Offset.Value, _rows[BitConverter.ToInt64(message.Message.Key!)])));
}

/// <summary>A field of a hash.</summary>
internal readonly record struct FieldKey(string Hash, string Name)
{
    public override string ToString() => $"{Hash} {Name}";
}

/// <summary>The contents of the topics: every row of each partition, with its offset.</summary>
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

    /// <summary>Every field ever written, with its values in the order of the log.</summary>
    public IReadOnlyDictionary<FieldKey, FieldHistory> Fields => _fields;

    /// <summary>The rejected rows, by origin.</summary>
    public IEnumerable<TopicPartitionOffset> Rejected => Partitions.SelectMany(partition =>
        partition.Value.Where(row => row.Row.Rejected).Select(row => new TopicPartitionOffset(partition.Key, row.Offset)));

    /// <summary>Each hash with its index entry, according to its last row.</summary>
    public IReadOnlyDictionary<string, Entry> Entries => _entries;

    /// <summary>What Redis must hold at the end: every session, and the newest windows per type.</summary>
    public HashSet<Entry> Retained() => [.. _entries.Values.GroupBy(entry => entry.Index).SelectMany(index =>
        index.OrderByDescending(entry => entry.Score).TakeWhile((entry, rank) => !entry.IsTrimmed || rank < Ledger.Retention))];
}

/// <summary>The values of one field, in the order of its partition.</summary>
internal sealed class FieldHistory(TopicPartition partition)
{
    private readonly Dictionary<string, long> _lastOffset = [];

    public TopicPartition Partition { get; } = partition;

    /// <summary>The final value.</summary>
    public string Last { get; private set; } = "";

    public void Add(long offset, string value)
    {
        _lastOffset[value] = offset;
        Last = value;
    }

    /// <summary>The last offset with a value; negative if no row has it.</summary>
    public long OffsetOf(string value) => _lastOffset.GetValueOrDefault(value, -1);
}
