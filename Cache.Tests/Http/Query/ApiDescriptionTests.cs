using System.Net;
using System.Text.Json;
using Cache.Tests.EndToEnd;
using Cache.Tests.Page;

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
            "/metrics/performance/windows", "/metrics/event/summary", "/metrics/performance/summary", "/types", "/sessions/active", "/stream", "/healthz", "/readyz", "/pipeline", "/fleet", "/dead-letters", "/health", "/alive", "/metrics",
        ];
        Assert.Equal(routes.Order(), paths.EnumerateObject().Select(path => path.Name).Order());
        var windows = paths.GetProperty("/metrics/event/windows").GetProperty("get");
        Assert.Equal(
            ["limit", "from", "to", "fields"],
            windows.GetProperty("parameters").EnumerateArray().Select(parameter => parameter.GetProperty("name").GetString()));
        Assert.Equal(
            ["200", "304", "400", "503"], windows.GetProperty("responses").EnumerateObject().Select(response => response.Name).Order());
        var summary = paths.GetProperty("/metrics/event/summary").GetProperty("get");
        Assert.Equal(
            ["from", "to", "last", "windows", "step", "top", "by", "fields"],
            summary.GetProperty("parameters").EnumerateArray().Select(parameter => parameter.GetProperty("name").GetString()));
    }

    [Fact]
    public async Task Description_OfDeadLetters_HasItsParametersAndErrors()
    {
        await using var stack = await InProcessStack.StartAsync();

        var letters = (await stack.GetAsync("/openapi/v1.json")).GetProperty("paths").GetProperty("/dead-letters").GetProperty("get");

        Assert.Equal(
            ["limit", "reason", "topic", "format"],
            letters.GetProperty("parameters").EnumerateArray().Select(parameter => parameter.GetProperty("name").GetString()));
        var answers = letters.GetProperty("responses");
        Assert.Equal(["200", "304", "400", "404", "503"], answers.EnumerateObject().Select(response => response.Name).Order());
        Assert.Equal(["application/json", "application/x-ndjson"], answers.GetProperty("200").GetProperty("content").EnumerateObject().Select(type => type.Name).Order());
        Assert.StartsWith("Kafka", answers.GetProperty("503").GetProperty("description").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Description_OfSessions_HasItsParameterAndErrors()
    {
        await using var stack = await InProcessStack.StartAsync();

        var api = await stack.GetAsync("/openapi/v1.json");

        var sessions = api.GetProperty("paths").GetProperty("/sessions/active").GetProperty("get");
        Assert.Equal(["limit"], sessions.GetProperty("parameters").EnumerateArray().Select(parameter => parameter.GetProperty("name").GetString()));
        Assert.Equal(
            ["200", "304", "400", "503"], sessions.GetProperty("responses").EnumerateObject().Select(response => response.Name).Order());
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
                    if (type.Name.Contains("json", StringComparison.Ordinal) && !type.Name.Contains("ndjson", StringComparison.Ordinal))
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
    public async Task Description_NamesTheSchemesOfEachRoute_AndNoneForOpenOnes()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("api_keys", "0123456789abcdef"), ("rate_limit_per_second", "1000"));

        var api = await stack.GetAsync("/openapi/v1.json");

        var schemes = api.GetProperty("components").GetProperty("securitySchemes");
        Assert.Equal(["header X-Api-Key", "query api_key"], schemes.EnumerateObject().Select(scheme => $"{scheme.Value.GetProperty("in")} {scheme.Value.GetProperty("name")}"));
        Assert.False(api.TryGetProperty("security", out _));
        string[] open = ["/healthz", "/readyz", "/health", "/alive", "/metrics"];
        foreach (var (route, operation) in Operations(api))
        {
            var names = operation.GetProperty("security").EnumerateArray().SelectMany(scheme => scheme.EnumerateObject()).Select(scheme => scheme.Name);
            var answers = operation.GetProperty("responses");
            Assert.Equal(open.Contains(route) ? [] : route == "/stream" ? ["ApiKey", "ApiKeyInQuery"] : ["ApiKey"], names);
            Assert.Equal(open.Contains(route), !answers.TryGetProperty("401", out _));
            Assert.Equal(open.Contains(route), !answers.TryGetProperty("429", out _));

            // And that is what the routes do.
            using var asked = await stack.Http.GetAsync(route, HttpCompletionOption.ResponseHeadersRead);
            Assert.Equal(open.Contains(route), asked.StatusCode != HttpStatusCode.Unauthorized);
        }
    }

    [Fact]
    public async Task Description_OfAnOpenService_HasNoSecurity()
    {
        await using var stack = await InProcessStack.StartAsync();

        Assert.All(Operations(await stack.GetAsync("/openapi/v1.json")), operation => Assert.Empty(operation.Value.GetProperty("security").EnumerateArray()));
    }

    [Fact]
    public async Task Operations_HaveIdsOfTheirOwn_AndTagsThatAreDescribed()
    {
        await using var stack = await InProcessStack.StartAsync();

        var api = await stack.GetAsync("/openapi/v1.json");

        var operations = Operations(api).Select(operation => operation.Value).ToList();
        var ids = operations.Select(operation => operation.GetProperty("operationId").GetString()!).ToList();
        Assert.Equal(ids.Count, ids.Distinct().Count());
        Assert.Contains("get_event_windows", ids);
        var tags = api.GetProperty("tags").EnumerateArray().ToList();
        Assert.All(tags, tag => Assert.NotEmpty(tag.GetProperty("description").GetString()!));
        Assert.Equal(
            tags.Select(tag => tag.GetProperty("name").GetString()!).Order(),
            operations.SelectMany(operation => operation.GetProperty("tags").EnumerateArray()).Select(tag => tag.GetString()!).Distinct().Order());
    }

    [Theory]
    [InlineData("/metrics/event/windows", "limit", """{"type":"integer","minimum":1,"default":20}""")]
    [InlineData("/sessions/active", "limit", """{"type":"integer","minimum":1,"default":20}""")]
    [InlineData("/dead-letters", "limit", """{"type":"integer","minimum":1,"maximum":1000,"default":50}""")]
    [InlineData("/dead-letters", "format", """{"type":"string","enum":["json","ndjson"]}""")]
    [InlineData("/metrics/event/summary", "by", """{"type":"string","enum":["count","users"]}""")]
    [InlineData("/metrics/event/summary", "last", """{"type":"string","pattern":"^[0-9]{1,6}[smhdSMHD]$","examples":["15m"]}""")]
    [InlineData("/stream", "state", """{"type":"boolean","default":false}""")]
    [InlineData("/stream", "types", """{"type":"array","items":{"type":"string","enum":["event","performance","session"]}}""")]
    public async Task Parameters_HaveTypesRangesAndDefaults(string route, string name, string schema)
    {
        await using var stack = await InProcessStack.StartAsync();

        var parameters = (await stack.GetAsync("/openapi/v1.json")).GetProperty("paths").GetProperty(route).GetProperty("get").GetProperty("parameters");

        var parameter = parameters.EnumerateArray().Single(parameter => parameter.GetProperty("name").GetString() == name);
        Assert.True(JsonElement.DeepEquals(JsonElement.Parse(schema), parameter.GetProperty("schema")), parameter.GetRawText());
        Assert.Equal(name == "types", parameter.TryGetProperty("explode", out var explode) && !explode.GetBoolean());
    }

    [Fact]
    public async Task Examples_AreOfToday_AndParametersTakeThem()
    {
        var before = DateTimeOffset.UtcNow.AddHours(-2).ToUnixTimeMilliseconds();
        await using var stack = await InProcessStack.StartAsync();

        var api = await stack.GetAsync("/openapi/v1.json");

        var times = System.Text.RegularExpressions.Regex.Matches(api.GetRawText(), @"\b1\d{12}\b").Select(time => long.Parse(time.Value, System.Globalization.CultureInfo.InvariantCulture)).ToList();
        Assert.True(times.Count > 20, $"{times.Count} times");
        Assert.All(times, time => Assert.InRange(time, before, before + (long)TimeSpan.FromDays(1).TotalMilliseconds));
        var from = Operations(api).Single(operation => operation.Key == "/metrics/event/windows").Value.GetProperty("parameters").EnumerateArray().Single(parameter => parameter.GetProperty("name").GetString() == "from");
        foreach (var example in from.GetProperty("schema").GetProperty("examples").EnumerateArray())
        {
            Assert.Equal(HttpStatusCode.OK, (await stack.AskAsync($"/metrics/event/windows?from={example}")).Status);
        }
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

    [Fact]
    public async Task ApiReferencePage_SendsNobodyToAnAgent_AndAsksNoOtherHost()
    {
        Chromium.Require();
        await using var stack = await InProcessStack.StartAsync();
        await using var chromium = new Chromium();
        await using var context = await chromium.NewContextAsync(stack.Http.BaseAddress!);
        var page = await context.NewPageAsync();
        var hosts = new System.Collections.Concurrent.ConcurrentBag<string>();
        page.Request += (_, request) => hosts.Add(new Uri(request.Url).Authority);

        await page.GotoAsync("/scalar/");
        await page.GetByText("The newest window of each type").First.WaitForAsync();

        var text = await page.Locator("body").InnerTextAsync();
        Assert.Contains("Windows", text, StringComparison.Ordinal);
        Assert.All(["Ask AI", "MCP", "Cursor", "VS Code"], word => Assert.DoesNotContain(word, text, StringComparison.Ordinal));
        Assert.Equal([stack.Http.BaseAddress!.Authority], hosts.Where(host => host.Length > 0).Distinct());
    }

    private static IEnumerable<KeyValuePair<string, JsonElement>> Operations(JsonElement api) =>
        api.GetProperty("paths").EnumerateObject().Select(path => KeyValuePair.Create(path.Name, path.Value.GetProperty("get")));
}
