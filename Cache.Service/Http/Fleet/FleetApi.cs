namespace Cache.Service.Http.Fleet;

/// <summary><c>GET /fleet</c>: the state of every replica.</summary>
internal static class FleetApi
{
    public static void MapFleet(this IEndpointRouteBuilder routes) =>
        routes.MapGet("/fleet", (HttpContext context, FleetReader fleet, LargeReads large) => ApiAnswers.SendAsync(context, AnswerAsync(fleet), large))
        .WithName("get_fleet").WithTags("State").WithSummary("The state of every replica")
        .WithDescription("The replica that answers reports its current state, the others what they published last, at most a few seconds ago. "
            + "While Redis does not answer, the others are missing, and `complete` is false.")
        .WithMetadata(
            DescribedAnswer.NotModified,
            DescribedAnswer.Problem(StatusCodes.Status503ServiceUnavailable, "Answers in progress hold the maximum of memory; `Retry-After` is the number of seconds to wait."),
            DescribedAnswer.Json(
                "Fleet",
                $$$"""
                {"time":{{{ExampleTime.Start + 5000}}},"self":"cache-1/7","complete":true,"replicas":[
                 {"id":"cache-1/7","version":"0.9.0","started":{{{ExampleTime.Start - 3125000}}},"seen":{{{ExampleTime.Start + 5000}}},"ready":true,"reasons":[],"rows_per_second":17.2,
                  "partitions":[{"topic":"event_metrics","partition":0,"rows":0,"seconds":0,"since":{{{ExampleTime.Start - 3121000}}}}],"revocation":null},
                 {"id":"cache-2/7","version":"0.9.0","started":{{{ExampleTime.Start - 3125000}}},"seen":{{{ExampleTime.Start + 3000}}},"ready":true,"reasons":[],"rows_per_second":16.8,
                  "partitions":[{"topic":"event_metrics","partition":1,"rows":41,"seconds":1.2,"since":{{{ExampleTime.Start - 3121000}}}}],
                  "revocation":{"partitions":[{"topic":"event_metrics","partition":1}],"since":{{{ExampleTime.Start + 2900}}},"waits_for":"flush"}}]}
                """));

    private static async Task<Answer> AnswerAsync(FleetReader fleet) => new HeldAnswer(await fleet.JsonAsync(), Answer.JsonType);
}
