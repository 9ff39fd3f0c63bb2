using System.Text.Json.Serialization;
using Cache.Service.Flush;

namespace Cache.Service.Http.Query;

/// <summary><c>GET /pipeline</c>: the state of this replica. Answered from memory only, so that clients can poll it every second.</summary>
internal static class PipelineApi
{
    public static void MapPipeline(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/pipeline", (PipelineReader pipeline) => Results.Json(pipeline.Read(), PipelineJson.Default.PipelineAnswer))
        .WithName("get_pipeline").WithTags("State").WithSummary("The state of this replica's pipeline")
        .WithDescription("Counters start at 0 with the process. For rows per second, subtract two answers of the same instance.")
        .WithMetadata(DescribedAnswer.Json(
            "Pipeline",
            $$$"""
            {"instance":"cache-1/7","version":"0.9.0","time":{{{ExampleTime.Start + 5000}}},"ready":true,"reasons":[],"kafka":"broker:9092","rows":{"event_metrics":6210},
             "queue":{"rows":0,"most":5000},"pending":3,"last_flush":{"time":{{{ExampleTime.Start + 4870}}},"rows":4,"windows":1,"seconds":0.0006},
             "dead_letters":{"bad_measure":2},"windows":[{"type":"event","newest":{{{ExampleTime.Start}}},"age_seconds":5,"window_seconds":5,"fresh":true},
             {"type":"performance","newest":null,"age_seconds":null,"window_seconds":null,"fresh":false}],
             "lag":[{"topic":"event_metrics","partition":0,"rows":0,"seconds":0}],"stream_clients":1,"redis_restarts_seen_by":"run_id"}
            """));
}

/// <summary>The answer of <c>/pipeline</c>.</summary>
/// <param name="Instance">The host and process id of the replica.</param>
/// <param name="Version">The build that is running.</param>
/// <param name="Time">The replica's clock, in milliseconds since 1970 UTC.</param>
/// <param name="Ready">The result of <c>/readyz</c>, at most a second old.</param>
/// <param name="Reasons">Why the replica is not ready; empty if it is.</param>
/// <param name="Kafka">The brokers it consumes from.</param>
/// <param name="Rows">Rows consumed, by topic.</param>
/// <param name="Queue">The queue between Kafka and the flush.</param>
/// <param name="Pending">Rows consumed but not yet committed.</param>
/// <param name="LastFlush">The last batch written to Redis; null before the first.</param>
/// <param name="DeadLetters">Rows rejected, by reason.</param>
/// <param name="Windows">How old the newest window of each metric type is, whichever replica wrote it.</param>
/// <param name="Lag">The lag of each partition assigned to this replica.</param>
/// <param name="StreamClients">Open streams.</param>
/// <param name="RedisRestartsSeenBy">
/// How a restart of Redis, perhaps with older data, is detected: <c>run_id</c>, <c>script_cache</c> or <c>nothing</c>; null before the first check.
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
    IReadOnlyList<Freshness> Windows,
    IReadOnlyList<PartitionLag> Lag,
    [property: JsonPropertyName("stream_clients")] int StreamClients,
    [property: JsonPropertyName("redis_restarts_seen_by")] string? RedisRestartsSeenBy);

/// <summary>How full the queue is.</summary>
/// <param name="Rows">Rows waiting.</param>
/// <param name="Most">The maximum: <c>redis_queue_max_size</c>.</param>
internal sealed record QueueState(int Rows, int Most);

/// <summary>The lag of a partition.</summary>
/// <param name="Topic">Its topic.</param>
/// <param name="Partition">Its number.</param>
/// <param name="Rows">Rows between what is in Redis and the end of the partition; null until its end offset is known.</param>
/// <param name="Seconds">Upper bound on how far Redis is behind; null until the end offset is known.</param>
internal sealed record PartitionLag(string Topic, int Partition, long? Rows, double? Seconds);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(PipelineAnswer))]
internal sealed partial class PipelineJson : JsonSerializerContext;
