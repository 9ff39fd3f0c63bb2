using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;

namespace Cache.Tests.EndToEnd;

/// <summary>A schema registry, as far as a consumer asks one.</summary>
internal sealed class FakeSchemaRegistry : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly ConcurrentDictionary<int, object> _schemas = new();
    private readonly ConcurrentDictionary<string, object> _versions = new();
    private readonly ConcurrentQueue<string> _requests = new();

    private FakeSchemaRegistry(WebApplication app) => _app = app;

    public string Url => _app.Urls.First();

    /// <summary>The path of each request, and its Authorization header.</summary>
    public IReadOnlyCollection<string> Requests => _requests;

    /// <summary>The answer to every request: a status and a body; null for the schemas.</summary>
    public (int Status, string Body)? Failure { get; set; }

    /// <summary>The id of a schema that the registry fails to read.</summary>
    public int? Broken { get; set; }

    /// <summary>Starts a registry without schemas.</summary>
    /// <param name="port">The port; 0 for any.</param>
    public static async Task<FakeSchemaRegistry> StartAsync(int port = 0)
    {
        Requirement.Started();
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, port));
        var app = builder.Build();
        var registry = new FakeSchemaRegistry(app);
        app.MapGet("/schemas/ids/{id}", (string id, HttpRequest request) => registry.Answer(
            request, int.TryParse(id, CultureInfo.InvariantCulture, out var number) ? registry._schemas.GetValueOrDefault(number) : null));
        app.MapGet("/subjects/{subject}/versions/{version}", (string subject, int version, HttpRequest request) =>
            registry.Answer(request, registry._versions.GetValueOrDefault($"{subject}/{version}")));
        await app.StartAsync();
        return registry;
    }

    /// <summary>The address of a registry that is down, and the port to start it at.</summary>
    public static async Task<(string Url, int Port)> DownAsync()
    {
        await using var registry = await StartAsync();
        return (registry.Url, new Uri(registry.Url).Port);
    }

    /// <summary>Registers a schema.</summary>
    /// <param name="id">Its id.</param>
    /// <param name="schema">Its text.</param>
    /// <param name="type">Its type; null for Avro, as real registries leave it out.</param>
    /// <param name="references">The names of types in it, and their subjects, each in version 1.</param>
    public void Add(int id, string schema, string? type = null, params (string Name, string Subject)[] references) =>
        _schemas[id] = Body(schema, type, references);

    /// <summary>Registers version 1 of a subject, for others to refer to.</summary>
    public void Add(string subject, string schema, params (string Name, string Subject)[] references) =>
        _versions[$"{subject}/1"] = Body(schema, null, references, ("subject", subject), ("version", 1), ("id", 900));

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private IResult Answer(HttpRequest request, object? schema)
    {
        _requests.Enqueue($"{request.Path} {request.Headers.Authorization}");
        return request.Path.Value == $"/schemas/ids/{Broken}" ? Results.StatusCode(500)
            : Failure is { } failure ? Results.Text(failure.Body, "application/json", statusCode: failure.Status)
            : schema is null ? Results.Json(new { error_code = 40403, message = "Schema not found" }, statusCode: 404)
            : Results.Json(schema);
    }

    private static Dictionary<string, object> Body(string schema, string? type, (string Name, string Subject)[] references, params (string Name, object Value)[] more)
    {
        var body = more.ToDictionary(field => field.Name, field => field.Value);
        body["schema"] = schema;
        if (type is not null)
        {
            body["schemaType"] = type;
        }

        if (references.Length > 0)
        {
            body["references"] = references.Select(reference => new { name = reference.Name, subject = reference.Subject, version = 1 });
        }

        return body;
    }
}
