using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Decides where a partition starts. The group's committed offset comes first; without one <c>cache_consume_from</c>
/// counts, as a real offset that is committed like any other: otherwise <c>latest</c> would skip what arrives between two
/// starts. A topic or partition that was not there when the service started is read from its beginning.
/// </summary>
internal sealed partial class StartPositions(
    CacheOptions options, RowReader reader, BlockUntil blockUntil, TimeProvider time, ILogger<StartPositions> logger)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly Dictionary<string, int> _partitionsAtStart = [];

    /// <summary>Whether there may be partitions of which Kafka has not told yet where they start.</summary>
    public bool AnyUnknown { get; set; }

    /// <summary>Notes how many partitions a topic had when the service started; 0 when it was not there.</summary>
    public void NoteTopic(string topic, int partitions) => _partitionsAtStart.TryAdd(topic, partitions);

    /// <summary>Finds where each partition starts.</summary>
    /// <param name="consumer">The consumer.</param>
    /// <param name="partitions">The partitions.</param>
    /// <param name="patience">How long Kafka is asked again when it does not tell; the consume thread waits meanwhile.</param>
    /// <returns>
    /// The offset, and whether the group had committed it. <see cref="Offset.Stored"/> when Kafka did not tell: then the
    /// client looks it up itself, once, and has to be helped when that fails too.
    /// </returns>
    public List<(TopicPartitionOffset Start, bool Resumed)> Find<TKey, TValue>(
        IConsumer<TKey, TValue> consumer, IReadOnlyList<TopicPartition> partitions, TimeSpan patience)
    {
        var started = time.GetTimestamp();
        while (true)
        {
            try
            {
                var committed = consumer.Committed(partitions, Patience);
                return committed.ConvertAll(offset => offset.Offset.Value >= 0
                    ? (offset, true)
                    : (new TopicPartitionOffset(offset.TopicPartition, First(consumer, offset.TopicPartition)), false));
            }
            catch (KafkaException) when (time.GetElapsedTime(started) < patience)
            {
                // The coordinator may be on its way to another broker.
                blockUntil(Task.Delay(Pause, time, CancellationToken.None), patience);
            }
            catch (KafkaException exception)
            {
                if (!AnyUnknown)
                {
                    LogNotTold(exception.Error.Reason);
                }

                AnyUnknown = true;
                return [.. partitions.Select(partition => (new TopicPartitionOffset(partition, Offset.Stored), true))];
            }
        }
    }

    /// <summary>Finds the first row of each partition that is no older than a time; the end where there is none.</summary>
    /// <exception cref="KafkaException">Kafka did not answer.</exception>
    public List<TopicPartitionOffset> At<TKey, TValue>(IConsumer<TKey, TValue> consumer, IEnumerable<TopicPartition> partitions, TimeSpan back)
    {
        var from = time.GetUtcNow() - back;
        var found = consumer.OffsetsForTimes(
            partitions.Select(partition => new TopicPartitionTimestamp(partition, new Timestamp(from))), Patience);
        return found.ConvertAll(offset => offset.Offset.Value >= 0
            ? new TopicPartitionOffset(offset.TopicPartition, offset.Offset)
            : new TopicPartitionOffset(offset.TopicPartition, AtOrBeforeEnd(consumer, offset.TopicPartition, from)));
    }

    private Offset First<TKey, TValue>(IConsumer<TKey, TValue> consumer, TopicPartition partition)
    {
        if (_partitionsAtStart.TryGetValue(partition.Topic, out var count) && partition.Partition.Value >= count)
        {
            return consumer.QueryWatermarkOffsets(partition, Patience).Low;
        }

        return options.ConsumeFrom.Kind switch
        {
            ConsumeFromKind.Earliest => consumer.QueryWatermarkOffsets(partition, Patience).Low,
            ConsumeFromKind.Duration => At(consumer, [partition], options.ConsumeFrom.Back)[0].Offset,
            _ => consumer.QueryWatermarkOffsets(partition, Patience).High,
        };
    }

    /// <summary>
    /// "No row since then" is also what a broker says that cannot look up by time. The last row tells them apart; when it
    /// is young enough, reading the partition from its beginning loses nothing.
    /// </summary>
    private Offset AtOrBeforeEnd<TKey, TValue>(IConsumer<TKey, TValue> consumer, TopicPartition partition, DateTimeOffset from)
    {
        var watermarks = consumer.QueryWatermarkOffsets(partition, Patience);
        if (watermarks.High.Value <= watermarks.Low.Value)
        {
            return watermarks.High;
        }

        var last = reader.Read(partition, watermarks.High.Value - 1, watermarks.High.Value);
        return last is [var row] && row.Message.Timestamp.UnixTimestampMs >= from.ToUnixTimeMilliseconds() ? watermarks.Low : watermarks.High;
    }

    [LoggerMessage(Telemetry.EventIds.Consume + 10, LogLevel.Warning,
        "Kafka did not tell the committed offsets ({Error}); it is asked again, and the partitions wait meanwhile.")]
    private partial void LogNotTold(string error);
}
