using System.Net;
using Cache.Tests.EndToEnd;

namespace Cache.Tests.Http.Query;

public sealed class ApiDescriptionTests
{
    [Fact]
    public async Task Description_HasEveryRoute_WithParametersAndErrors()
    {
        await using var stack = await InProcessStack.StartAsync();

        var api = await stack.GetAsync("/openapi/v1.json");

        var paths = api.GetProperty("paths");
        string[] routes =
        [
            "/metrics/overview", "/metrics/event/latest", "/metrics/performance/latest", "/metrics/event/windows",
            "/metrics/performance/windows", "/metrics/event/summary", "/metrics/performance/summary", "/types", "/sessions/active", "/stream", "/healthz", "/readyz", "/pipeline", "/health", "/alive", "/metrics",
        ];
        Assert.Equal(routes.Order(), paths.EnumerateObject().Select(path => path.Name).Order());
        var windows = paths.GetProperty("/metrics/event/windows").GetProperty("get");
        Assert.Equal(
            ["limit", "from", "to", "fields"],
            windows.GetProperty("parameters").EnumerateArray().Select(parameter => parameter.GetProperty("name").GetString()));
        Assert.Equal(
            ["200", "304", "400", "401", "429", "503"], windows.GetProperty("responses").EnumerateObject().Select(response => response.Name).Order());
        var summary = paths.GetProperty("/metrics/event/summary").GetProperty("get");
        Assert.Equal(
            ["from", "to", "last", "windows", "step", "top", "by", "fields"],
            summary.GetProperty("parameters").EnumerateArray().Select(parameter => parameter.GetProperty("name").GetString()));
    }

    [Fact]
    public async Task Description_OfSessions_HasItsParameterAndErrors()
    {
        await using var stack = await InProcessStack.StartAsync();

        var api = await stack.GetAsync("/openapi/v1.json");

        var sessions = api.GetProperty("paths").GetProperty("/sessions/active").GetProperty("get");
        Assert.Equal(["limit"], sessions.GetProperty("parameters").EnumerateArray().Select(parameter => parameter.GetProperty("name").GetString()));
        Assert.Equal(
            ["200", "304", "400", "401", "429", "503"], sessions.GetProperty("responses").EnumerateObject().Select(response => response.Name).Order());
    }

    [Fact]
    public async Task Description_HasASchemaAndAnExampleOfEveryAnswer_AndDescribesEveryParameter()
    {
        await using var stack = await InProcessStack.StartAsync();

        var api = await stack.GetAsync("/openapi/v1.json");

        var schemas = api.GetProperty("components").GetProperty("schemas");
        foreach (var path in api.GetProperty("paths").EnumerateObject())
        {
            var operation = path.Value.GetProperty("get");
            Assert.NotEmpty(operation.GetProperty("summary").GetString()!);
            foreach (var parameter in operation.TryGetProperty("parameters", out var parameters) ? parameters.EnumerateArray() : [])
            {
                Assert.NotEmpty(parameter.GetProperty("description").GetString()!);
                Assert.True(parameter.TryGetProperty("schema", out _));
            }

            foreach (var answer in operation.GetProperty("responses").EnumerateObject())
            {
                Assert.NotEmpty(answer.Value.GetProperty("description").GetString()!);
                var isEmpty = !answer.Value.TryGetProperty("content", out var content) || !content.EnumerateObject().Any();
                Assert.True(isEmpty == (answer.Name == "304"), $"{path.Name} {answer.Name}");
                foreach (var type in isEmpty ? [] : content.EnumerateObject().ToArray())
                {
                    var schema = type.Value.GetProperty("schema");
                    if (type.Name.Contains("json", StringComparison.Ordinal))
                    {
                        var named = schemas.GetProperty(schema.GetProperty("$ref").GetString()!.Split('/')[^1]);
                        var example = type.Value.GetProperty("example");
                        Assert.All(
                            named.TryGetProperty("required", out var required) ? required.EnumerateArray() : [],
                            name => Assert.True(example.TryGetProperty(name.GetString()!, out _), $"{path.Name} {answer.Name} {name}"));
                    }
                    else
                    {
                        Assert.Equal("string", schema.GetProperty("type").GetString());
                        Assert.NotEmpty(type.Value.GetProperty("example").GetString()!);
                    }
                }
            }
        }
    }

    [Fact]
    public async Task Description_OfAProtectedService_DescribesAuthentication()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("api_keys", "0123456789abcdef"));

        var api = await stack.GetAsync("/openapi/v1.json");

        var scheme = api.GetProperty("components").GetProperty("securitySchemes").GetProperty("ApiKey");
        Assert.Equal(("header", "X-Api-Key"), (scheme.GetProperty("in").GetString(), scheme.GetProperty("name").GetString()));
        Assert.True(api.GetProperty("security").EnumerateArray().Single().TryGetProperty("ApiKey", out _));
    }

    [Fact]
    public async Task ApiReferencePage_IsServed()
    {
        await using var stack = await InProcessStack.StartAsync();

        var (status, body, type) = await stack.AskAsync("/scalar");

        Assert.Equal((HttpStatusCode.OK, "text/html"), (status, type));
        Assert.Contains("scalar", body);
        Assert.DoesNotContain("https://cdn", body);
    }
}
