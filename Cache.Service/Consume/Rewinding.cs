using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>Rewinds partitions whose windows Redis has lost, so that they are read again. The consume loop's own.</summary>
internal sealed partial class Rewinding(
    Assignment assignment, StartPositions positions, RebuildRequests rebuilds, CacheOptions options, ConsumeMetrics metrics, TimeProvider time, ILogger<Rewinding> logger)
{
    private PendingLookup<IReadOnlyDictionary<TopicPartition, Offset>>? _targets;
    private string _epoch = "";

    /// <summary>Takes a request to rewind, asks Kafka from where to read again, and rewinds once it has answered.</summary>
    public void Apply(IConsumer<RowKey, Row> consumer)
    {
        if (_targets is null && rebuilds.Take() is { } request && Lost(request.Partitions, request.Epoch) is { Count: > 0 } partitions)
        {
            var from = time.GetUtcNow().AddSeconds(-options.RebuildLookbackSeconds);
            _epoch = request.Epoch;
            _targets = new(partitions, positions.AtAsync(partitions.ConvertAll(partition => partition.TopicPartition), from));
        }

        try
        {
            if (!PendingLookup<IReadOnlyDictionary<TopicPartition, Offset>>.TryTake(ref _targets, out var asked, out var targets)
                || Lost(asked, _epoch) is not { Count: > 0 } lost)
            {
                return;
            }

            var rows = 0L;
            foreach (var old in lost)
            {
                // Never forward: what is not written yet remains to be read.
                var written = old.Written;
                var from = Math.Min(written, targets[old.TopicPartition].Value);
                consumer.Seek(new TopicPartitionOffset(old.TopicPartition, from));
                rows += written - from;
                assignment.Rewind(old, from, _epoch);
            }

            metrics.Rebuilt(lost.Count);
            LogRebuild(lost.Count, rows, options.RebuildLookbackSeconds);
        }
        catch (KafkaException exception)
        {
            // The next look at the epoch asks again.
            LogRebuildFailed(exception.Error.Reason);
        }
    }

    /// <summary>
    /// The partitions to rewind. As long as it is unknown how far a partition is written, rewinding could turn out to go forward:
    /// it is requested again. And a partition that its last owner has read again, and named since, must not go back behind what
    /// was committed after that.
    /// </summary>
    private static List<AssignedPartition> Lost(IEnumerable<AssignedPartition> partitions, string epoch) =>
        [.. partitions.Where(partition => partition is { Owned: true, Written: >= 0 } && partition.CoveredEpoch != epoch)];

    [LoggerMessage(EventIds.Consume + 35, LogLevel.Warning, "Redis lost its windows: reading {Partitions} partitions again, {Rows} rows, from {Seconds} s ago.")]
    private partial void LogRebuild(int partitions, long rows, int seconds);

    [LoggerMessage(EventIds.Consume + 36, LogLevel.Warning, "Partitions could not be rewound yet: {Error}. Retrying.")]
    private partial void LogRebuildFailed(string error);
}
