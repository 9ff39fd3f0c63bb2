using Cache.Service.Options;
using Cache.Service.Telemetry;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Service.Consume;

/// <summary>
/// Decides where a partition starts: at the group's committed offset or, without one, where <c>cache_consume_from</c> says.
/// That is resolved to a real offset and committed like any other; otherwise <c>latest</c> would skip rows that arrive between
/// two starts of the service. A topic or partition that did not exist when the service started is read from its beginning.
/// </summary>
internal sealed partial class StartPositions(
    IKafkaLookups kafka, CacheOptions options, BlockUntil blockUntil, TimeProvider time, ILogger<StartPositions> logger)
{
    private static readonly TimeSpan Pause = TimeSpan.FromMilliseconds(100);

    private readonly Dictionary<string, int> _partitionsAtStart = [];
    private readonly Dictionary<string, DateTimeOffset> _unsureSince = [];

    /// <summary>Whether there may be partitions whose start Kafka has not reported yet.</summary>
    public bool AnyUnknown { get; set; }

    /// <summary>Whether every topic that existed at startup is known: any other has been created since.</summary>
    public bool OthersAreNew { get; set; }

    /// <summary>Records how many partitions a topic had at startup, 0 if it did not exist; only the first call counts.</summary>
    public void NoteTopic(string topic, int partitions) => _partitionsAtStart.TryAdd(topic, partitions);

    /// <summary>
    /// Records that Kafka did not report, at first or at all, whether a topic existed when the service started. In that case,
    /// <c>latest</c> means all rows since that start: older rows are skipped, as if the topic had existed, but a topic created
    /// since then is read in full.
    /// </summary>
    public void NoteUnsure(string topic, DateTimeOffset since) => _unsureSince.TryAdd(topic, since);

    /// <summary>Finds where each partition starts; for the client's callbacks, which have to block until then.</summary>
    /// <param name="partitions">The partitions.</param>
    /// <param name="timeout">How long to keep asking Kafka; the consume thread waits meanwhile.</param>
    /// <returns>
    /// The offset, and whether the group had committed it. <see cref="Offset.Stored"/> if Kafka did not report it. The client
    /// then looks up the committed offset itself, but only once; if that fails or nothing is committed, it needs help
    /// (<see cref="Repositioning"/>).
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

            // The coordinator may be moving to another broker.
            blockUntil(Task.Delay(Pause, time, CancellationToken.None), timeout);
        }

        TimeSpan Left() => timeout - time.GetElapsedTime(started) is var left && left > TimeSpan.Zero ? left : TimeSpan.Zero;
    }

    /// <summary>Finds where each partition starts, and whether the group had committed that offset.</summary>
    /// <exception cref="KafkaException">Kafka did not report it.</exception>
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

    /// <summary>Finds the first row of each partition that is no older than a given time; the end if there is none.</summary>
    /// <exception cref="KafkaException">Kafka did not answer.</exception>
    public async Task<IReadOnlyDictionary<TopicPartition, Offset>> AtAsync(IReadOnlyCollection<TopicPartition> partitions, DateTimeOffset time)
    {
        // The ends first: a row that arrives between the two lookups is then found by its time.
        var from = time.ToUnixTimeMilliseconds();
        var (oldest, ends) = (OldestAsync(partitions), kafka.OffsetsAsync(partitions, OffsetSpec.Latest()));
        await Task.WhenAll(oldest, ends);
        var found = await kafka.OffsetsAsync(partitions, OffsetSpec.ForTimestamp(from));

        // A broker that cannot look up by time also answers "no row since then". The timestamp of the last row distinguishes the
        // two cases: if it is recent enough, the partition is read from its beginning, which loses nothing.
        var last = partitions.Where(partition => found[partition].Value < 0 && oldest.Result[partition].Value < ends.Result[partition].Value)
            .Select(partition => new TopicPartitionOffset(partition, ends.Result[partition] - 1)).ToList();
        var timestamps = last.Count > 0 ? await kafka.TimestampsAsync(last) : new Dictionary<TopicPartition, long>();
        return partitions.ToDictionary(partition => partition, partition =>
            found[partition].Value >= 0 ? found[partition]
            : timestamps.TryGetValue(partition, out var timestamp) && timestamp >= from ? oldest.Result[partition]
            : ends.Result[partition]);
    }

    /// <summary>Finds the oldest row of each partition that Kafka still has; the end if there is none.</summary>
    /// <exception cref="KafkaException">Kafka did not answer.</exception>
    public Task<IReadOnlyDictionary<TopicPartition, Offset>> OldestAsync(IReadOnlyCollection<TopicPartition> partitions) =>
        kafka.OffsetsAsync(partitions, OffsetSpec.Earliest());

    private (ConsumeFromKind Kind, DateTimeOffset Time) From(TopicPartition partition, DateTimeOffset now) =>
        IsNew(partition) ? (ConsumeFromKind.Earliest, default)
        : options.ConsumeFrom.Kind == ConsumeFromKind.Duration ? (ConsumeFromKind.Duration, now - options.ConsumeFrom.Back)
        : options.ConsumeFrom.Kind == ConsumeFromKind.Latest && _unsureSince.TryGetValue(partition.Topic, out var since) ? (ConsumeFromKind.Duration, since)
        : (options.ConsumeFrom.Kind, default);

    private bool IsNew(TopicPartition partition) => _partitionsAtStart.TryGetValue(partition.Topic, out var count)
        ? partition.Partition.Value >= count
        : OthersAreNew && !_unsureSince.ContainsKey(partition.Topic);

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
