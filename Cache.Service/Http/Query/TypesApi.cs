using Cache.Metrics;
using Cache.Service.Options;

namespace Cache.Service.Http.Query;

/// <summary><c>GET /types</c>: what windows there are, and what they hold.</summary>
internal static class TypesApi
{
    public static void MapTypes(this IEndpointRouteBuilder routes)
    {
        var large = routes.ServiceProvider.GetRequiredService<LargeReads>();

        // The configuration does not change while the service runs.
        var answer = Answer(routes.ServiceProvider.GetRequiredService<CacheOptions>().MetricTypes);
        routes.MapGet("/types", (Delegate)((HttpContext context) => answer.SendAsync(context, large)))
            .WithName("get_types").WithTags("Windows").WithSummary("The metric types, with their dimensions and measures")
            .WithDescription("In the order in which they are shown. Each has its own routes under `/metrics/{name}/`.")
            .WithMetadata(DescribedAnswer.NotModified, DescribedAnswer.Json(
                "Types",
                """
                {"types":[{"name":"event","dimensions":["event_type"],"measures":[{"name":"count","kind":"count","rollup":"sum"},{"name":"users","kind":"count","rollup":"max"}]},
                 {"name":"revenue","dimensions":["country","plan"],"separator":"|","window_seconds":60,"measures":[{"name":"total","kind":"number","unit":"EUR","rollup":"sum"}]}]}
                """));
    }

    private static Answer Answer(IReadOnlyList<MetricType> types) => Http.Answer.Json(json =>
    {
        json.WriteStartObject();
        json.WriteStartArray("types"u8);
        foreach (var type in types)
        {
            json.WriteStartObject();
            json.WriteString("name"u8, type.Name);
            json.WriteStartArray("dimensions"u8);
            foreach (var field in type.DimensionFields)
            {
                json.WriteStringValue(field);
            }

            json.WriteEndArray();
            if (type.DimensionFields.Count > 1)
            {
                json.WriteString("separator"u8, type.Separator);
            }

            if (type.WindowSeconds is { } seconds)
            {
                json.WriteNumber("window_seconds"u8, seconds);
            }

            json.WriteStartArray("measures"u8);
            foreach (var measure in type.Measures)
            {
                json.WriteStartObject();
                json.WriteString("name"u8, measure.Name);
                json.WriteString("kind"u8, measure.Kind.Word());
                if (measure.Unit is { } unit)
                {
                    json.WriteString("unit"u8, unit);
                }

                json.WriteString("rollup"u8, measure.Rollup.Word());
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });
}
