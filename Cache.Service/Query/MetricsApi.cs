using System.ComponentModel;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Cache.Service.Decode;
using static Cache.Service.Query.ApiAnswers;

namespace Cache.Service.Query;

/// <summary>The data routes: latest window, recent windows, overview.</summary>
internal static class MetricsApi
{
    public static void MapMetrics(this IEndpointRouteBuilder routes)
    {
        var metrics = routes.MapGroup("/metrics").AddEndpointFilter(WhenRedisIsAway)
            .WithTags("Windows").ProducesProblem(StatusCodes.Status503ServiceUnavailable);
        Map(metrics, "event", RowKind.Event);
        Map(metrics, "performance", RowKind.Performance);
        metrics.MapGet("/overview", async (HttpContext context, WindowReader reader) =>
        {
            using var deadline = Deadline(context);
            var events = reader.ReadAsync(RowKind.Event, 1, null, null, deadline.Token);
            var performance = reader.ReadAsync(RowKind.Performance, 1, null, null, deadline.Token);
            await Task.WhenAll(events, performance);
            await WriteAsync(context, json =>
            {
                json.WriteStartObject();
                json.WritePropertyName("event_latest"u8);
                WriteLatest(json, events.Result);
                json.WritePropertyName("performance_latest"u8);
                WriteLatest(json, performance.Result);
                json.WriteEndObject();
            });
        })
        .WithSummary("The newest window of each type").Produces(StatusCodes.Status200OK, contentType: Json);
    }

    private static void Map(RouteGroupBuilder metrics, string type, RowKind kind)
    {
        metrics.MapGet($"/{type}/latest", async (HttpContext context, WindowReader reader) =>
        {
            using var deadline = Deadline(context);
            var windows = await reader.ReadAsync(kind, 1, null, null, deadline.Token);
            await WriteAsync(context, json => WriteLatest(json, windows));
        })
        .WithSummary($"The newest {type} window").WithDescription("An empty object when there is none.")
        .Produces(StatusCodes.Status200OK, contentType: Json);

        // Read as text, so that whatever is wrong gets the same kind of answer.
        metrics.MapGet($"/{type}/windows", async (
            [Description("How many at most, 1 or more; 20 by default; beyond retention means all.")] string? limit,
            [Description("The earliest start: milliseconds since 1970, or ISO-8601.")] string? from,
            [Description("The latest start, likewise.")] string? to,
            HttpContext context,
            WindowReader reader) =>
        {
            var errors = new Dictionary<string, string[]>();
            var most = Limit(limit, errors);
            var earliest = Time("from", from, errors);
            var latest = Time("to", to, errors);
            if (errors.Count == 0 && earliest > latest)
            {
                errors["from"] = ["from is later than to"];
            }

            if (errors.Count > 0)
            {
                await WriteErrorsAsync(context, errors);
                return;
            }

            using var deadline = Deadline(context);
            var windows = await reader.ReadAsync(kind, most, earliest, latest, deadline.Token);
            await WriteAsync(context, json =>
            {
                json.WriteStartObject();
                json.WriteStartArray("windows"u8);
                windows.ForEach(window => WriteWindow(json, window));
                json.WriteEndArray();
                json.WriteEndObject();
            });
        })
        .WithSummary($"The recent {type} windows, newest first")
        .Produces(StatusCodes.Status200OK, contentType: Json).ProducesValidationProblem();
    }

    private static long? Time(string name, string? text, Dictionary<string, string[]> errors)
    {
        if (text is null)
        {
            return null;
        }

        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var milliseconds))
        {
            return milliseconds;
        }

        // In a query a bare + means a space, so that of an offset arrives as one.
        var utf8 = Encoding.UTF8.GetBytes(text.Length > 19 && text[^6] == ' ' ? $"{text[..^6]}+{text[^5..]}" : text);
        if (WindowTime.TryParse(utf8, out milliseconds))
        {
            return milliseconds;
        }

        errors[name] = [$"{name} must be milliseconds since 1970 or an ISO-8601 time such as 2025-01-01T00:00:00Z"];
        return null;
    }

    private static void WriteLatest(Utf8JsonWriter json, List<Window> windows)
    {
        if (windows is [var window, ..])
        {
            WriteWindow(json, window);
        }
        else
        {
            json.WriteStartObject();
            json.WriteEndObject();
        }
    }

    private static void WriteWindow(Utf8JsonWriter json, Window window)
    {
        json.WriteStartObject();
        json.WriteNumber("window_start"u8, window.Start);
        foreach (var field in window.Fields)
        {
            WriteNumber(json, field);
        }

        json.WriteEndObject();
    }
}
