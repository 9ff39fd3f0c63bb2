using System.Net;
using Cache.Tests.EndToEnd;

namespace Cache.Tests.Page;

/// <summary>The files of the live page, as served.</summary>
public sealed class PageFileTests
{
    [Theory]
    [InlineData("/", "text/html")]
    [InlineData("/page.css", "text/css")]
    [InlineData("/page.js", "text/javascript")]
    [InlineData("/echarts.js", "text/javascript")]
    [InlineData("/icon.svg", "image/svg+xml")]
    public async Task Files_AreServed_Compressed_AndRevalidated(string route, string mediaType)
    {
        await using var stack = await InProcessStack.StartAsync();

        using var plain = await stack.Http.GetAsync(route);
        Assert.Equal((HttpStatusCode.OK, mediaType), (plain.StatusCode, plain.Content.Headers.ContentType?.MediaType));
        Assert.True(plain.Headers.CacheControl?.NoCache);

        using var small = await SendAsync(stack, route, request => request.Headers.AcceptEncoding.Add(new("br")));
        Assert.Equal(["br"], small.Content.Headers.ContentEncoding);
        Assert.True(
            (await small.Content.ReadAsByteArrayAsync()).Length < (await plain.Content.ReadAsByteArrayAsync()).Length);

        using var again = await SendAsync(stack, route, request => request.Headers.IfNoneMatch.Add(plain.Headers.ETag!));
        Assert.Equal(HttpStatusCode.NotModified, again.StatusCode);
    }

    [Theory]
    [InlineData("/appsettings.json")]
    [InlineData("/../appsettings.json")]
    [InlineData("/Cache.Service.dll")]
    public async Task OtherFiles_AreNotServed(string route)
    {
        await using var stack = await InProcessStack.StartAsync();

        Assert.Equal(HttpStatusCode.NotFound, (await stack.AskAsync(route)).Status);
    }

    [Fact]
    public async Task WholePage_IsAsLightAsTheDecisionSays()
    {
        await using var stack = await InProcessStack.StartAsync();
        var bytes = 0;
        foreach (var file in Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "Page")))
        {
            using var answer = await SendAsync(stack, $"/{Path.GetFileName(file)}", request => request.Headers.AcceptEncoding.Add(new("br")));
            bytes += (await answer.Content.ReadAsByteArrayAsync()).Length;
        }

        Assert.InRange(bytes, 480_000, 570_000);
    }

    private static async Task<HttpResponseMessage> SendAsync(RunningStack stack, string route, Action<HttpRequestMessage> change)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, route);
        change(request);
        return await stack.Http.SendAsync(request);
    }
}
