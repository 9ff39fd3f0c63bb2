using Cache.Service.Model;
using Cache.Service.Options;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Rereads rows at known offsets, outside the group: decoded rows do not keep their bytes, and for the few whose bytes are
/// needed later, fetching them again is cheaper.
/// </summary>
internal sealed class RowReader(CacheOptions options)
{
    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(10);

    /// <summary>Reads the rows from one offset up to, but not including, another.</summary>
    /// <param name="partition">The partition.</param>
    /// <param name="from">The first offset.</param>
    /// <param name="to">The offset after the last row.</param>
    /// <param name="maxBytes">Reading stops after the row that reaches this many bytes.</param>
    /// <exception cref="KafkaException">Kafka did not deliver them in time.</exception>
    public List<ConsumeResult<byte[]?, byte[]?>> Read(TopicPartition partition, long from, long to, long maxBytes = long.MaxValue)
    {
        var consumer = Consumer();
        consumer.Assign(new TopicPartitionOffset(partition, from));
        var rows = new List<ConsumeResult<byte[]?, byte[]?>>();
        var bytes = 0L;
        using var deadline = new CancellationTokenSource(Timeout);
        try
        {
            while (true)
            {
                var row = consumer.Consume(deadline.Token);
                if (row.IsPartitionEOF || row.Offset >= to)
                {
                    return rows;
                }

                rows.Add(row);
                bytes += SizeOf(row);
                if (row.Offset == to - 1 || bytes >= maxBytes)
                {
                    return rows;
                }
            }
        }
        catch (OperationCanceledException)
        {
            throw new KafkaException(new Error(ErrorCode.Local_TimedOut, $"{partition} could not be read from offset {from} to {to}."));
        }
        finally
        {
            KafkaHandle.EndAsync(consumer).Wait(CancellationToken.None);
        }
    }

    /// <summary>Memory held by a row, in bytes.</summary>
    public static long SizeOf(ConsumeResult<byte[]?, byte[]?> row) => new RejectedRow(row.Message.Key, row.Message.Value ?? [], row.Message.Headers).Size;

    /// <summary>Reads the timestamp of one row per partition, milliseconds since 1970 UTC; skips rows that are gone.</summary>
    /// <exception cref="KafkaException">Kafka did not deliver them in time.</exception>
    public IReadOnlyDictionary<TopicPartition, long> Timestamps(IReadOnlyCollection<TopicPartitionOffset> rows)
    {
        var consumer = Consumer();
        consumer.Assign(rows);
        var waiting = rows.Select(row => row.TopicPartition).ToHashSet();
        var found = new Dictionary<TopicPartition, long>();
        using var deadline = new CancellationTokenSource(Timeout);
        try
        {
            while (waiting.Count > 0)
            {
                var row = consumer.Consume(deadline.Token);
                if (waiting.Remove(row.TopicPartition) && !row.IsPartitionEOF)
                {
                    found.Add(row.TopicPartition, row.Message.Timestamp.UnixTimestampMs);
                }
            }

            return found;
        }
        catch (OperationCanceledException)
        {
            throw new KafkaException(new Error(ErrorCode.Local_TimedOut, $"{waiting.Count} rows could not be read again."));
        }
        finally
        {
            KafkaHandle.EndAsync(consumer).Wait(CancellationToken.None);
        }
    }

    private IConsumer<byte[]?, byte[]?> Consumer() => new ConsumerBuilder<byte[]?, byte[]?>(KafkaClients.ForReading(options))
        .SetLogHandler((_, _) => { })
        .SetErrorHandler((_, _) => { })
        .Build();
}
