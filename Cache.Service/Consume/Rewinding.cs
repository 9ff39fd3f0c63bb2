using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>Rewinds partitions whose windows Redis has lost, so that they are reread. Used only by the consume loop.</summary>
internal sealed partial class Rewinding(
    Assignment assignment, StartPositions positions, RebuildRequests rebuilds, CacheOptions options, ConsumeMetrics metrics, TimeProvider time, ILogger<Rewinding> logger)
{
    private PendingLookup<IReadOnlyDictionary<TopicPartition, Offset>>? _targets;
    private string _epoch = "";

    /// <summary>Takes a rebuild request, asks Kafka where to start rereading, and rewinds once it has answered.</summary>
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
            if (!PendingLookup.TryTake(ref _targets, out var asked, out var targets)
                || Lost(asked, _epoch) is not { Count: > 0 } lost)
            {
                return;
            }

            var rows = 0L;
            foreach (var old in lost)
            {
                // Never forward: rows not yet written still have to be read.
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
            // The next check of the epoch requests it again.
            LogRebuildFailed(exception.Error.Reason);
        }
    }

    /// <summary>
    /// The partitions to rewind. One whose written offset is still unknown is left out, because rewinding might move it forward;
    /// its rebuild is requested again. So is one that its previous owner has since reread and listed in the epoch: it must not go
    /// back behind the offsets committed after that.
    /// </summary>
    private static List<AssignedPartition> Lost(IEnumerable<AssignedPartition> partitions, string epoch) =>
        [.. partitions.Where(partition => partition is { Owned: true, Written: >= 0 } && partition.CoveredEpoch != epoch)];

    [LoggerMessage(EventIds.Consume + 35, LogLevel.Warning, "Redis lost its windows: reading {Partitions} partitions again, {Rows} rows, from {Seconds} s ago.")]
    private partial void LogRebuild(int partitions, long rows, int seconds);

    [LoggerMessage(EventIds.Consume + 36, LogLevel.Warning, "Partitions could not be rewound yet: {Error}. Retrying.")]
    private partial void LogRebuildFailed(string error);
}
