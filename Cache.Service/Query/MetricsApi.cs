using System.Buffers.Text;
using System.ComponentModel;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Cache.Service.Decode;
using Cache.Service.Persist;
using StackExchange.Redis;

namespace Cache.Service.Query;

/// <summary>The data routes: latest window, recent windows, overview.</summary>
internal static class MetricsApi
{
    private const int DefaultLimit = 20;
    private const string Json = "application/json";

    // Leaves time to say so within the second that a caller is promised.
    private static readonly TimeSpan RedisPatience = TimeSpan.FromSeconds(0.75);

    public static void MapMetrics(this IEndpointRouteBuilder routes)
    {
        var metrics = routes.MapGroup("/metrics").AddEndpointFilter(AnswerWhenRedisIsAway)
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
                await Results.ValidationProblem(errors, detail: string.Join(" ", errors.Select(error => $"{error.Value[0]}."))).ExecuteAsync(context);
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

    private static async ValueTask<object?> AnswerWhenRedisIsAway(EndpointFilterInvocationContext invocation, EndpointFilterDelegate next)
    {
        try
        {
            return await next(invocation);
        }
        catch (Exception exception) when (RedisErrors.IsAway(exception) && !invocation.HttpContext.RequestAborted.IsCancellationRequested)
        {
            return Results.Problem(
                statusCode: StatusCodes.Status503ServiceUnavailable,
                title: "Redis does not answer",
                detail: "The windows are kept in Redis, and it does not answer right now. Try again soon.");
        }
    }

    private static CancellationTokenSource Deadline(HttpContext context)
    {
        var deadline = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted);
        deadline.CancelAfter(RedisPatience);
        return deadline;
    }

    private static int Limit(string? text, Dictionary<string, string[]> errors)
    {
        if (text is null)
        {
            return DefaultLimit;
        }

        // Any number of digits: a limit beyond retention means all.
        if (text.Length > 0 && text.All(char.IsAsciiDigit) && text.TrimStart('0') is { Length: > 0 } digits)
        {
            return int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out var limit) ? limit : int.MaxValue;
        }

        errors["limit"] = ["limit must be a whole number of 1 or more"];
        return DefaultLimit;
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

    private static async Task WriteAsync(HttpContext context, Action<Utf8JsonWriter> write)
    {
        context.Response.ContentType = "application/json; charset=utf-8";
        await using var json = new Utf8JsonWriter(context.Response.BodyWriter);
        write(json);
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
            WriteField(json, field);
        }

        json.WriteEndObject();
    }

    /// <summary>Writes a field as a number; what is none in Redis was not written by Cache, and is left out.</summary>
    private static void WriteField(Utf8JsonWriter json, HashEntry field)
    {
        var text = ((ReadOnlyMemory<byte>)field.Value).Span;
        if (Utf8Parser.TryParse(text, out long whole, out var read) && read == text.Length)
        {
            json.WriteNumber(((ReadOnlyMemory<byte>)field.Name).Span, whole);
        }
        else if (Utf8Parser.TryParse(text, out double number, out read) && read == text.Length && double.IsFinite(number))
        {
            json.WriteNumber(((ReadOnlyMemory<byte>)field.Name).Span, number);
        }
    }
}
