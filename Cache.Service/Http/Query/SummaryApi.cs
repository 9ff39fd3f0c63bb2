using System.ComponentModel;
using Cache.Metrics;
using Cache.Service.Options;
using static Cache.Service.Http.ApiAnswers;

namespace Cache.Service.Http.Query;

/// <summary><c>GET /metrics/{type}/summary</c>: windows rolled up into one, or into a series.</summary>
internal static class SummaryApi
{
    public static void MapSummary(this RouteGroupBuilder metrics, MetricType type, WindowAnswers answers, CacheOptions options, TimeProvider time)
    {
        // Parameters are bound as text, so that every error gets the same kind of answer.
        metrics.MapRead($"/{type.Name}/summary", (
            [Description(MetricsApi.EarliestDescription)] string? from,
            [Description(MetricsApi.LatestDescription)] string? to,
            [Description("Instead of `from` and `to`: how far back from now windows may start, such as `90s`, `15m`, `6h` or `2d`.")] string? last,
            [Description("Instead of both: the number of newest windows. All retained windows by default.")] string? windows,
            [Description("Also a series: the length of its steps, such as `5m`. A step begins at a multiple of its length since 1970.")] string? step,
            [Description("How many dimensions are listed; all by default.")] string? top,
            [Description("The measure that dimensions are ordered by, largest first. With `top`, the first measure by default; otherwise they are ordered by name.")] string? by,
            [Description(DimensionFilter.Description)] string? fields,
            HttpContext context) =>
        {
            var errors = new Dictionary<string, string[]>();
            var bounds = new[] { from is null && to is null ? null : "from and to", last is null ? null : "last", windows is null ? null : "windows" }.Where(bound => bound is not null).ToList();
            if (bounds.Count > 1)
            {
                errors[last is null ? "windows" : "last"] = [$"use only one of {string.Join(" or ", bounds)}"];
            }

            // To the second, so that repeated requests can share an answer.
            var earliest = MetricsApi.Time("from", from, errors) ?? (Duration("last", last, errors) is { } back ? (time.GetUtcNow().ToUnixTimeSeconds() * 1000) - back : null);
            var latest = MetricsApi.Time("to", to, errors);
            MetricsApi.CheckOrder(earliest, latest, errors);
            var limit = windows is null ? options.WindowRetentionCount : Whole("windows", windows, errors);
            var summary = new SummaryQuery(Duration("step", step, errors), top is null ? null : Whole("top", top, errors), Measure(type, top, by, errors));
            return errors.Count > 0
                ? WriteErrorsAsync(context, errors)
                : answers.SendAsync(context, new(type, limit, fields, earliest, latest, Summary: summary));
        })
        .WithName($"get_{type.Name}_summary").WithSummary($"The {type.Name} windows, rolled up")
        .WithDescription($"Each measure by its roll-up ({string.Join(", ", type.Measures.Select(measure => $"`{measure.Name}`: {measure.Rollup.Word()}"))}), by dimension and in total. A measure whose roll-up is `last` has no total.")
        .WithMetadata(
            DescribedParameter.Time("from"), DescribedParameter.Time("to"), DescribedParameter.Duration("last"), DescribedParameter.Whole("windows"),
            DescribedParameter.Duration("step"), DescribedParameter.Whole("top"), DescribedParameter.OneOf("by", type.Measures.Select(measure => measure.Name)),
            DescribedAnswer.Json("Summary", Example(type)), DescribedAnswer.BadParameter("last", "last must be a duration such as 90s, 15m, 6h or 2d"));
    }

    private static string Example(MetricType type)
    {
        var summary = new Summary(type, new(300_000, null, null), null);
        summary.Add(MetricsApi.ExampleWindow(type));
        var body = new System.Buffers.ArrayBufferWriter<byte>();
        using (var json = new System.Text.Json.Utf8JsonWriter(body))
        {
            summary.Write(json);
        }

        return System.Text.Encoding.UTF8.GetString(body.WrittenSpan);
    }

    private static long? Duration(string name, string? text, Dictionary<string, string[]> errors)
    {
        if (text is null)
        {
            return null;
        }

        if (Durations.TryParse(text, out var duration))
        {
            return (long)duration.TotalMilliseconds;
        }

        errors[name] = [$"{name} must be a duration such as 90s, 15m, 6h or 2d"];
        return null;
    }

    private static int? Measure(MetricType type, string? top, string? by, Dictionary<string, string[]> errors)
    {
        var place = by is null ? (top is null ? null : 0) : type.Measures.Index().Where(measure => measure.Item.Name == by).Select(measure => (int?)measure.Index).FirstOrDefault();
        if (by is not null && place is null)
        {
            errors["by"] = [$"by must be {string.Join(" or ", type.Measures.Select(measure => measure.Name))}"];
        }

        return place;
    }
}
