using System.Text.Json.Serialization;
using Cache.Service.Consume;
using Cache.Service.Enqueue;
using Cache.Service.Flush;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Service.Telemetry;

namespace Cache.Service.Http.Query;

/// <summary><c>GET /pipeline</c>: how this replica is doing; from memory alone, so that it may be asked every second.</summary>
internal static class PipelineApi
{
    public static void MapPipeline(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/pipeline", (
            ReadinessMonitor readiness, RowQueue queue, Assignment assignment, ConsumeMetrics consumed, FlushMetrics flushed, PersistMetrics persisted, UpdateHub hub, RedisEpoch epoch, CacheOptions options,
            TimeProvider time) =>
        {
            var now = time.GetUtcNow();
            return Results.Json(
                new PipelineAnswer(
                    Instance,
                    BuildInfo.Version,
                    now.ToUnixTimeMilliseconds(),
                    readiness.Reasons.Count == 0,
                    readiness.Reasons,
                    options.KafkaBootstrapServers,
                    options.Topics.ToDictionary(topic => topic, topic => consumed.Rows(topic).Value),
                    new(queue.Count, options.QueueMaxSize),
                    assignment.Current.Sum(partition => partition.Pending),
                    flushed.LastFlush,
                    persisted.DeadLetterCounts.ToDictionary(letters => letters.Key.Name(), letters => letters.Value),
                    [.. assignment.Current
                        .OrderBy(partition => partition.TopicPartition.Topic, StringComparer.Ordinal).ThenBy(partition => partition.TopicPartition.Partition.Value)
                        .Select(partition => new PartitionLag(
                            partition.TopicPartition.Topic, partition.TopicPartition.Partition.Value,
                            partition.LogEnd < 0 ? null : partition.LagRows, partition.LogEnd < 0 ? null : partition.LagSeconds(now)))],
                    hub.Clients,
                    epoch.RestartsSeenBy),
                PipelineJson.Default.PipelineAnswer);
        })
        .WithTags("Health").WithSummary("How this replica is doing")
        .WithDescription("Counters start at 0 with the process; rows a second are the difference of two answers of the same instance.")
        .WithMetadata(DescribedAnswer.Json(
            "Pipeline",
            """
            {"instance":"cache-1/7","version":"0.9.0","time":1795473130000,"ready":true,"reasons":[],"kafka":"broker:9092","rows":{"event_metrics":6210},
             "queue":{"rows":0,"most":5000},"pending":3,"last_flush":{"time":1795473129870,"rows":4,"windows":1,"seconds":0.0006},
             "dead_letters":{"bad_measure":2},"lag":[{"topic":"event_metrics","partition":0,"rows":0,"seconds":0}],"stream_clients":1,
             "redis_restarts_seen_by":"run_id"}
            """));

    // Tells the replicas behind one address apart.
    private static string Instance { get; } = $"{Environment.MachineName}/{Environment.ProcessId}";
}

/// <summary>The answer of <c>/pipeline</c>.</summary>
/// <param name="Instance">The host and the process that answer.</param>
/// <param name="Version">Which build it is.</param>
/// <param name="Time">Its clock, milliseconds since 1970 UTC.</param>
/// <param name="Ready">Whether <c>/readyz</c> says so; a second old at most.</param>
/// <param name="Reasons">Why it is not ready.</param>
/// <param name="Kafka">The brokers that it consumes from.</param>
/// <param name="Rows">Rows consumed, by topic.</param>
/// <param name="Queue">The queue between Kafka and the flush.</param>
/// <param name="Pending">Rows consumed and not yet committed.</param>
/// <param name="LastFlush">The last batch that Redis took; null before the first.</param>
/// <param name="DeadLetters">Rows rejected, by reason.</param>
/// <param name="Lag">Each partition that this replica has.</param>
/// <param name="StreamClients">Open streams.</param>
/// <param name="RedisRestartsSeenBy">
/// What tells that Redis has started anew, perhaps with older data: <c>run_id</c>, <c>script_cache</c> or <c>nothing</c>; null before the first look.
/// </param>
internal sealed record PipelineAnswer(
    string Instance,
    string Version,
    long Time,
    bool Ready,
    IReadOnlyList<string> Reasons,
    string Kafka,
    IReadOnlyDictionary<string, long> Rows,
    QueueState Queue,
    long Pending,
    [property: JsonPropertyName("last_flush")] LastFlush? LastFlush,
    [property: JsonPropertyName("dead_letters")] IReadOnlyDictionary<string, long> DeadLetters,
    IReadOnlyList<PartitionLag> Lag,
    [property: JsonPropertyName("stream_clients")] int StreamClients,
    [property: JsonPropertyName("redis_restarts_seen_by")] string? RedisRestartsSeenBy);

/// <summary>How full the queue is.</summary>
/// <param name="Rows">Rows that wait.</param>
/// <param name="Most">Rows that fit: <c>redis_queue_max_size</c>.</param>
internal sealed record QueueState(int Rows, int Most);

/// <summary>How far a partition is behind.</summary>
/// <param name="Topic">Its topic.</param>
/// <param name="Partition">Its number.</param>
/// <param name="Rows">Rows between what is in Redis and its end; null when its end is not known yet.</param>
/// <param name="Seconds">How far behind Redis is, at most; null likewise.</param>
internal sealed record PartitionLag(string Topic, int Partition, long? Rows, double? Seconds);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(PipelineAnswer))]
internal sealed partial class PipelineJson : JsonSerializerContext;
