using Cache.Service.Options;
using Cache.Service.Telemetry;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Service.Consume;

/// <summary>
/// Decides where a partition starts. The group's committed offset comes first; without one <c>cache_consume_from</c>
/// counts, as a real offset that is committed like any other: otherwise <c>latest</c> would skip what arrives between two
/// starts. A topic or partition that was not there when the service started is read from its beginning.
/// </summary>
internal sealed partial class StartPositions(
    IKafkaLookups kafka, CacheOptions options, BlockUntil blockUntil, TimeProvider time, ILogger<StartPositions> logger)
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly Dictionary<string, int> _partitionsAtStart = [];
    private readonly Dictionary<string, DateTimeOffset> _unsureSince = [];

    /// <summary>Whether there may be partitions of which Kafka has not told yet where they start.</summary>
    public bool AnyUnknown { get; set; }

    /// <summary>Notes how many partitions a topic had when the service started; 0 when it was not there.</summary>
    public void NoteTopic(string topic, int partitions) => _partitionsAtStart.TryAdd(topic, partitions);

    /// <summary>
    /// Notes that Kafka did not tell, for a moment or until now, whether a topic was there when the service started. Then
    /// <c>latest</c> means the rows since that start: those of before are skipped as if the topic had been there, and those of a
    /// topic that has just been made are not.
    /// </summary>
    public void NoteUnsure(string topic, DateTimeOffset since) => _unsureSince.TryAdd(topic, since);

    /// <summary>Finds where each partition starts; for the client's callbacks, which have to wait for it.</summary>
    /// <param name="partitions">The partitions.</param>
    /// <param name="timeout">How long Kafka is asked; the consume thread waits meanwhile.</param>
    /// <returns>
    /// The offset, and whether the group had committed it. <see cref="Offset.Stored"/> when Kafka did not tell: then the
    /// client looks up by itself what is committed, once, and has to be helped when that fails or there is nothing.
    /// </returns>
    public List<(TopicPartitionOffset Start, bool Resumed)> Find(IReadOnlyList<TopicPartition> partitions, TimeSpan timeout)
    {
        var started = time.GetTimestamp();
        while (true)
        {
            var finding = FindAsync(partitions);
            if (blockUntil(finding, Left()))
            {
                return finding.Result;
            }

            if (time.GetElapsedTime(started) >= timeout)
            {
                if (!AnyUnknown)
                {
                    LogNotReported(finding.Exception?.InnerException?.Message ?? $"no answer within {timeout.TotalSeconds:F0} s");
                }

                AnyUnknown = true;
                return [.. partitions.Select(partition => (new TopicPartitionOffset(partition, Offset.Stored), true))];
            }

            // The coordinator may be on its way to another broker.
            blockUntil(Task.Delay(Pause, time, CancellationToken.None), timeout);
        }

        TimeSpan Left() => timeout - time.GetElapsedTime(started) is var left && left > TimeSpan.Zero ? left : TimeSpan.Zero;
    }

    /// <summary>Finds where each partition starts, and whether the group had committed that.</summary>
    /// <exception cref="KafkaException">Kafka did not tell.</exception>
    public async Task<List<(TopicPartitionOffset Start, bool Resumed)>> FindAsync(IReadOnlyList<TopicPartition> partitions)
    {
        var committed = await kafka.CommittedAsync(partitions);
        var now = time.GetUtcNow();
        var first = new Dictionary<TopicPartition, Offset>();
        foreach (var alike in partitions.Where(partition => committed[partition].Value < 0).GroupBy(partition => From(partition, now)))
        {
            foreach (var (partition, offset) in await FirstAsync([.. alike], alike.Key.Kind, alike.Key.Time))
            {
                first.Add(partition, offset);
            }
        }

        return [.. partitions.Select(partition => first.TryGetValue(partition, out var offset)
            ? (new TopicPartitionOffset(partition, offset), false)
            : (new TopicPartitionOffset(partition, committed[partition]), true))];
    }

    /// <summary>Finds the first row of each partition that is no older than a time; the end where there is none.</summary>
    /// <exception cref="KafkaException">Kafka did not answer.</exception>
    public async Task<IReadOnlyDictionary<TopicPartition, Offset>> AtAsync(IReadOnlyCollection<TopicPartition> partitions, DateTimeOffset time)
    {
        // The ends first: a row that comes in between is found by its time then.
        var from = time.ToUnixTimeMilliseconds();
        var (oldest, ends) = (OldestAsync(partitions), kafka.OffsetsAsync(partitions, OffsetSpec.Latest()));
        await Task.WhenAll(oldest, ends);
        var found = await kafka.OffsetsAsync(partitions, OffsetSpec.ForTimestamp(from));

        // "No row since then" is also what a broker says that cannot look up by time. The last row tells them apart; when it
        // is young enough, reading the partition from its beginning loses nothing.
        var last = partitions.Where(partition => found[partition].Value < 0 && oldest.Result[partition].Value < ends.Result[partition].Value)
            .Select(partition => new TopicPartitionOffset(partition, ends.Result[partition] - 1)).ToList();
        var timestamps = last.Count > 0 ? await kafka.TimestampsAsync(last) : new Dictionary<TopicPartition, long>();
        return partitions.ToDictionary(partition => partition, partition =>
            found[partition].Value >= 0 ? found[partition]
            : timestamps.TryGetValue(partition, out var timestamp) && timestamp >= from ? oldest.Result[partition]
            : ends.Result[partition]);
    }

    /// <summary>Finds the oldest row that Kafka has of each partition; the end where there is none.</summary>
    /// <exception cref="KafkaException">Kafka did not answer.</exception>
    public Task<IReadOnlyDictionary<TopicPartition, Offset>> OldestAsync(IReadOnlyCollection<TopicPartition> partitions) =>
        kafka.OffsetsAsync(partitions, OffsetSpec.Earliest());

    private (ConsumeFromKind Kind, DateTimeOffset Time) From(TopicPartition partition, DateTimeOffset now) =>
        _partitionsAtStart.TryGetValue(partition.Topic, out var count) && partition.Partition.Value >= count ? (ConsumeFromKind.Earliest, default)
        : options.ConsumeFrom.Kind == ConsumeFromKind.Duration ? (ConsumeFromKind.Duration, now - options.ConsumeFrom.Back)
        : options.ConsumeFrom.Kind == ConsumeFromKind.Latest && _unsureSince.TryGetValue(partition.Topic, out var since) ? (ConsumeFromKind.Duration, since)
        : (options.ConsumeFrom.Kind, default);

    private Task<IReadOnlyDictionary<TopicPartition, Offset>> FirstAsync(IReadOnlyCollection<TopicPartition> partitions, ConsumeFromKind kind, DateTimeOffset time) => kind switch
    {
        ConsumeFromKind.Earliest => OldestAsync(partitions),
        ConsumeFromKind.Duration => AtAsync(partitions, time),
        _ => kafka.OffsetsAsync(partitions, OffsetSpec.Latest()),
    };

    [LoggerMessage(EventIds.Consume + 10, LogLevel.Warning,
        "Kafka did not report where partitions start ({Error}); asking again while the partitions wait.")]
    private partial void LogNotReported(string error);
}
