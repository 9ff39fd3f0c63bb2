using System.Text.Json.Nodes;
using Cache.Service.Options;
using Microsoft.OpenApi;

namespace Cache.Service.Http.Query;

/// <summary>The schemas of what routes answer.</summary>
internal static class ApiSchemas
{
    /// <summary>Creates the schemas, by name.</summary>
    public static Dictionary<string, IOpenApiSchema> Of(OpenApiDocument document, CacheOptions options)
    {
        var text = new OpenApiSchema { Type = JsonSchemaType.String };
        var texts = new OpenApiSchema { Type = JsonSchemaType.Array, Items = text };
        var time = new OpenApiSchema { Type = JsonSchemaType.Integer, Format = "int64", Description = "Milliseconds since 1970 UTC." };
        var number = new OpenApiSchema { Type = JsonSchemaType.Number };
        var textOrNull = new OpenApiSchema { Type = JsonSchemaType.String | JsonSchemaType.Null };
        var numberOrNull = new OpenApiSchema { Type = JsonSchemaType.Number | JsonSchemaType.Null };
        return new()
        {
            ["Window"] = new OpenApiSchema
            {
                Type = JsonSchemaType.Object,
                Description = "A window: its start, and one number per dimension and measure, named {dimension}.{measure}: "
                    + string.Join(", ", options.MetricTypes.SelectMany(type => type.Measures.Select(measure => $"{{{string.Join($"}}{type.Separator}{{", type.DimensionFields)}}}.{measure.Name}")))
                    + ". An empty object if there is no window.",
                Properties = new Dictionary<string, IOpenApiSchema> { ["window_start"] = time },
                AdditionalProperties = number,
            },
            ["Windows"] = Object("Windows, newest first.", ["windows"],
                ("windows", new OpenApiSchema { Type = JsonSchemaType.Array, Items = new OpenApiSchemaReference("Window", document) })),
            ["Overview"] = Object("The newest window of each type.", [.. options.MetricTypes.Select(type => $"{type.Name}_latest")],
                [.. options.MetricTypes.Select(type => ($"{type.Name}_latest", (IOpenApiSchema)new OpenApiSchemaReference("Window", document)))]),
            ["Summary"] = Object("Windows rolled up. `total` and each dimension's `measures` have one number per measure that has values.", ["type", "rollups", "windows", "total", "dimensions"],
                ("type", text), ("rollups", new OpenApiSchema { Type = JsonSchemaType.Object, Description = "How each measure was rolled up.", AdditionalProperties = text }),
                ("windows", number), ("first", time), ("last", time),
                ("total", new OpenApiSchema { Type = JsonSchemaType.Object, AdditionalProperties = number }),
                ("dimensions", new OpenApiSchema { Type = JsonSchemaType.Array, Items = new OpenApiSchemaReference("DimensionSummary", document) }),
                ("step", new OpenApiSchema { Type = JsonSchemaType.Integer, Format = "int64", Description = "The length of a step, in milliseconds." }),
                ("series", new OpenApiSchema
                {
                    Type = JsonSchemaType.Array,
                    Description = "The steps that have windows, newest first.",
                    Items = Object("A step.", ["start", "windows", "total", "dimensions"], ("start", time), ("windows", number),
                        ("total", new OpenApiSchema { Type = JsonSchemaType.Object, AdditionalProperties = number }),
                        ("dimensions", new OpenApiSchema { Type = JsonSchemaType.Array, Items = new OpenApiSchemaReference("DimensionSummary", document) })),
                })),
            ["DimensionSummary"] = Object("A dimension, rolled up.", ["dimension", "measures"],
                ("dimension", text), ("measures", new OpenApiSchema { Type = JsonSchemaType.Object, AdditionalProperties = number })),
            ["Types"] = Object("The metric types.", ["types"],
                ("types", new OpenApiSchema { Type = JsonSchemaType.Array, Items = new OpenApiSchemaReference("Type", document) })),
            ["Type"] = Object("A metric type.", ["name", "dimensions", "measures"],
                ("name", text), ("dimensions", texts), ("separator", new OpenApiSchema { Type = JsonSchemaType.String, Description = "Joins the values of several dimension fields." }),
                ("window_seconds", new OpenApiSchema { Type = JsonSchemaType.Integer, Format = "int32", Description = "The length of a window; absent if rows of any length are taken." }),
                ("measures", new OpenApiSchema
                {
                    Type = JsonSchemaType.Array,
                    Items = Object("A measure.", ["name", "kind", "rollup"], ("name", text), ("kind", OneOf("count", "number")), ("unit", text), ("rollup", OneOf("sum", "max", "min", "mean", "last"))),
                })),
            ["Sessions"] = Object("The active sessions, latest first.", ["sessions"],
                ("sessions", new OpenApiSchema { Type = JsonSchemaType.Array, Items = new OpenApiSchemaReference("Session", document) })),
            ["Session"] = Object("A session, with its known fields.", ["session_id"],
                ("session_id", text), ("user_id", text), ("start_time", time), ("end_time", time),
                ("duration", new OpenApiSchema { Type = JsonSchemaType.Integer, Format = "int64", Description = "Milliseconds." }),
                ("page_count", new OpenApiSchema { Type = JsonSchemaType.Integer, Format = "int64" }), ("device_category", text)),
            ["DeadLetters"] = Object("The newest rejected rows, newest first.", ["topic", "letters", "scanned", "complete"],
                ("topic", new OpenApiSchema { Type = JsonSchemaType.String, Description = "The dead-letter topic." }),
                ("letters", new OpenApiSchema { Type = JsonSchemaType.Array, Items = new OpenApiSchemaReference("DeadLetter", document) }),
                ("scanned", new OpenApiSchema { Type = JsonSchemaType.Number, Description = "How many letters were looked at." }),
                ("complete", new OpenApiSchema { Type = JsonSchemaType.Boolean, Description = "False if there may be others further back that were not looked at." })),
            ["DeadLetter"] = Object("A rejected row, and where it came from; null where that is unknown.",
                ["reason", "topic", "partition", "offset", "timestamp", "rejected", "dead_letter", "key", "value", "bytes", "truncated"],
                ("reason", textOrNull), ("topic", textOrNull), ("partition", numberOrNull), ("offset", numberOrNull),
                ("timestamp", new OpenApiSchema { Type = JsonSchemaType.Integer | JsonSchemaType.Null, Format = "int64", Description = "The row's Kafka timestamp, in milliseconds since 1970 UTC." }),
                ("rejected", time), ("dead_letter", Object("Where the letter is in the dead-letter topic.", ["partition", "offset"], ("partition", number), ("offset", number))),
                ("key", textOrNull), ("key_base64", new OpenApiSchema { Type = JsonSchemaType.String, Format = "byte", Description = "Instead of `key`, if that is not UTF-8." }),
                ("value", textOrNull), ("value_base64", new OpenApiSchema { Type = JsonSchemaType.String, Format = "byte", Description = "Instead of `value`, if that is not UTF-8." }),
                ("bytes", new OpenApiSchema { Type = JsonSchemaType.Number, Description = "The length of the whole value." }),
                ("truncated", new OpenApiSchema { Type = JsonSchemaType.Boolean, Description = "Whether less than the whole value is here." })),
            ["Health"] = Object("Whether Redis answers.", ["status", "redis"],
                ("status", OneOf("ok", "unavailable")), ("redis", new OpenApiSchema { Type = JsonSchemaType.Boolean })),
            ["Readiness"] = Object("Whether this replica is up to date, and if not, why.", ["status"],
                ("status", OneOf("ready", "not ready")), ("reasons", texts)),
            ["Pipeline"] = Object("The state of this replica's pipeline, and its counters since start.",
                ["instance", "version", "time", "ready", "reasons", "kafka", "rows", "queue", "pending", "last_flush", "dead_letters", "windows", "lag", "stream_clients"],
                ("instance", new OpenApiSchema { Type = JsonSchemaType.String, Description = "The host and process id of this replica, which the counters belong to." }),
                ("version", new OpenApiSchema { Type = JsonSchemaType.String, Description = "The build that is running." }), ("time", time),
                ("ready", new OpenApiSchema { Type = JsonSchemaType.Boolean, Description = "The result of /readyz, at most a second old." }),
                ("reasons", texts), ("kafka", text),
                ("rows", new OpenApiSchema { Type = JsonSchemaType.Object, Description = "Rows consumed, by topic.", AdditionalProperties = number }),
                ("queue", Object("Rows waiting in the queue, and its maximum.", ["rows", "most"], ("rows", number), ("most", number))),
                ("pending", new OpenApiSchema { Type = JsonSchemaType.Number, Description = "Rows consumed but not yet committed." }),
                ("last_flush", ObjectOrNull("The last batch written to Redis; null before the first.", ["time", "rows", "windows", "seconds"],
                    ("time", time), ("rows", number), ("windows", number), ("seconds", number))),
                ("dead_letters", new OpenApiSchema { Type = JsonSchemaType.Object, Description = "Rows rejected, by reason.", AdditionalProperties = number }),
                ("windows", new OpenApiSchema
                {
                    Type = JsonSchemaType.Array,
                    Description = "How old the newest window of each metric type is, whichever replica wrote it. While Redis does not answer, the last one known grows older.",
                    Items = Object("A metric type; it is fresh if its newest window started less than two window lengths and 60 s ago.", ["type", "newest", "age_seconds", "window_seconds", "fresh"],
                        ("type", text),
                        ("newest", new OpenApiSchema { Type = JsonSchemaType.Integer | JsonSchemaType.Null, Format = "int64", Description = "The start of the newest window, in milliseconds since 1970 UTC; null if there is none." }),
                        ("age_seconds", new OpenApiSchema { Type = JsonSchemaType.Number | JsonSchemaType.Null, Description = "The time since then; negative if it is in the future." }),
                        ("window_seconds", new OpenApiSchema { Type = JsonSchemaType.Number | JsonSchemaType.Null, Description = "The length used: the type's `window_seconds`, else the smallest gap among the newest 15 windows; null if it is not known." }),
                        ("fresh", new OpenApiSchema { Type = JsonSchemaType.Boolean })),
                }),
                ("lag", new OpenApiSchema
                {
                    Type = JsonSchemaType.Array,
                    Items = Object("A partition assigned to this replica; rows and seconds are null until its end offset is known.", ["topic", "partition", "rows", "seconds"],
                        ("topic", text), ("partition", number), ("rows", numberOrNull), ("seconds", numberOrNull)),
                }),
                ("stream_clients", number),
                ("redis_restarts_seen_by", new OpenApiSchema
                {
                    Type = JsonSchemaType.String | JsonSchemaType.Null,
                    Enum = ["run_id", "script_cache", "nothing", null!],
                    Description = "How a restart of Redis, perhaps with older data, is detected; null before the first check.",
                })),
            ["Fleet"] = Object("The state of every replica.", ["time", "self", "complete", "replicas"],
                ("time", time), ("self", new OpenApiSchema { Type = JsonSchemaType.String, Description = "The id of the replica that answers." }),
                ("complete", new OpenApiSchema { Type = JsonSchemaType.Boolean, Description = "Whether the states of all other replicas could be read." }),
                ("replicas", new OpenApiSchema { Type = JsonSchemaType.Array, Items = new OpenApiSchemaReference("Replica", document) })),
            ["Replica"] = Object("The state of a replica; times are by its own clock.",
                ["id", "version", "started", "seen", "ready", "reasons", "rows_per_second", "partitions", "revocation"],
                ("id", new OpenApiSchema { Type = JsonSchemaType.String, Description = "Its host and process id." }), ("version", text), ("started", time),
                ("seen", new OpenApiSchema { Type = JsonSchemaType.Integer, Format = "int64", Description = "When it was in this state." }),
                ("ready", new OpenApiSchema { Type = JsonSchemaType.Boolean }), ("reasons", texts),
                ("rows_per_second", new OpenApiSchema { Type = JsonSchemaType.Number, Description = "Rows consumed per second, over the last five seconds." }),
                ("partitions", new OpenApiSchema
                {
                    Type = JsonSchemaType.Array,
                    Items = Object("A partition assigned to it, and since when; rows and seconds are null until its end offset is known.", ["topic", "partition", "rows", "seconds", "since"],
                        ("topic", text), ("partition", number), ("rows", numberOrNull), ("seconds", numberOrNull), ("since", time)),
                }),
                ("revocation", ObjectOrNull("The revocation in progress, whose partitions are still assigned; null if there is none.", ["partitions", "since", "waits_for"],
                    ("partitions", new OpenApiSchema { Type = JsonSchemaType.Array, Items = Object("A partition.", ["topic", "partition"], ("topic", text), ("partition", number)) }),
                    ("since", time), ("waits_for", OneOf("flush", "commit"))))),
            ["Problem"] = Object("What is wrong (RFC 9457).", ["title", "status"],
                ("type", text), ("title", text), ("status", new OpenApiSchema { Type = JsonSchemaType.Integer, Format = "int32" }), ("detail", text),
                ("traceId", text),
                ("errors", new OpenApiSchema { Type = JsonSchemaType.Object, Description = "What is wrong, by parameter.", AdditionalProperties = texts })),
        };
    }

    private static OpenApiSchema Object(string description, string[] required, params (string Name, IOpenApiSchema Schema)[] properties) => new()
    {
        Type = JsonSchemaType.Object,
        Description = description,
        Required = required.ToHashSet(),
        Properties = properties.ToDictionary(property => property.Name, property => property.Schema),
    };

    private static OpenApiSchema ObjectOrNull(string description, string[] required, params (string Name, IOpenApiSchema Schema)[] properties)
    {
        var schema = Object(description, required, properties);
        schema.Type |= JsonSchemaType.Null;
        return schema;
    }

    private static OpenApiSchema OneOf(params string[] values) =>
        new() { Type = JsonSchemaType.String, Enum = [.. values.Select(value => (JsonNode)JsonValue.Create(value))] };
}
