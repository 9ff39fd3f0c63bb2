using System.Net;
using Cache.Tests.EndToEnd;

namespace Cache.Tests.Query;

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
            "/metrics/performance/windows", "/sessions/active", "/stream", "/healthz", "/readyz",
        ];
        Assert.Equal(routes.Order(), paths.EnumerateObject().Select(path => path.Name).Order());
        var windows = paths.GetProperty("/metrics/event/windows").GetProperty("get");
        Assert.Equal(["limit", "from", "to"], windows.GetProperty("parameters").EnumerateArray().Select(parameter => parameter.GetProperty("name").GetString()));
        Assert.Equal(["200", "400", "503"], windows.GetProperty("responses").EnumerateObject().Select(response => response.Name).Order());
        var sessions = paths.GetProperty("/sessions/active").GetProperty("get");
        Assert.Equal(["limit"], sessions.GetProperty("parameters").EnumerateArray().Select(parameter => parameter.GetProperty("name").GetString()));
        Assert.Equal(["200", "400", "503"], sessions.GetProperty("responses").EnumerateObject().Select(response => response.Name).Order());
    }

    [Theory]
    [InlineData("/scalar")]
    [InlineData("/")]
    public async Task Page_ToTryTheApi_IsThere(string route)
    {
        await using var stack = await InProcessStack.StartAsync();

        var (status, body, type) = await stack.AskAsync(route);

        Assert.Equal((HttpStatusCode.OK, "text/html"), (status, type));
        Assert.Contains("scalar", body);
        Assert.DoesNotContain("https://cdn", body);
    }
}
