using System.Text.Json.Nodes;
using Cache.Service.Http.Access;
using Cache.Service.Options;
using Cache.Service.Telemetry;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace Cache.Service.Http.Query;

/// <summary>Describes the API: parameters and answers of each route (<see cref="DescribedParameter"/>, <see cref="DescribedAnswer"/>), and what it requires.</summary>
internal static class ApiDescription
{
    private const string QueryScheme = "ApiKeyInQuery";
    private const string TokenScheme = "Bearer";

    public static void Configure(OpenApiOptions api, CacheOptions options)
    {
        api.ShouldInclude = route => route.HttpMethod == HttpMethods.Get;
        api.AddDocumentTransformer((document, _, _) =>
        {
            document.Info = new()
            {
                Title = "Cache",
                Version = BuildInfo.Version,
                Description = "Recent metric windows, as they are in Redis now.",
                License = new() { Name = "MIT", Identifier = "MIT" },
            };
            document.Tags = Tags();
            foreach (var server in document.Servers ?? [])
            {
                // Paths begin with one.
                server.Url = server.Url?.TrimEnd('/');
            }

            document.Components ??= new();
            document.Components.Schemas = ApiSchemas.Of(document, options);
            document.Components.SecuritySchemes = Schemes(options);
            AddProbes(document);
            return Task.CompletedTask;
        });
        api.AddOperationTransformer((operation, context, _) =>
        {
            foreach (var answer in context.Description.ActionDescriptor.EndpointMetadata.OfType<DescribedAnswer>().OrderBy(answer => answer.Status))
            {
                Add(operation, answer, context.Document!);
            }

            foreach (var described in context.Description.ActionDescriptor.EndpointMetadata.OfType<DescribedParameter>())
            {
                var parameter = (OpenApiParameter)operation.Parameters!.Single(parameter => parameter.Name == described.Name);
                parameter.Schema = described.Schema;

                // Lists are separated by commas.
                parameter.Explode = described.Schema.Type != JsonSchemaType.Array;
            }

            AddSecurity(operation, context, options);
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

    /// <summary>Adds the routes that the framework maps but does not describe.</summary>
    private static void AddProbes(OpenApiDocument document)
    {
        document.Paths ??= [];
        Probe("/health", "get_health", "Readiness in one word, at Aspire's usual path");
        Probe("/alive", "get_liveness", "Liveness: the consume loop is turning");
        Add("/metrics", "get_metrics", "Prometheus", "All metrics, for Prometheus",
            DescribedAnswer.Text("text/plain", "# TYPE cache_kafka_records_total counter\ncache_kafka_records_total{topic=\"event_metrics\"} 1234\n"));

        void Probe(string path, string id, string summary) => Add(path, id, "Health", summary,
            DescribedAnswer.Text("text/plain", "Healthy"),
            DescribedAnswer.Text("text/plain", "Unhealthy", StatusCodes.Status503ServiceUnavailable, "Unhealthy."));

        void Add(string path, string id, string tag, string summary, params DescribedAnswer[] answers)
        {
            var operation = new OpenApiOperation { OperationId = id, Summary = summary, Tags = new HashSet<OpenApiTagReference> { new(tag, document) }, Security = [] };
            Array.ForEach(answers, answer => ApiDescription.Add(operation, answer, document));
            document.Paths[path] = new OpenApiPathItem { Operations = new() { [HttpMethod.Get] = operation } };
        }
    }

    private static HashSet<OpenApiTag> Tags() =>
    [
        new() { Name = "Windows", Description = "The windows of each metric type: the newest, the recent ones, and rolled up." },
        new() { Name = "Sessions", Description = "Sessions that are active, or ended a short time ago." },
        new() { Name = "Stream", Description = "Every update, as it is written." },
        new() { Name = "Dead letters", Description = "Rows that were rejected, and why." },
        new() { Name = "State", Description = "What the replicas are doing." },
        new() { Name = "Health", Description = "Probes for orchestrators and load balancers. Open to all." },
        new() { Name = "Prometheus", Description = "Metrics of this replica. Open to all." },
    ];

    private static Dictionary<string, IOpenApiSecurityScheme> Schemes(CacheOptions options)
    {
        var schemes = new Dictionary<string, IOpenApiSecurityScheme>();
        if (options.ApiKeys.Count > 0)
        {
            schemes[ApiKeyHandler.SchemeName] = new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.ApiKey,
                In = ParameterLocation.Header,
                Name = ApiKeys.Header,
                Description = "One of `api_keys`.",
            };
            schemes[QueryScheme] = new OpenApiSecurityScheme
            {
                Type = SecuritySchemeType.ApiKey,
                In = ParameterLocation.Query,
                Name = QueryKey.Parameter,
                Description = "One of `api_keys`, for browsers, whose EventSource cannot set headers.",
            };
        }

        if (options.AcceptsTokens)
        {
            schemes[TokenScheme] = new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = "bearer", BearerFormat = "JWT" };
        }

        return schemes;
    }

    /// <summary>Names the schemes of which a route requires one: none for routes that are open to all.</summary>
    private static void AddSecurity(OpenApiOperation operation, OpenApiOperationTransformerContext context, CacheOptions options)
    {
        var isProtected = context.Description.ActionDescriptor.EndpointMetadata.OfType<IAuthorizeData>().Any();
        var isStream = "/" + context.Description.RelativePath == QueryKey.StreamPath;
        operation.Security = [.. Schemes(options).Keys
            .Where(name => isProtected && (isStream || name != QueryScheme))
            .Select(name => new OpenApiSecurityRequirement { [new(name, context.Document)] = [] })];
    }
}
