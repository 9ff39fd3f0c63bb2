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
        var metrics = routes.MapGroup("/metrics").WithTags("Windows");
        Map(metrics, "event", RowKind.Event);
        Map(metrics, "performance", RowKind.Performance);
        metrics.MapRead("/overview", async ([Description(DimensionFilter.Description)] string? fields, HttpContext context, WindowReader reader) =>
        {
            using var deadline = Deadline(context);
            var events = reader.ReadAsync(RowKind.Event, 1, null, null, deadline.Token);
            var performance = reader.ReadAsync(RowKind.Performance, 1, null, null, deadline.Token);
            await Task.WhenAll(events, performance);
            var filter = DimensionFilter.Of(fields);
            await WriteAsync(context, json =>
            {
                json.WriteStartObject();
                json.WritePropertyName("event_latest"u8);
                WriteLatest(json, events.Result, filter);
                json.WritePropertyName("performance_latest"u8);
                WriteLatest(json, performance.Result, filter);
                json.WriteEndObject();
            });
        })
        .WithSummary("The newest window of each type")
        .WithMetadata(DescribedAnswer.Json("Overview", $$"""{"event_latest":{{Example(RowKind.Event)}},"performance_latest":{{Example(RowKind.Performance)}}}"""));
    }

    private static void Map(RouteGroupBuilder metrics, string type, RowKind kind)
    {
        metrics.MapRead($"/{type}/latest", async ([Description(DimensionFilter.Description)] string? fields, HttpContext context, WindowReader reader) =>
        {
            using var deadline = Deadline(context);
            var windows = await reader.ReadAsync(kind, 1, null, null, deadline.Token);
            var filter = DimensionFilter.Of(fields);
            await WriteAsync(context, json => WriteLatest(json, windows, filter));
        })
        .WithSummary($"The newest {type} window").WithDescription("An empty object when there is none.")
        .WithMetadata(DescribedAnswer.Json("Window", Example(kind)));

        // Read as text, so that whatever is wrong gets the same kind of answer.
        metrics.MapRead($"/{type}/windows", async (
            [Description("How many at most, 1 or more; 20 by default; beyond retention means all.")] string? limit,
            [Description("The earliest start: milliseconds since 1970, or ISO-8601.")] string? from,
            [Description("The latest start, likewise.")] string? to,
            [Description(DimensionFilter.Description)] string? fields,
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
            var filter = DimensionFilter.Of(fields);
            context.Response.Headers.Vary = "Accept";
            if (WindowsCsv.IsWanted(context.Request))
            {
                using var answer = new Answer();
                WindowsCsv.Write(answer, kind, windows, filter);
                await answer.SendAsync(context, WindowsCsv.ContentType);
                return;
            }

            await WriteAsync(context, json =>
            {
                json.WriteStartObject();
                json.WriteStartArray("windows"u8);
                windows.ForEach(window => WriteWindow(json, window, filter));
                json.WriteEndArray();
                json.WriteEndObject();
            });
        })
        .WithSummary($"The recent {type} windows, newest first")
        .WithDescription("As CSV for `Accept: text/csv`: a row a window and dimension.")
        .WithMetadata(
            DescribedAnswer.Json("Windows", $$"""{"windows":[{{Example(kind)}}]}"""),
            DescribedAnswer.Csv(kind == RowKind.Event
                ? "window_start,window_start_ms,event_type,count,users\r\n2024-03-09 16:00:00,1710000000000,page_view,2,2\r\n"
                : "window_start,window_start_ms,device_category,avg_load_time,p95_load_time\r\n2024-03-09 16:00:00,1710000000000,Desktop,300,450\r\n"),
            DescribedAnswer.BadParameter("limit", "limit must be a whole number of 1 or more"));
    }

    private static string Example(RowKind kind) => kind == RowKind.Event
        ? """{"window_start":1710000000000,"page_view.count":2,"page_view.users":2}"""
        : """{"window_start":1710000000000,"Desktop.avg_load_time":300,"Desktop.p95_load_time":450.5}""";

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

    private static void WriteLatest(Utf8JsonWriter json, List<Window> windows, DimensionFilter? filter)
    {
        if (windows is [var window, ..])
        {
            WriteWindow(json, window, filter);
        }
        else
        {
            json.WriteStartObject();
            json.WriteEndObject();
        }
    }

    private static void WriteWindow(Utf8JsonWriter json, Window window, DimensionFilter? filter)
    {
        json.WriteStartObject();
        json.WriteNumber("window_start"u8, window.Start);
        foreach (var field in window.Fields)
        {
            if (filter is null || filter.Wants(((ReadOnlyMemory<byte>)field.Name).Span))
            {
                Measure.Write(json, field);
            }
        }

        json.WriteEndObject();
    }
}
