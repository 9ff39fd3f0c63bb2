using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Cache.Service.Http.Query;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Http.Query;

/// <summary>A stack with two windows of each type, for tests that only read.</summary>
public sealed class LoadedStack : IAsyncLifetime
{
    private InProcessStack? _stack;

    public RunningStack Stack => _stack!;

    public async ValueTask InitializeAsync()
    {
        _stack = await InProcessStack.StartAsync();
        await _stack.Kafka.SendAsync(Events, 0,
            Event(Window(1), "a", 1, 10), Event(Window(1), "b.c", 2, 20), Event(Window(2), "a", 3, 30), Event(Window(2), "b.c", 4),
            Event(Window(2), "<script>alert(1)</script>", 5, 50), Event(Window(2), "=1+1", 6, 60), Event(Window(2), "d,\\\"e\\\"", 7, 70));
        await _stack.Kafka.SendAsync(Performance, 0, Load(Window(1), "tv", 1.5, 2.5), Load(Window(2), "phone", 1e-7, 5e20));
        await _stack.EverythingIsCommittedAsync();
    }

    public async ValueTask DisposeAsync() => await _stack!.DisposeAsync();
}

public sealed class ReadsTests(LoadedStack loaded) : IClassFixture<LoadedStack>
{
    private static readonly string[] Routes =
        ["/metrics/overview", "/metrics/event/latest", "/metrics/performance/latest", "/metrics/event/windows", "/metrics/performance/windows", "/sessions/active"];

    private RunningStack Stack => loaded.Stack;

    [Fact]
    public async Task Answer_ThatTheClientAlreadyHas_Is304_UntilItChanges()
    {
        foreach (var route in Routes)
        {
            using var first = await Stack.Http.GetAsync(route);
            var tag = first.Headers.ETag!;
            Assert.False(tag.IsWeak);
            Assert.Equal("private, no-cache", string.Join(", ", first.Headers.GetValues("Cache-Control").Single().Split(", ").OrderDescending()));

            foreach (var known in new[] { $"{tag}", $"W/{tag}", $"\"other\", {tag}", "*" })
            {
                using var again = await GetAsync(route, ("If-None-Match", known));
                Assert.Equal(HttpStatusCode.NotModified, again.StatusCode);
                Assert.Empty(await again.Content.ReadAsByteArrayAsync());
                Assert.Equal(tag, again.Headers.ETag);
            }

            foreach (var unknown in new[] { "\"other\"", tag.Tag.Trim('"'), "", "nonsense\"" })
            {
                using var again = await GetAsync(route, ("If-None-Match", unknown));
                Assert.Equal(HttpStatusCode.OK, again.StatusCode);
            }

            using var filtered = await GetAsync(route == "/sessions/active" ? "/metrics/overview" : $"{route}?fields=a,tv", ("If-None-Match", $"{tag}"));
            Assert.Equal(HttpStatusCode.OK, filtered.StatusCode);
        }
    }

    [Fact]
    public async Task Tag_ChangesWithTheWindow()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.EverythingIsCommittedAsync(Events);
        using var first = await stack.Http.GetAsync("/metrics/event/latest");

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 2));
        await stack.EverythingIsCommittedAsync(Events);

        using var request = new HttpRequestMessage(HttpMethod.Get, "/metrics/event/latest");
        request.Headers.IfNoneMatch.Add(first.Headers.ETag!);
        using var second = await stack.Http.SendAsync(request);
        Assert.Equal(HttpStatusCode.OK, second.StatusCode);
        Assert.NotEqual(first.Headers.ETag, second.Headers.ETag);
    }

    [Fact]
    public async Task Answer_WithNoCache_IsReadAgain()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.EverythingIsCommittedAsync(Events);
        for (var count = 2; count < 12; count++)
        {
            await stack.GetAsync("/metrics/event/latest");

            // A change without an update.
            await stack.Database.HashSetAsync(stack.Key($"metrics:event:{Window(1)}"), "a.count", count);
            using var request = new HttpRequestMessage(HttpMethod.Get, "/metrics/event/latest");
            request.Headers.CacheControl = new() { NoCache = true };
            using var answer = await stack.Http.SendAsync(request);
            Assert.Equal($$"""{"window_start":{{Window(1)}},"a.count":{{count}}}""", await answer.Content.ReadAsStringAsync());
        }
    }

    [Fact]
    public async Task IndexOfAnotherType_IsReported()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Database.StringSetAsync(stack.Key("metrics:event:windows"), "somebody else's");

        foreach (var route in new[] { "/metrics/event/latest", "/metrics/event/windows", "/metrics/overview" })
        {
            using var answer = await stack.Http.GetAsync(route);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.StatusCode);
            Assert.Equal("A key in Redis holds another type", JsonElement.Parse(await answer.Content.ReadAsStringAsync()).GetProperty("title").GetString());
        }
    }

    [Fact]
    public async Task Head_GivesTheHeadersOfGet_AndNothingElse()
    {
        foreach (var route in Routes)
        {
            using var get = await Stack.Http.GetAsync(route);
            using var head = await Stack.Http.SendAsync(new(HttpMethod.Head, route));

            Assert.Equal(HttpStatusCode.OK, head.StatusCode);
            Assert.Equal(get.Headers.ETag, head.Headers.ETag);
            Assert.Equal((await get.Content.ReadAsByteArrayAsync()).Length, head.Content.Headers.ContentLength);
            Assert.Empty(await head.Content.ReadAsByteArrayAsync());
        }
    }

    [Fact]
    public async Task Fields_SelectDimensions_AndUnknownOnesSelectNothing()
    {
        await Stack.AnswersAsync("/metrics/event/latest?fields=a", $$"""{"window_start":{{Window(2)}},"a.count":3,"a.users":30}""");
        await Stack.AnswersAsync("/metrics/event/latest?fields=nothing", $$"""{"window_start":{{Window(2)}}}""");
        await Stack.AnswersAsync(
            "/metrics/event/windows?fields=b.c,,x",
            $$"""{"windows":[{"window_start":{{Window(2)}},"b.c.count":4},{"window_start":{{Window(1)}},"b.c.count":2,"b.c.users":20}]}""");
        await Stack.AnswersAsync("/metrics/event/windows?fields=b&limit=1", $$$"""{"windows":[{"window_start":{{{Window(2)}}}}]}""");
        await Stack.AnswersAsync(
            "/metrics/overview?fields=a,phone",
            $$$"""
            {"event_latest":{"window_start":{{{Window(2)}}},"a.count":3,"a.users":30},
             "performance_latest":{"window_start":{{{Window(2)}}},"phone.avg_load_time":1e-7,"phone.p95_load_time":5e20}}
            """);
        Assert.Equal((await Stack.GetAsync("/metrics/event/latest")).GetRawText(), (await Stack.GetAsync("/metrics/event/latest?fields=")).GetRawText());
    }

    [Fact]
    public async Task Csv_HasOneRowPerWindowAndDimension_AndIsHarmlessInASpreadsheet()
    {
        using var answer = await GetAsync("/metrics/event/windows", ("Accept", "text/csv"));

        Assert.Equal("text/csv; charset=utf-8; header=present", answer.Content.Headers.ContentType!.ToString());
        Assert.Contains("Accept", answer.Headers.Vary);
        var lines = (await answer.Content.ReadAsStringAsync()).Split("\r\n");
        Assert.Equal("window_start,window_start_ms,event_type,count,users", lines[0]);
        Assert.Equal("", lines[^1]);
        string[] expected =
        [
            $"2024-03-09 16:02:00,{Window(2)},a,3,30",
            $"2024-03-09 16:02:00,{Window(2)},b.c,4,",
            $"2024-03-09 16:02:00,{Window(2)},<script>alert(1)</script>,5,50",
            $"2024-03-09 16:02:00,{Window(2)},'=1+1,6,60",
            $"2024-03-09 16:02:00,{Window(2)},\"d,\"\"e\"\"\",7,70",
            $"2024-03-09 16:01:00,{Window(1)},a,1,10",
            $"2024-03-09 16:01:00,{Window(1)},b.c,2,20",
        ];
        Assert.Equal(expected.Order(StringComparer.Ordinal), lines[1..^1].Order(StringComparer.Ordinal));
        Assert.Equal(lines[1..^1].Select(line => line.Split(',')[1]).OrderDescending(), lines[1..^1].Select(line => line.Split(',')[1]));
    }

    [Fact]
    public async Task Csv_AcceptsTheSameParameters_AndHasItsOwnTag()
    {
        using var json = await Stack.Http.GetAsync("/metrics/performance/windows?limit=1");
        using var csv = await GetAsync("/metrics/performance/windows?limit=1&fields=phone", ("Accept", "text/csv"));

        Assert.Equal(
            $"window_start,window_start_ms,device_category,avg_load_time,p95_load_time\r\n2024-03-09 16:02:00,{Window(2)},phone,1E-07,5E+20\r\n",
            await csv.Content.ReadAsStringAsync());
        Assert.NotEqual(json.Headers.ETag, csv.Headers.ETag);
        using var picked = await GetAsync("/metrics/event/windows?limit=1&fields=a,b.c", ("Accept", "text/csv"));
        Assert.Equal(["a", "b.c"], (await picked.Content.ReadAsStringAsync()).Split("\r\n")[1..^1].Select(line => line.Split(',')[2]).Order());
        using var again = await GetAsync("/metrics/performance/windows?limit=1&fields=phone", ("Accept", "text/csv"), ("If-None-Match", $"{csv.Headers.ETag}"));
        Assert.Equal(HttpStatusCode.NotModified, again.StatusCode);
        Assert.Contains("Accept", again.Headers.Vary);
        using var bad = await GetAsync("/metrics/performance/windows?limit=0", ("Accept", "text/csv"));
        Assert.Equal((HttpStatusCode.BadRequest, "application/problem+json"), (bad.StatusCode, bad.Content.Headers.ContentType?.MediaType));
    }

    [Theory]
    [InlineData("", false)]
    [InlineData("*/*", false)]
    [InlineData("application/json", false)]
    [InlineData("text/csv", true)]
    [InlineData("TEXT/CSV", true)]
    [InlineData("text/*", true)]
    [InlineData("text/csv;q=0", false)]
    [InlineData("text/csv, application/json", false)]
    [InlineData("text/csv, application/json;q=0.9", true)]
    [InlineData("text/csv;q=0.5, */*;q=0.1", true)]
    [InlineData("text/html, */*;q=0.1", false)]
    [InlineData("nonsense", false)]
    public async Task Csv_IsSent_IfPreferred(string accept, bool csv)
    {
        using var answer = await GetAsync("/metrics/event/windows", ("Accept", accept));

        Assert.Equal(csv ? "text/csv" : "application/json", answer.Content.Headers.ContentType?.MediaType);
    }

    [Theory]
    [InlineData("plain", "plain")]
    [InlineData("a,b", "\"a,b\"")]
    [InlineData("a;b", "\"a;b\"")]
    [InlineData("say \"hi\"", "\"say \"\"hi\"\"\"")]
    [InlineData("two\r\nlines", "\"two\r\nlines\"")]
    [InlineData(" padded", "\" padded\"")]
    [InlineData("=SUM(A1)", "'=SUM(A1)")]
    [InlineData("+1", "'+1")]
    [InlineData("-1", "'-1")]
    [InlineData("@x", "'@x")]
    [InlineData("\tx", "'\tx")]
    [InlineData("=\"a\",1", "\"'=\"\"a\"\",1\"")]
    public void Cell_IsEscaped(string text, string expected) => Assert.Equal(expected, WindowsCsv.Cell(text));

    [Fact]
    public async Task HostileDimension_IsOnlyDataInJson()
    {
        using var answer = await Stack.Http.GetAsync("/metrics/event/latest");

        var text = await answer.Content.ReadAsStringAsync();
        Assert.Equal(new MediaTypeHeaderValue("application/json", "utf-8"), answer.Content.Headers.ContentType);
        Assert.Equal("nosniff", answer.Headers.GetValues("X-Content-Type-Options").Single());
        Assert.Equal(5, JsonElement.Parse(text).GetProperty("<script>alert(1)</script>.count").GetInt32());
        Assert.DoesNotContain("<script>", text);
    }

    private Task<HttpResponseMessage> GetAsync(string route, params (string Name, string Value)[] headers)
    {
        var request = new HttpRequestMessage(HttpMethod.Get, route);
        foreach (var (name, value) in headers)
        {
            request.Headers.TryAddWithoutValidation(name, value);
        }

        return Stack.Http.SendAsync(request);
    }
}
