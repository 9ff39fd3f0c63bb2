using System.Buffers;
using System.ComponentModel;
using System.Globalization;
using System.Text;
using Cache.Metrics;
using Cache.Service.Options;
using StackExchange.Redis;
using static Cache.Service.Http.ApiAnswers;

namespace Cache.Service.Http.Query;

/// <summary>The data routes: latest window, recent windows, overview.</summary>
internal static class MetricsApi
{
    /// <summary>The description of <c>from</c>.</summary>
    public const string EarliestDescription = "Earliest window start: milliseconds since 1970, or ISO 8601 with any offset.";

    /// <summary>The description of <c>to</c>.</summary>
    public const string LatestDescription = "Latest window start, in the same formats.";

    public static void MapMetrics(this IEndpointRouteBuilder routes)
    {
        var metrics = routes.MapGroup("/metrics").WithTags("Windows");
        var answers = routes.ServiceProvider.GetRequiredService<WindowAnswers>();
        var options = routes.ServiceProvider.GetRequiredService<CacheOptions>();
        var types = options.MetricTypes;
        foreach (var type in types)
        {
            Map(metrics, type, answers);
            metrics.MapSummary(type, answers, options, routes.ServiceProvider.GetRequiredService<TimeProvider>());
        }

        metrics.MapRead("/overview", ([Description(DimensionFilter.Description)] string? fields, HttpContext context) =>
            answers.SendAsync(context, new(null, null, fields)))
        .WithName("get_overview").WithSummary("The newest window of each type")
        .WithMetadata(DescribedAnswer.Json("Overview", $"{{{string.Join(',', types.Select(type => $"\"{type.Name}_latest\":{Example(type)}"))}}}"));
    }

    private static void Map(RouteGroupBuilder metrics, MetricType type, WindowAnswers answers)
    {
        metrics.MapRead($"/{type.Name}/latest", ([Description(DimensionFilter.Description)] string? fields, HttpContext context) =>
            answers.SendAsync(context, new(type, null, fields)))
        .WithName($"get_{type.Name}_latest").WithSummary($"The newest {type.Name} window").WithDescription("An empty object if there is none.")
        .WithMetadata(DescribedAnswer.Json("Window", Example(type)));

        // Parameters are bound as text, so that every error gets the same kind of answer.
        metrics.MapRead($"/{type.Name}/windows", (
            [Description("Maximum number of windows. A number beyond retention means all.")] string? limit,
            [Description(EarliestDescription)] string? from,
            [Description(LatestDescription)] string? to,
            [Description(DimensionFilter.Description)] string? fields,
            HttpContext context) =>
        {
            var errors = new Dictionary<string, string[]>();
            var maxWindows = Limit(limit, errors);
            var earliest = Time("from", from, errors);
            var latest = Time("to", to, errors);
            CheckOrder(earliest, latest, errors);
            if (errors.Count > 0)
            {
                return WriteErrorsAsync(context, errors);
            }

            context.Response.Headers.Vary = "Accept";
            return answers.SendAsync(context, new(type, maxWindows, fields, earliest, latest, context.Request.Prefers("text", "csv")));
        })
        .WithName($"get_{type.Name}_windows").WithSummary($"The recent {type.Name} windows, newest first")
        .WithDescription("CSV with `Accept: text/csv`: one row per window and dimension.")
        .WithMetadata(
            DescribedParameter.Whole("limit", DefaultLimit), DescribedParameter.Time("from"), DescribedParameter.Time("to"),
            DescribedAnswer.Json("Windows", $$"""{"windows":[{{Example(type)}}]}"""),
            DescribedAnswer.Csv(CsvExample(type)),
            DescribedAnswer.BadParameter("limit", "limit must be a whole number of 1 or more"));
    }

    private static string Example(MetricType type) =>
        $"{{\"window_start\":{ExampleTime.Start},{string.Join(',', type.Measures.Select(measure => $"\"{ExampleDimension(type)}.{measure.Name}\":{ExampleValue(measure)}"))}}}";

    private static string CsvExample(MetricType type)
    {
        var body = new ArrayBufferWriter<byte>();
        WindowsCsv.WriteHeader(body, type);
        WindowsCsv.Write(body, type, ExampleWindow(type), null);
        return Encoding.UTF8.GetString(body.WrittenSpan);
    }

    /// <summary>A window to show in the API's description.</summary>
    public static Window ExampleWindow(MetricType type) =>
        new(ExampleTime.Start, [.. type.Measures.Select(measure => new HashEntry($"{ExampleDimension(type)}.{measure.Name}", ExampleValue(measure)))]);

    private static string ExampleDimension(MetricType type) => string.Join(type.Separator, type.DimensionFields.Select(field => field switch
    {
        "event_type" => "page_view",
        "device_category" => "Desktop",
        _ => $"a_{field}",
    }));

    private static string ExampleValue(Measure measure) => measure.Kind == MeasureKind.Count ? "2" : "450.5";

    /// <summary>Adds an error if the bounds are in the wrong order.</summary>
    public static void CheckOrder(long? from, long? to, Dictionary<string, string[]> errors)
    {
        if (errors.Count == 0 && from > to)
        {
            errors["from"] = ["from is later than to"];
        }
    }

    /// <summary>Parses a time; adds an error if it is invalid.</summary>
    public static long? Time(string name, string? text, Dictionary<string, string[]> errors)
    {
        if (text is null)
        {
            return null;
        }

        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var milliseconds))
        {
            return milliseconds;
        }

        // An unescaped + in a query means a space, so the + of a UTC offset arrives as one. Behind the minutes, digits after a space
        // can be nothing else.
        var space = text.LastIndexOf(' ');
        var utf8 = Encoding.UTF8.GetBytes(space >= "yyyy-MM-ddTHH:mm".Length && char.IsAsciiDigit(text.ElementAtOrDefault(space + 1)) ? $"{text[..space]}+{text[(space + 1)..]}" : text);
        if (WindowTime.TryParse(utf8, out milliseconds))
        {
            return milliseconds;
        }

        errors[name] = [$"{name} must be milliseconds since 1970 or an ISO 8601 time such as 2025-01-01T00:00:00Z"];
        return null;
    }
}
