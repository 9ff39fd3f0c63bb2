using System.Net;
using System.Text.Json;
using Cache.Tests.EndToEnd;
using Microsoft.AspNetCore.Routing;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Http;

public sealed class RouteRulesTests
{
    [Fact]
    public async Task Head_OfEveryGetRoute_HasTheStatusAndHeadersOfGet_AndNoBody()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 1));
        await stack.ReadyAsync();
        await stack.EverythingIsCommittedAsync(Events);
        var routes = Routes(stack);
        Assert.Superset(new HashSet<string> { "/healthz", "/readyz", "/health", "/alive", "/metrics", "/openapi/v1.json", "/scalar/", "/types", "/stream", "/metrics/event/summary", "/dead-letters" }, routes);

        foreach (var route in routes.Append("/").Append("/page.js").Append("/metrics/event/windows?limit=0").Append("/stream?types=x"))
        {
            var get = await HeadersAsync(stack, HttpMethod.Get, route);
            var head = await HeadersAsync(stack, HttpMethod.Head, route);

            Assert.True(get == head, $"{route}: {get} but {head}");
        }
    }

    [Fact]
    public async Task Head_OfTheStream_EndsAtOnce_AndLeavesNoStreamOpen()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("stream_max_clients", "1"));
        await stack.ReadyAsync();

        for (var i = 0; i < 3; i++)
        {
            using var head = await stack.Http.SendAsync(new(HttpMethod.Head, "/stream?state=true"));
            Assert.Equal((HttpStatusCode.OK, "text/event-stream"), (head.StatusCode, head.Content.Headers.ContentType?.MediaType));
        }
    }

    [Theory]
    [InlineData("/metrics/event/windows?limt=5", "limt", "limt is not a parameter of this route; did you mean limit?")]
    [InlineData("/metrics/event/windows?LIMIT=5&field=a", "field", "field is not a parameter of this route; did you mean fields?")]
    [InlineData("/metrics/event/windows?form=5", "form", "form is not a parameter of this route; did you mean from?")]
    [InlineData("/metrics/event/windows?until=5", "until", "until is not a parameter of this route, which has limit, from, to, fields")]
    [InlineData("/metrics/event/latest?limit=5", "limit", "limit is not a parameter of this route, which has fields")]
    [InlineData("/metrics/event/summary?tops=5", "tops", "tops is not a parameter of this route; did you mean top?")]
    [InlineData("/metrics/overview?filds=a", "filds", "filds is not a parameter of this route; did you mean fields?")]
    [InlineData("/stream?type=event", "type", "type is not a parameter of this route; did you mean types?")]
    [InlineData("/stream?lastEventId=1", "lastEventId", "lastEventId is not a parameter of this route, which has types, dimensions, state")]
    [InlineData("/sessions/active?limits=5", "limits", "limits is not a parameter of this route; did you mean limit?")]
    [InlineData("/dead-letters?reasn=x", "reasn", "reasn is not a parameter of this route; did you mean reason?")]
    [InlineData("/types?x=1", "x", "x is not a parameter of this route, which has none")]
    [InlineData("/pipeline?x=1", "x", "x is not a parameter of this route, which has none")]
    [InlineData("/fleet?x=1", "x", "x is not a parameter of this route, which has none")]
    public async Task AnUnknownParameter_IsRefused_WithTheNearest(string route, string name, string error)
    {
        await using var stack = await InProcessStack.StartAsync();

        var (status, body, type) = await stack.AskAsync(route);

        Assert.Equal((HttpStatusCode.BadRequest, "application/problem+json"), (status, type));
        Assert.Equal([error], JsonElement.Parse(body).GetProperty("errors").GetProperty(name).EnumerateArray().Select(text => text.GetString()));
        Assert.Equal(error + ".", JsonElement.Parse(body).GetProperty("detail").GetString());
    }

    [Fact]
    public async Task EveryDataRoute_RefusesUnknownParameters_AndNoOpenOneDoes()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        string[] open = ["/healthz", "/readyz", "/health", "/alive", "/metrics", "/openapi/v1.json", "/scalar/"];

        foreach (var route in Routes(stack))
        {
            var (status, body, _) = await stack.AskAsync($"{route}?never=heard");
            Assert.True(status == (open.Contains(route) || Path.HasExtension(route) ? HttpStatusCode.OK : HttpStatusCode.BadRequest), $"{route}: {status}");
        }
    }

    [Fact]
    public async Task AnUnknownParameter_IsNotRepeatedAtLength()
    {
        await using var stack = await InProcessStack.StartAsync();

        var (status, body, _) = await stack.AskAsync($"/types?{new string('x', 4000)}=1");

        Assert.Equal(HttpStatusCode.BadRequest, status);
        Assert.InRange(body.Length, 1, 1000);
    }

    [Theory]
    [InlineData("2024-03-09T17:12:00+01:00")]
    [InlineData("2024-03-09T17:12:00+0100")]
    [InlineData("2024-03-09T17:12:00+01")]
    [InlineData("2024-03-09T17:12:00.000+0100")]
    [InlineData("2024-03-09T17:12+01")]
    [InlineData("2024-03-09 17:12:00+0100")]
    [InlineData("2024-03-09 17:12:00 +0100")]
    [InlineData("2024-03-09T21:42+05:30")]
    [InlineData("2024-03-09T11:12:00-05:00")]
    [InlineData("2024-03-09T11:12:00-0500")]
    [InlineData("2024-03-09T11:12:00-05")]
    [InlineData("2024-03-09T16:12:00Z")]
    [InlineData("2024-03-09 16:12")]
    public async Task From_TakesEveryOffset_EscapedAndNot(string time)
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(11), "a", 1), Event(Window(12), "a", 2), Event(Window(13), "a", 3));
        await stack.EverythingIsCommittedAsync(Events);

        foreach (var text in new[] { time.Replace(" ", "%20", StringComparison.Ordinal), Uri.EscapeDataString(time) })
        {
            await stack.AnswersAsync($"/metrics/event/windows?from={text}&to={text}", $$"""{"windows":[{"window_start":{{Window(12)}},"a.count":2}]}""");
        }
    }

    [Fact]
    public async Task Sessions_BeyondTheMaximum_AreTheLatestThousand()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("cache_kafka_topics", "event_metrics,performance_metrics,session_metrics"));
        var now = DateTimeOffset.UtcNow.ToUnixTimeMilliseconds();
        await stack.Kafka.SendAsync("session_metrics", 0, Enumerable.Range(0, 1001).Select(i => $$"""{"session_id":"s{{i}}","start_time":{{now - 5000}},"end_time":{{now + i}}}"""));
        await stack.EverythingIsCommittedAsync("session_metrics");

        var sessions = (await stack.GetAsync("/sessions/active?limit=5000")).GetProperty("sessions").EnumerateArray().Select(session => session.GetProperty("session_id").GetString());

        Assert.Equal(Enumerable.Range(1, 1000).Reverse().Select(i => $"s{i}"), sessions);
    }

    private static HashSet<string> Routes(InProcessStack stack) =>
        [.. stack.Service.Get<EndpointDataSource>().Endpoints.OfType<RouteEndpoint>()
            .Where(route => route.Metadata.GetMetadata<IHttpMethodMetadata>() is null or { HttpMethods: [] } || route.Metadata.GetMetadata<IHttpMethodMetadata>()!.HttpMethods.Contains("GET"))
            .Select(route => "/" + route.RoutePattern.RawText!.TrimStart('/').Replace("{documentName}", "v1", StringComparison.Ordinal).Replace("{documentName?}", "", StringComparison.Ordinal))];

    /// <summary>The status and headers of an answer, except for those that differ between answers, or belong to the body.</summary>
    private static async Task<string> HeadersAsync(InProcessStack stack, HttpMethod method, string route)
    {
        using var request = new HttpRequestMessage(method, route);
        using var answer = await stack.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        if (method == HttpMethod.Head)
        {
            Assert.Empty(await answer.Content.ReadAsByteArrayAsync());
        }

        var headers = answer.Headers.Concat(answer.Content.Headers)
            .Where(header => header.Key is not ("Date" or "Transfer-Encoding" or "Content-Length" or "ETag" or "Content-Security-Policy"))
            .OrderBy(header => header.Key, StringComparer.Ordinal).Select(header => $"{header.Key}: {string.Join(',', header.Value)}");
        return $"{(int)answer.StatusCode} {string.Join(" | ", headers)}";
    }
}
