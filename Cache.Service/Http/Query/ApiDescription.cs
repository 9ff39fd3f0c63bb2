using System.Text.Json.Nodes;
using Cache.Service.Http.Access;
using Cache.Service.Options;
using Cache.Service.Telemetry;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace Cache.Service.Http.Query;

/// <summary>Describes the API: the schemas, and the answers of each route (<see cref="DescribedAnswer"/>).</summary>
internal static class ApiDescription
{
    public static void Configure(OpenApiOptions api, CacheOptions options)
    {
        api.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new() { Title = "Cache", Version = BuildInfo.Version, Description = "Recent metric windows, as they are in Redis now." };
            document.Components ??= new();
            document.Components.Schemas = Schemas(document, options);
            AddSecurity(document, options);
            AddProbes(document);
            return Task.CompletedTask;
        });
        api.AddOperationTransformer((operation, context, _) =>
        {
            foreach (var answer in context.Description.ActionDescriptor.EndpointMetadata.OfType<DescribedAnswer>().OrderBy(answer => answer.Status))
            {
                Add(operation, answer, context.Document!);
            }

            return Task.CompletedTask;
        });
    }

    private static void Add(OpenApiOperation operation, DescribedAnswer answer, OpenApiDocument document)
    {
        operation.Responses ??= [];
        var status = answer.Status.ToString(System.Globalization.CultureInfo.InvariantCulture);

        // One status can have several content types.
        if (!operation.Responses.TryGetValue(status, out var known) || known is not OpenApiResponse { Content: not null } response)
        {
            operation.Responses[status] = response = new OpenApiResponse { Content = new Dictionary<string, OpenApiMediaType>() };
        }

        response.Description = answer.Description;
        if (answer.ContentType is not null)
        {
            response.Content![answer.ContentType] = new OpenApiMediaType
            {
                Schema = answer.Schema is { } schema ? new OpenApiSchemaReference(schema, document) : new OpenApiSchema { Type = JsonSchemaType.String },
                Example = answer.Schema is null ? JsonValue.Create(answer.Example) : JsonNode.Parse(answer.Example!),
            };
        }
    }

    private static Dictionary<string, IOpenApiSchema> Schemas(OpenApiDocument document, CacheOptions options)
    {
        var text = new OpenApiSchema { Type = JsonSchemaType.String };
        var texts = new OpenApiSchema { Type = JsonSchemaType.Array, Items = text };
        var time = new OpenApiSchema { Type = JsonSchemaType.Integer, Format = "int64", Description = "Milliseconds since 1970 UTC." };
        var number = new OpenApiSchema { Type = JsonSchemaType.Number };
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
            ["Health"] = Object("Whether Redis answers.", ["status", "redis"],
                ("status", OneOf("ok", "unavailable")), ("redis", new OpenApiSchema { Type = JsonSchemaType.Boolean })),
            ["Readiness"] = Object("Whether this replica is up to date, and if not, why.", ["status"],
                ("status", OneOf("ready", "not ready")), ("reasons", texts)),
            ["Pipeline"] = Object("The state of this replica's pipeline, and its counters since start.",
                ["instance", "version", "time", "ready", "reasons", "kafka", "rows", "queue", "pending", "last_flush", "dead_letters", "lag", "stream_clients"],
                ("instance", new OpenApiSchema { Type = JsonSchemaType.String, Description = "The host and process id of this replica, which the counters belong to." }),
                ("version", new OpenApiSchema { Type = JsonSchemaType.String, Description = "The build that is running." }), ("time", time),
                ("ready", new OpenApiSchema { Type = JsonSchemaType.Boolean, Description = "The result of /readyz, at most a second old." }),
                ("reasons", texts), ("kafka", text),
                ("rows", new OpenApiSchema { Type = JsonSchemaType.Object, Description = "Rows consumed, by topic.", AdditionalProperties = number }),
                ("queue", Object("Rows waiting in the queue, and its maximum.", ["rows", "most"], ("rows", number), ("most", number))),
                ("pending", new OpenApiSchema { Type = JsonSchemaType.Number, Description = "Rows consumed but not yet committed." }),
                ("last_flush", Object("The last batch written to Redis; null before the first.", ["time", "rows", "windows", "seconds"],
                    ("time", time), ("rows", number), ("windows", number), ("seconds", number))),
                ("dead_letters", new OpenApiSchema { Type = JsonSchemaType.Object, Description = "Rows rejected, by reason.", AdditionalProperties = number }),
                ("lag", new OpenApiSchema
                {
                    Type = JsonSchemaType.Array,
                    Items = Object("A partition assigned to this replica; rows and seconds are null until its end offset is known.", ["topic", "partition", "rows", "seconds"],
                        ("topic", text), ("partition", number), ("rows", numberOrNull), ("seconds", numberOrNull)),
                }),
                ("stream_clients", number)),
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

    private static OpenApiSchema OneOf(params string[] values) =>
        new() { Type = JsonSchemaType.String, Enum = [.. values.Select(value => (JsonNode)JsonValue.Create(value))] };

    /// <summary>Adds the routes that the framework maps but does not describe.</summary>
    private static void AddProbes(OpenApiDocument document)
    {
        document.Paths ??= [];
        Probe("/health", "Readiness in one word, at Aspire's usual path");
        Probe("/alive", "Liveness: the consume loop is turning");
        Add("/metrics", "Prometheus", "All metrics, for Prometheus",
            DescribedAnswer.Text("text/plain", "# TYPE cache_kafka_records_total counter\ncache_kafka_records_total{topic=\"event_metrics\"} 1234\n"));

        void Probe(string path, string summary) => Add(path, "Health", summary,
            DescribedAnswer.Text("text/plain", "Healthy"),
            DescribedAnswer.Text("text/plain", "Unhealthy", StatusCodes.Status503ServiceUnavailable, "Unhealthy."));

        void Add(string path, string tag, string summary, params DescribedAnswer[] answers)
        {
            var operation = new OpenApiOperation { Summary = summary, Tags = new HashSet<OpenApiTagReference> { new(tag, document) } };
            document.Tags ??= new HashSet<OpenApiTag>();
            document.Tags.Add(new() { Name = tag });
            Array.ForEach(answers, answer => ApiDescription.Add(operation, answer, document));
            document.Paths[path] = new OpenApiPathItem { Operations = new() { [HttpMethod.Get] = operation } };
        }
    }

    private static void AddSecurity(OpenApiDocument document, CacheOptions options)
    {
        var schemes = new Dictionary<string, IOpenApiSecurityScheme>();
        if (options.ApiKeys.Count > 0)
        {
            schemes[ApiKeyHandler.SchemeName] = new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.ApiKey,
                In = ParameterLocation.Header,
                Name = ApiKeys.Header,
                Description = "One of `api_keys`; on `/stream` also as the query parameter `api_key`.",
            };
        }

        if (options.AcceptsTokens)
        {
            schemes["Bearer"] = new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = "bearer", BearerFormat = "JWT" };
        }

        document.Components!.SecuritySchemes = schemes;
        document.Security = [.. schemes.Keys.Select(name => new OpenApiSecurityRequirement { [new(name, document)] = [] })];
    }
}
