using System.ComponentModel;
using System.Globalization;
using System.Text;
using Cache.Service.Decode;
using Cache.Service.Model;
using static Cache.Service.Http.ApiAnswers;

namespace Cache.Service.Http.Query;

/// <summary>The data routes: latest window, recent windows, overview.</summary>
internal static class MetricsApi
{
    public static void MapMetrics(this IEndpointRouteBuilder routes)
    {
        var metrics = routes.MapGroup("/metrics").WithTags("Windows");
        var answers = routes.ServiceProvider.GetRequiredService<WindowAnswers>();
        Map(metrics, "event", RowKind.Event, answers);
        Map(metrics, "performance", RowKind.Performance, answers);
        metrics.MapRead("/overview", ([Description(DimensionFilter.Description)] string? fields, HttpContext context) =>
            answers.SendAsync(context, new(null, null, fields)))
        .WithSummary("The newest window of each type")
        .WithMetadata(DescribedAnswer.Json("Overview", $$"""{"event_latest":{{Example(RowKind.Event)}},"performance_latest":{{Example(RowKind.Performance)}}}"""));
    }

    private static void Map(RouteGroupBuilder metrics, string type, RowKind kind, WindowAnswers answers)
    {
        metrics.MapRead($"/{type}/latest", ([Description(DimensionFilter.Description)] string? fields, HttpContext context) =>
            answers.SendAsync(context, new(kind, null, fields)))
        .WithSummary($"The newest {type} window").WithDescription("An empty object if there is none.")
        .WithMetadata(DescribedAnswer.Json("Window", Example(kind)));

        // Parameters are bound as text, so that every error gets the same kind of answer.
        metrics.MapRead($"/{type}/windows", (
            [Description("Maximum number of windows, 1 or more; 20 by default. A number beyond retention means all.")] string? limit,
            [Description("Earliest window start: milliseconds since 1970, or ISO 8601.")] string? from,
            [Description("Latest window start, in the same formats.")] string? to,
            [Description(DimensionFilter.Description)] string? fields,
            HttpContext context) =>
        {
            var errors = new Dictionary<string, string[]>();
            var maxWindows = Limit(limit, errors);
            var earliest = Time("from", from, errors);
            var latest = Time("to", to, errors);
            if (errors.Count == 0 && earliest > latest)
            {
                errors["from"] = ["from is later than to"];
            }

            if (errors.Count > 0)
            {
                return WriteErrorsAsync(context, errors);
            }

            context.Response.Headers.Vary = "Accept";
            return answers.SendAsync(context, new(kind, maxWindows, fields, earliest, latest, WindowsCsv.IsWanted(context.Request)));
        })
        .WithSummary($"The recent {type} windows, newest first")
        .WithDescription("CSV with `Accept: text/csv`: one row per window and dimension.")
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

        // An unescaped + in a query means a space, so the + of a UTC offset arrives as one.
        var utf8 = Encoding.UTF8.GetBytes(text.Length > 19 && text[^6] == ' ' ? $"{text[..^6]}+{text[^5..]}" : text);
        if (WindowTime.TryParse(utf8, out milliseconds))
        {
            return milliseconds;
        }

        errors[name] = [$"{name} must be milliseconds since 1970 or an ISO 8601 time such as 2025-01-01T00:00:00Z"];
        return null;
    }
}
