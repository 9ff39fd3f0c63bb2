using System.Globalization;
using System.Text;
using Cache.Service.Persist;
using Cache.Tests.Simulation;
using Confluent.Kafka;

namespace Cache.Tests.Persist;

/// <summary>
/// A dead-letter topic in memory. Offsets without a record, as the markers of transactions leave them behind, are part of it.
/// </summary>
internal sealed class LetterLog(int partitions)
{
    public const string Topic = "cache_dead_letters";

    private readonly SortedList<long, ConsumeResult<byte[]?, byte[]?>>[] _records = [.. Enumerable.Range(0, partitions).Select(_ => new SortedList<long, ConsumeResult<byte[]?, byte[]?>>())];
    private readonly long[] _ends = new long[partitions];

    /// <summary>How many times records were handed over.</summary>
    public int Delivered { get; private set; }

    /// <summary>After how many records Kafka falls silent.</summary>
    public int SilentAfter { get; set; } = int.MaxValue;

    /// <summary>All records.</summary>
    public IEnumerable<ConsumeResult<byte[]?, byte[]?>> Records => _records.SelectMany(records => records.Values);

    public IEnumerable<(TopicPartition, long, long)> Partitions(long first = 0) => _ends.Select((end, number) => (new TopicPartition(Topic, number), Math.Min(first, end), end));

    /// <summary>Leaves an offset without a record.</summary>
    public void AddGap(int partition) => _ends[partition]++;

    public void Add(int partition, long time, byte[]? value, string? reason = "not_json", string topic = "event_metrics")
    {
        var headers = new Headers();
        if (reason is not null)
        {
            headers.Add(DeadLetters.ReasonHeader, Encoding.UTF8.GetBytes(reason));
            headers.Add(DeadLetters.TopicHeader, Encoding.UTF8.GetBytes(topic));
            headers.Add(DeadLetters.PartitionHeader, "3"u8.ToArray());
            headers.Add(DeadLetters.OffsetHeader, Encoding.UTF8.GetBytes(_ends[partition].ToString(CultureInfo.InvariantCulture)));
        }

        Add(partition, new() { Value = value, Headers = headers, Timestamp = new Timestamp(time, TimestampType.CreateTime) });
    }

    public void Add(int partition, Message<byte[]?, byte[]?> message)
    {
        var offset = _ends[partition]++;
        _records[partition].Add(offset, new() { Message = message, Topic = Topic, Partition = partition, Offset = offset });
    }

    /// <summary>A consumer of this log; it has only what a reader needs.</summary>
    public IConsumer<byte[]?, byte[]?> Consumer()
    {
        var positions = new Dictionary<TopicPartition, long>();
        var ended = new HashSet<TopicPartition>();
        var turn = 0;
        return Proxy.Of<IConsumer<byte[]?, byte[]?>>((method, arguments) =>
        {
            switch (method)
            {
                case "Assign":
                    positions = ((IEnumerable<TopicPartitionOffset>)arguments[0]!).ToDictionary(start => start.TopicPartition, start => start.Offset.Value);
                    ended.Clear();
                    return null;
                case "Consume":
                    return Next();
                default:
                    throw new NotSupportedException(method);
            }
        });

        ConsumeResult<byte[]?, byte[]?>? Next()
        {
            foreach (var (partition, from) in positions.OrderBy(position => (position.Key.Partition.Value + turn) % partitions).ToList())
            {
                turn++;
                if (Delivered >= SilentAfter)
                {
                    return null;
                }

                var records = _records[partition.Partition.Value];
                var at = Index(records.Keys, from);
                if (at < records.Count)
                {
                    Delivered++;
                    positions[partition] = records.Keys[at] + 1;
                    return records.Values[at];
                }

                if (ended.Add(partition))
                {
                    return new() { IsPartitionEOF = true, Topic = Topic, Partition = partition.Partition, Offset = _ends[partition.Partition.Value] };
                }
            }

            return null;
        }
    }

    private static int Index(IList<long> offsets, long from)
    {
        var (low, high) = (0, offsets.Count);
        while (low < high)
        {
            var middle = (low + high) / 2;
            (low, high) = offsets[middle] < from ? (middle + 1, high) : (low, middle);
        }

        return low;
    }
}
