using System.Diagnostics;
using System.Net;
using Cache.Client;
using Cache.Tests.EndToEnd;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Client;

/// <summary>What the client reads, from the service itself.</summary>
public sealed class ClientReadTests
{
    private const string Key = "old-0123456789abcdef";

    [Fact]
    public async Task Windows_AreReadByDimensionAndMeasure()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var host = ClientHost.Start(stack.Http.BaseAddress!);
        Assert.Null(await host.Client.GetLatestAsync("event"));
        Assert.Empty(await host.Client.GetWindowsAsync("event"));

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "click", 1, 1), Event(Window(2), "click", long.MaxValue, 2), Event(Window(2), @"a.b, c\\d", 4));
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(2), "tv", 12.5));
        await stack.EverythingIsCommittedAsync();

        var latest = await host.Client.GetLatestAsync("event");
        Assert.Equal(("event", DateTimeOffset.FromUnixTimeMilliseconds(Window(2))), (latest!.Type, latest.Start));
        Assert.Equal([@"a.b, c\d", "click"], latest.Dimensions.Order(StringComparer.Ordinal));
        Assert.Equal(long.MaxValue, latest["click", "count"]!.Value.ToInt64());
        Assert.Equal(2, (long)latest["click"]["users"]);
        Assert.Equal(4, (long)latest[@"a.b, c\d", "count"]!);
        Assert.Null(latest["click", "none"]);
        Assert.Null(latest["none", "count"]);
        Assert.Empty(latest["none"]);
        Assert.Equal("click", Assert.Single(latest.Values("users")).Key);
        Assert.Equal(12.5, (double)(await host.Client.GetLatestAsync("performance"))!["tv", "avg_load_time"]!);

        Assert.Equal([@"a.b, c\d"], (await host.Client.GetLatestAsync("event", [@"a.b, c\d"]))!.Dimensions);
        Assert.Equal([Window(2), Window(1)], Starts(await host.Client.GetWindowsAsync("event")));
        Assert.Equal([Window(2)], Starts(await host.Client.GetWindowsAsync("event", new() { Limit = 1 })));
        var first = Assert.Single(await host.Client.GetWindowsAsync("event", new() { From = Time(0), To = Time(1).ToOffset(TimeSpan.FromHours(2)), Dimensions = ["click"] }));
        Assert.Equal("1", $"{first["click", "count"]}");

        static IEnumerable<long> Starts(IEnumerable<MetricWindow> windows) => windows.Select(window => window.Start.ToUnixTimeMilliseconds());
    }

    [Fact]
    public async Task Summary_HasTotalDimensionsAndSeries()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var host = ClientHost.Start(stack.Http.BaseAddress!);
        var none = await host.Client.GetSummaryAsync("event", new() { Last = TimeSpan.FromMinutes(15) });
        Assert.Equal((0, null, null), (none.Windows, none.First, none.Series));

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "click", 1, 5), Event(Window(1), "view", 9), Event(Window(2), "click", 2, 4), Event(Window(9), "click", 4));
        await stack.EverythingIsCommittedAsync();

        var summary = await host.Client.GetSummaryAsync("event", new() { From = Time(0), To = Time(5), Step = TimeSpan.FromMinutes(1), Top = 1, By = "users" });
        Assert.Equal(("event", 2, Time(1), Time(2)), (summary.Type, summary.Windows, summary.First, summary.Last));
        Assert.Equal(("sum", "max"), (summary.Rollups["count"], summary.Rollups["users"]));
        Assert.Equal((12, 5), ((long)summary.Total["count"], (long)summary.Total["users"]));
        var click = Assert.Single(summary.Dimensions);
        Assert.Equal(("click", 3), (click.Dimension, (long)click.Measures["count"]));
        Assert.Equal(TimeSpan.FromMinutes(1), summary.Step);
        Assert.Equal([(Time(2), 2L), (Time(1), 10L)], summary.Series!.Select(step => (step.Start, (long)step.Total["count"])));
        Assert.Equal(1, (long)summary.Series![1].Dimensions.Single().Measures["count"]);

        Assert.Equal(4, (long)(await host.Client.GetSummaryAsync("event", new() { Windows = 1 })).Total["count"]);
        Assert.Equal(9, (long)(await host.Client.GetSummaryAsync("event", new() { Dimensions = ["view"] })).Total["count"]);
        await Assert.ThrowsAsync<ArgumentException>(() => host.Client.GetSummaryAsync("event", new() { Last = TimeSpan.FromSeconds(1.5) }));
    }

    [Fact]
    public async Task Types_AndSessions_AreRead()
    {
        const string Types = """[{"name":"revenue","topics":["shop.revenue"],"dimension":["country","plan"],"window_seconds":60,"measures":[{"name":"total","kind":"number","unit":"EUR","rollup":"sum"}]}]""";
        await using var stack = await InProcessStack.PrepareAsync(null, ("metric_types", Types), ("cache_kafka_topics", $"{Events},{Sessions}"));
        stack.Broker.CreateTopic(Sessions, partitions: 1);
        await stack.StartServiceAsync();
        await using var host = ClientHost.Start(stack.Http.BaseAddress!);

        var types = await host.Client.GetTypesAsync();
        Assert.Equal(["event", "revenue"], types.Select(type => type.Name).Where(name => name is not "performance"));
        Assert.Equal(new("count", "count", null, "sum"), types[0].Measures[0]);
        Assert.Equal((null, null), (types[0].Separator, types[0].WindowSeconds));
        Assert.Equal(("|", 60), (types[^1].Separator, types[^1].WindowSeconds));
        Assert.Equal(["country", "plan"], types[^1].Dimensions);
        Assert.Equal(new("total", "number", "EUR", "sum"), Assert.Single(types[^1].Measures));

        Assert.Empty(await host.Client.GetActiveSessionsAsync());
        var end = DateTimeOffset.FromUnixTimeMilliseconds(TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds());
        await stack.Kafka.SendAsync(Sessions, 0,
            $$"""{"session_id":"s-1","user_id":"u","start_time":{{end.ToUnixTimeMilliseconds() - 5000}},"end_time":{{end.ToUnixTimeMilliseconds()}},"duration":5000,"page_count":3,"device_category":"tv"}""",
            Session("s-2", end.ToUnixTimeMilliseconds() - 1));
        await Eventually.HoldsAsync(async () => Assert.Equal(
            [
                new() { Id = "s-1", UserId = "u", StartTime = end.AddSeconds(-5), EndTime = end, Duration = TimeSpan.FromSeconds(5), PageCount = 3, DeviceCategory = "tv" },
                new() { Id = "s-2", EndTime = end.AddMilliseconds(-1) },
            ],
            await host.Client.GetActiveSessionsAsync()));
        Assert.Single(await host.Client.GetActiveSessionsAsync(1));
    }

    [Fact]
    public async Task Errors_OfTheService_AreOneException_WithWhatItSays()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var host = ClientHost.Start(stack.Http.BaseAddress!);

        var bad = await Assert.ThrowsAsync<CacheException>(() => host.Client.GetWindowsAsync("event", new() { Limit = 0 }));
        Assert.Equal((HttpStatusCode.BadRequest, "One or more validation errors occurred.", "limit must be a whole number of 1 or more."), (bad.Status, bad.Title, bad.Detail));
        Assert.Equal("One or more validation errors occurred. (400): limit must be a whole number of 1 or more.", bad.Message);
        Assert.Equal(HttpStatusCode.NotFound, (await Assert.ThrowsAsync<CacheException>(() => host.Client.GetLatestAsync("../event"))).Status);
        Assert.Equal(1, host.Requests.Count("/metrics/event/windows"));

        using var canceled = new CancellationTokenSource();
        await canceled.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => host.Client.GetTypesAsync(canceled.Token));
    }

    [Fact]
    public async Task Key_ThatIsWrong_IsAnErrorAtOnce_OfReadsAndStreams_AndTheRightOneIsSent()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("api_keys", Key));
        await using var wrong = ClientHost.Start(stack.Http.BaseAddress!, configuration: ("ConnectionStrings:cache", "Endpoint=https+http://cache;ApiKey=wrong-0123456789ab"));
        await using var right = ClientHost.Start(stack.Http.BaseAddress!, configuration: ("Aspire:Cache:Client:cache:ApiKey", Key));

        Assert.Equal(HttpStatusCode.Unauthorized, (await Assert.ThrowsAsync<CacheException>(() => wrong.Client.GetLatestAsync("event"))).Status);
        var refused = await Assert.ThrowsAsync<CacheException>(async () => await wrong.Client.StreamAsync().FirstAsync());
        Assert.Equal(HttpStatusCode.Unauthorized, refused.Status);
        Assert.Equal(1, wrong.Requests.Count("/stream"));

        Assert.Null(await right.Client.GetLatestAsync("event"));
        Assert.Equal(new Resync("start"), await right.Client.StreamAsync().FirstAsync());
    }

    [Fact]
    public async Task ServiceThatIsBusy_IsAskedAgain_AfterTheTimeThatItSays()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("rate_limit_per_second", "1"), ("rate_limit_burst", "1"));
        await using var host = ClientHost.Start(stack.Http.BaseAddress!);
        await Eventually.HoldsAsync(async () =>
        {
            var (started, requests) = (Stopwatch.GetTimestamp(), host.Requests.Count("/types"));
            await host.Client.GetTypesAsync();
            await host.Client.GetTypesAsync();

            // Retries come after 50 ms here; the service asks for 1 s. On a busy machine, that may have passed before the second read.
            Assert.True(host.Requests.Count("/types") > requests + 2);
            Assert.True(Stopwatch.GetElapsedTime(started) > TimeSpan.FromSeconds(0.9));
        });

        await using var hasty = ClientHost.Start(stack.Http.BaseAddress!, resilience: options => options.Retry.ShouldHandle = _ => ValueTask.FromResult(false));
        var refused = await Assert.ThrowsAsync<CacheException>(async () =>
        {
            while (true)
            {
                await hasty.Client.GetTypesAsync();
            }
        });
        Assert.Equal((HttpStatusCode.TooManyRequests, TimeSpan.FromSeconds(1)), (refused.Status, refused.RetryAfter));
    }

    [Fact]
    public async Task Redis_ThatIsDown_IsWaitedFor_AndInTheEndAnError()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var host = ClientHost.Start(stack.Http.BaseAddress!, resilience: options => options.Retry.MaxRetryAttempts = 50);
        await using var hasty = ClientHost.Start(stack.Http.BaseAddress!);
        stack.OwnRedis.Break();

        var down = await Assert.ThrowsAsync<CacheException>(() => hasty.Client.GetLatestAsync("event"));
        Assert.Equal((HttpStatusCode.ServiceUnavailable, "Redis does not answer"), (down.Status, down.Title));
        Assert.Equal(4, hasty.Requests.Count("/metrics/event/latest"));

        var waiting = host.Client.GetLatestAsync("event");
        await Eventually.HoldsAsync(() => Assert.InRange(host.Requests.Count("/metrics/event/latest"), 1, 50));
        stack.OwnRedis.Mend();
        Assert.Null(await waiting);
    }

    [Fact]
    public async Task HealthCheck_SaysWhetherTheServiceCanServeReads()
    {
        await using var stack = await InProcessStack.StartAsync();
        await using var host = ClientHost.Start(stack.Http.BaseAddress!);
        await Eventually.HoldsAsync(async () => Assert.Equal(HealthStatus.Healthy, (await host.CheckAsync()).Status));

        stack.OwnRedis.Break();
        await Eventually.HoldsAsync(async () =>
        {
            var withoutRedis = await host.CheckAsync();
            Assert.Equal(HealthStatus.Unhealthy, withoutRedis.Status);
            Assert.Contains("\"redis\":false", withoutRedis.Description, StringComparison.Ordinal);
        });

        await stack.StopServiceAsync();
        var without = await host.CheckAsync();
        Assert.Equal(HealthStatus.Unhealthy, without.Status);
        Assert.Contains("does not answer", without.Description, StringComparison.Ordinal);
        var away = await Assert.ThrowsAsync<CacheException>(() => host.Client.GetTypesAsync());
        Assert.Null(away.Status);
        Assert.IsType<HttpRequestException>(away.InnerException);
    }

    private static DateTimeOffset Time(int minute) => DateTimeOffset.FromUnixTimeMilliseconds(Window(minute));
}
