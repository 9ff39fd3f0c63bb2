using System.ComponentModel;
using System.Text.Json;
using Cache.Service.Persist;
using StackExchange.Redis;
using static Cache.Service.Query.ApiAnswers;

namespace Cache.Service.Query;

/// <summary><c>GET /sessions/active</c>.</summary>
internal static class SessionsApi
{
    public static void MapSessions(this IEndpointRouteBuilder routes) =>
        // Read as text, so that whatever is wrong gets the same kind of answer.
        routes.MapGet("/sessions/active", async (
            [Description("How many at most, 1 or more; 20 by default; 1000 at most.")] string? limit,
            HttpContext context,
            SessionReader reader) =>
        {
            var errors = new Dictionary<string, string[]>();
            var most = Limit(limit, errors);
            if (errors.Count > 0)
            {
                await WriteErrorsAsync(context, errors);
                return;
            }

            using var deadline = Deadline(context);
            var sessions = await reader.ReadAsync(most, deadline.Token);
            await WriteAsync(context, json =>
            {
                json.WriteStartObject();
                json.WriteStartArray("sessions"u8);
                sessions.ForEach(session => WriteSession(json, session));
                json.WriteEndArray();
                json.WriteEndObject();
            });
        })
        .AddEndpointFilter(WhenRedisIsAway)
        .WithTags("Sessions").WithSummary("The active sessions, latest first")
        .WithDescription("A session is active until active_session_ttl_seconds after its end. Without session_metrics among the topics there is none.")
        .Produces(StatusCodes.Status200OK, contentType: Json).ProducesValidationProblem()
        .ProducesProblem(StatusCodes.Status503ServiceUnavailable);

    private static void WriteSession(Utf8JsonWriter json, HashEntry[] fields)
    {
        json.WriteStartObject();
        foreach (var field in fields)
        {
            var name = field.Name.ToString();
            if (SessionStore.IsNumber(name))
            {
                WriteNumber(json, field);
            }
            else if (SessionStore.IsText(name))
            {
                json.WriteString(name, field.Value.ToString());
            }
        }

        json.WriteEndObject();
    }
}
