using System.Text.Json.Serialization;
using Cache.Service.Persist;

namespace Cache.Service.Http.Query;

/// <summary><c>GET /healthz</c> and <c>GET /readyz</c>.</summary>
internal static class HealthApi
{
    public static void MapHealth(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/healthz", async (RedisConnection redis, CancellationToken cancellationToken) =>
            await redis.AnswersAsync(cancellationToken)
                ? Json(new HealthAnswer("ok", true), StatusCodes.Status200OK)
                : Json(new HealthAnswer("unavailable", false), StatusCodes.Status503ServiceUnavailable))
            .WithName("get_redis_health").WithTags("Health").WithSummary("Whether Redis answers")
            .WithMetadata(
                DescribedAnswer.Json("Health", """{"status":"ok","redis":true}"""),
                DescribedAnswer.Json("Health", """{"status":"unavailable","redis":false}""", StatusCodes.Status503ServiceUnavailable, "Redis does not answer."));

        routes.MapGet("/readyz", async (Readiness readiness, CancellationToken cancellationToken) =>
            await readiness.ReasonsAsync(cancellationToken) is { Count: > 0 } reasons
                ? Json(new ReadyAnswer("not ready", reasons), StatusCodes.Status503ServiceUnavailable)
                : Json(new ReadyAnswer("ready", null), StatusCodes.Status200OK))
            .WithName("get_readiness").WithTags("Health").WithSummary("Whether this replica is up to date, and if not, why")
            .WithMetadata(
                DescribedAnswer.Json("Readiness", """{"status":"ready"}"""),
                DescribedAnswer.Json(
                    "Readiness", """{"status":"not ready","reasons":["lag is 7300 rows, above ready_lag_threshold (5000)","Redis does not answer"]}""",
                    StatusCodes.Status503ServiceUnavailable, "Not ready, with the reasons."));
    }

    private static IResult Json(HealthAnswer answer, int status) =>
        Results.Json(answer, HealthJson.Default.HealthAnswer, statusCode: status);

    private static IResult Json(ReadyAnswer answer, int status) =>
        Results.Json(answer, HealthJson.Default.ReadyAnswer, statusCode: status);
}

/// <summary>The answer of <c>/healthz</c>.</summary>
internal sealed record HealthAnswer(string Status, bool Redis);

/// <summary>The answer of <c>/readyz</c>.</summary>
internal sealed record ReadyAnswer(
    string Status, [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] IReadOnlyList<string>? Reasons);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase)]
[JsonSerializable(typeof(HealthAnswer))]
[JsonSerializable(typeof(ReadyAnswer))]
internal sealed partial class HealthJson : JsonSerializerContext;
