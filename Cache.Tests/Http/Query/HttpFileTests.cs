using Cache.Tests.EndToEnd;
using Microsoft.AspNetCore.Routing;

namespace Cache.Tests.Http.Query;

public sealed class HttpFileTests
{
    [Fact]
    public async Task HttpFile_HasEveryRoute_AndNoOthers()
    {
        await using var stack = await InProcessStack.StartAsync();
        var text = await File.ReadAllTextAsync(Repository.File("Cache.Service", "Cache.Service.http"));
        var named = text.Split('\n').Where(line => line.StartsWith("GET {{cache}}/", StringComparison.Ordinal))
            .Select(line => line["GET {{cache}}".Length..].Split('?')[0].Trim()).ToHashSet();

        // Except for the files of pages.
        var mapped = stack.Service.Get<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()
            .Select(endpoint => "/" + endpoint.RoutePattern.RawText!.Trim('/'))
            .Where(route => !route.Contains('{') && !Path.HasExtension(route) && route != "/scalar").ToHashSet();

        Assert.Equal(mapped.Append("/").Append("/openapi/v1.json").Append("/scalar/").Order(), named.Order());
        foreach (var route in named.Except(["/stream"]))
        {
            Assert.NotEqual(System.Net.HttpStatusCode.NotFound, (await stack.AskAsync(route)).Status);
        }
    }
}
