using System.Text.Json;
using Cache.Metrics;
using Cache.Service.Consume;
using Cache.Service.Enqueue;
using Cache.Service.Flush;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Service.Telemetry;

namespace Cache.Service.Http.Query;

/// <summary>Reads the state of this replica's pipeline, from memory only.</summary>
internal sealed class PipelineReader(
    ThisReplica replica, ReadinessMonitor readiness, Assignment assignment, PipelineCounts counts, UpdateHub hub, RedisEpoch epoch, CacheOptions options, TimeProvider time)
{
    /// <summary>The state now.</summary>
    public PipelineAnswer Read()
    {
        var (now, reasons) = (time.GetUtcNow(), readiness.Reasons);
        return new(
            replica.Id,
            BuildInfo.Version,
            now.ToUnixTimeMilliseconds(),
            reasons.Count == 0,
            reasons,
            options.KafkaBootstrapServers,
            counts.Rows,
            counts.Queue,
            assignment.Current.Sum(partition => partition.Pending),
            counts.LastFlush,
            counts.DeadLetters,
            counts.Windows(now),
            [.. assignment.InOrder.Select(partition => new PartitionLag(
                partition.TopicPartition.Topic, partition.TopicPartition.Partition.Value,
                partition.LogEnd < 0 ? null : partition.LagRows, partition.LogEnd < 0 ? null : partition.LagSeconds(now)))],
            hub.Clients,
            epoch.RestartsSeenBy);
    }

    /// <summary>The answer of <c>/pipeline</c>, in UTF-8 and on one line.</summary>
    public byte[] Json() => JsonSerializer.SerializeToUtf8Bytes(Read(), PipelineJson.Default.PipelineAnswer);
}

/// <summary>What has passed through the pipeline since the start, and what waits in its queue.</summary>
internal sealed class PipelineCounts(RowQueue queue, ConsumeMetrics consumed, FlushMetrics flushed, PersistMetrics persisted, FreshnessMonitor freshness, CacheOptions options)
{
    /// <summary>Rows consumed, by topic.</summary>
    public IReadOnlyDictionary<string, long> Rows => options.Topics.Where(topic => !TopicPattern.IsPattern(topic)).Union(consumed.Topics)
        .ToDictionary(topic => topic, topic => consumed.Rows(topic).Value);

    /// <summary>How full the queue is.</summary>
    public QueueState Queue => new(queue.Count, options.QueueMaxSize);

    /// <summary>The last batch written to Redis; null before the first.</summary>
    public LastFlush? LastFlush => flushed.LastFlush;

    /// <summary>Rows rejected, by reason.</summary>
    public IReadOnlyDictionary<string, long> DeadLetters => persisted.DeadLetterCounts.ToDictionary(letters => letters.Key.Name(), letters => letters.Value);

    /// <summary>How old the newest window of each metric type is.</summary>
    public IReadOnlyList<Freshness> Windows(DateTimeOffset now) => [.. freshness.At(now)];
}
