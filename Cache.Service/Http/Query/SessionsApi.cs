using System.ComponentModel;
using System.Text.Json;
using Cache.Service.Persist;
using StackExchange.Redis;
using static Cache.Service.Http.ApiAnswers;

namespace Cache.Service.Http.Query;

/// <summary><c>GET /sessions/active</c>.</summary>
internal static class SessionsApi
{
    public static void MapSessions(this IEndpointRouteBuilder routes) =>
        // The parameter is bound as text, so that every error gets the same kind of answer.
        routes.MapRead("/sessions/active", async (
            [Description("Maximum number of sessions. A number above 1000 means 1000.")] string? limit,
            HttpContext context,
            SessionReader reader,
            LargeReads large) =>
        {
            var errors = new Dictionary<string, string[]>();
            var maxSessions = Limit(limit, errors);
            if (errors.Count > 0)
            {
                await WriteErrorsAsync(context, errors);
                return;
            }

            await SendAsync(context, ReadAsync(reader, maxSessions), large);
        })
        .WithName("get_active_sessions").WithTags("Sessions").WithSummary("The active sessions, latest first")
        .WithDescription("A session is active until active_session_ttl_seconds after its end. Always empty if session_metrics is not among the topics.")
        .WithMetadata(
            DescribedParameter.Whole("limit", DefaultLimit),
            DescribedAnswer.Json(
                "Sessions",
                $$$"""
                {"sessions":[{"session_id":"s-17","user_id":"u-4","start_time":{{{ExampleTime.Start}}},"end_time":{{{ExampleTime.Start + 90000}}},"duration":90000,"page_count":3,"device_category":"Mobile"}]}
                """),
            DescribedAnswer.BadParameter("limit", "limit must be a whole number of 1 or more"));

    private static async Task<Answer> ReadAsync(SessionReader reader, int maxSessions)
    {
        using var deadline = Deadline();
        var sessions = await reader.ReadAsync(maxSessions, deadline.Token);
        return Answer.Json(json =>
        {
            json.WriteStartObject();
            json.WriteStartArray("sessions"u8);
            sessions.ForEach(session => WriteSession(json, session));
            json.WriteEndArray();
            json.WriteEndObject();
        });
    }

    private static void WriteSession(Utf8JsonWriter json, HashEntry[] fields)
    {
        json.WriteStartObject();
        foreach (var field in fields)
        {
            var name = field.Name.ToString();
            if (SessionStore.IsNumber(name))
            {
                FieldValue.Write(json, field);
            }
            else if (SessionStore.IsText(name))
            {
                json.WriteString(name, field.Value.ToString());
            }
        }

        json.WriteEndObject();
    }
}
