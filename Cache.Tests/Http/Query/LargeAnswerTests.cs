using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using Cache.Metrics;
using Cache.Service.Http;
using Cache.Service.Http.Query;
using Cache.Tests.EndToEnd;
using Cache.Tests.Persist;
using Microsoft.Extensions.DependencyInjection;
using StackExchange.Redis;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Http.Query;

/// <summary>Answers of many megabytes: they are delivered, either complete or not at all, and nobody else waits for them.</summary>
public sealed class LargeAnswerTests
{
    private const string Route = "/metrics/event/windows?limit=120";

    public LargeAnswerTests() => RedisServer.Require();

    [Fact]
    public async Task LargestPossibleAnswer_IsDelivered_WhileProbesReadersAndFlushesContinue()
    {
        await using var redis = await RedisServer.StartAsync();
        await FillAsync(redis, windows: 120, dimensions: 10_000);
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString);
        await stack.StartProcessAsync();
        await stack.ReadyAsync();
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(0), "tv", 1));
        await stack.EverythingIsCommittedAsync(Performance);

        var flushes = new List<double>();
        var refused = new List<string>();
        var reading = Task.Run(() => ReadAsync(times: 3));
        for (var minute = 1; !reading.IsCompleted; minute++)
        {
            foreach (var route in new[] { "/healthz", "/readyz", "/metrics/performance/latest", "/metrics/event/latest?fields=d-1" })
            {
                using var answer = await stack.Http.GetAsync(route);
                if (!answer.IsSuccessStatusCode)
                {
                    refused.Add($"{route} → {await answer.Content.ReadAsStringAsync()}");
                }
            }

            await stack.Kafka.SendAsync(Performance, 0, Load(Window(minute), "tv", minute));
            await stack.EverythingIsCommittedAsync(Performance);
            flushes.Add((await stack.GetAsync("/pipeline")).GetProperty("last_flush").GetProperty("seconds").GetDouble());
        }

        await reading;
        Assert.NotEmpty(flushes);
        Assert.True(flushes.Order().ElementAt(flushes.Count / 2) < 0.5, $"Flushes took {string.Join(' ', flushes)} s.");

        // A busy machine may miss a deadline now and then.
        Assert.True(refused.Count <= flushes.Count / 4, string.Join('\n', refused));
        TestContext.Current.TestOutputHelper?.WriteLine($"{refused.Count} refused, {flushes.Count} flushes, at most {flushes.Max()} s");

        async Task ReadAsync(int times)
        {
            using var http = new HttpClient { BaseAddress = stack.Http.BaseAddress, Timeout = TimeSpan.FromMinutes(2) };
            var (read, missed) = (0, 0);
            while (read < times)
            {
                var began = Stopwatch.GetTimestamp();
                try
                {
                    var body = await http.GetByteArrayAsync(Route);
                    AssertWindows(body, windows: 120, fields: 20_000);
                    TestContext.Current.TestOutputHelper?.WriteLine($"{body.Length} bytes in {Stopwatch.GetElapsedTime(began).TotalSeconds:F1} s");
                    read++;
                }
                catch (HttpRequestException) when (++missed <= times)
                {
                    // A busy machine may miss the deadline of a part: the answer is cut off, and never looks complete.
                }
            }
        }
    }

    [Fact]
    public async Task LongList_HasNeitherLengthNorTag_AndTheSameRowsAsCsvAndJson_AndIsReadInPages()
    {
        await using var redis = await RedisServer.StartAsync();
        await FillAsync(redis, windows: WindowReader.MaxFound + 7, dimensions: 30);
        await using var stack = await InProcessStack.StartAsync(redis.ConnectionString, ("window_retention_count", "5000"));

        using var json = await stack.Http.GetAsync("/metrics/event/windows?limit=5000");
        Assert.Null(json.Headers.ETag);
        Assert.True(json.Headers.TransferEncodingChunked);
        AssertWindows(await json.Content.ReadAsByteArrayAsync(), WindowReader.MaxFound + 7, fields: 60);

        using var request = new HttpRequestMessage(HttpMethod.Get, "/metrics/event/windows?limit=5000");
        request.Headers.Accept.Add(new("text/csv"));
        using var csv = await stack.Http.SendAsync(request);
        Assert.Equal("text/csv", csv.Content.Headers.ContentType?.MediaType);
        var lines = (await csv.Content.ReadAsStringAsync()).Split("\r\n");
        Assert.Equal(((WindowReader.MaxFound + 7) * 30) + 2, lines.Length);
        Assert.All(lines[1..^1], line => Assert.Equal(5, line.Split(',').Length));

        using var head = await stack.Http.SendAsync(new(HttpMethod.Head, "/metrics/event/windows?limit=5000"));
        Assert.Equal(HttpStatusCode.OK, head.StatusCode);
        Assert.Empty(await head.Content.ReadAsByteArrayAsync());

        // A short list of the same windows is an ordinary answer.
        using var few = await stack.Http.GetAsync("/metrics/event/windows?limit=20");
        Assert.NotNull(few.Headers.ETag);
        Assert.Null(few.Headers.TransferEncodingChunked);
    }

    [Theory]
    [InlineData("application/json")]
    [InlineData("text/csv")]
    public async Task Answer_WhoseRestNeverArrives_IsCutOff_AndNeverLooksComplete(string type)
    {
        await using var redis = await RedisServer.StartAsync();
        await FillAsync(redis, windows: 60, dimensions: 10_000);
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString);
        await stack.StartProcessAsync();

        // The client reads the beginning, and the rest only after Redis is frozen. On a busy machine, the first windows may not
        // be there within the time that an answer has to begin.
        var answer = new byte[100_000_000];
        var length = 0;
        Socket? begun = null;
        await Eventually.HoldsAsync(async () =>
        {
            begun?.Dispose();
            begun = new(SocketType.Stream, ProtocolType.Tcp) { ReceiveBufferSize = 4096 };
            await begun.ConnectAsync("127.0.0.1", stack.Http.BaseAddress!.Port);
            await begun.SendAsync(Encoding.ASCII.GetBytes($"GET {Route} HTTP/1.1\r\nHost: localhost\r\nAccept: {type}\r\nConnection: close\r\n\r\n"));
            length = await begun.ReceiveAsync(answer.AsMemory(0, 1024));
            Assert.StartsWith("HTTP/1.1 200 OK", Encoding.ASCII.GetString(answer, 0, length), StringComparison.Ordinal);
        });
        using var client = begun!;
        redis.Freeze();
        try
        {
            while (await client.ReceiveAsync(answer.AsMemory(length)).AsTask().WaitAsync(Eventually.TestTimeout) is > 0 and var read)
            {
                length += read;
            }
        }
        catch (SocketException)
        {
            // Cut off.
        }

        redis.Thaw();
        var text = Encoding.UTF8.GetString(answer, 0, length);
        Assert.Contains("Transfer-Encoding: chunked", text);
        Assert.False(text.EndsWith("0\r\n\r\n", StringComparison.Ordinal), "The answer ends as if it were complete.");
        Assert.DoesNotContain("]}", text);
        Assert.EndsWith(" 1", (await stack.Http.GetStringAsync("/metrics")).Split('\n').Single(line => line.StartsWith("cache_answers_cut_total{", StringComparison.Ordinal)));
    }

    [Fact]
    public async Task AnswerWithoutRoom_IsRefusedWithTheReason_WhileSmallOnesSucceed()
    {
        await using var redis = await RedisServer.StartAsync();
        await FillAsync(redis, windows: 10, dimensions: 10_000);
        await using var stack = await InProcessStack.StartAsync(redis.ConnectionString, ("http_answers_max_mb", "16"));
        await stack.ReadyAsync();
        using (stack.Service.Get<LargeReads>().Take(15 * 1024 * 1024))
        {
            using var refused = await stack.Http.GetAsync(Route);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, refused.StatusCode);
            Assert.Equal(TimeSpan.FromSeconds(1), refused.Headers.RetryAfter?.Delta);
            var problem = JsonElement.Parse(await refused.Content.ReadAsStringAsync());
            Assert.Equal("Too many large answers at once", problem.GetProperty("title").GetString());
            Assert.Contains("http_answers_max_mb", problem.GetProperty("detail").GetString());
            await stack.GetAsync("/metrics/performance/windows");
        }

        AssertWindows(await stack.Http.GetByteArrayAsync(Route), windows: 10, fields: 20_000);
    }

    [Fact]
    public async Task Read_ThatRedisOnlyBeginsInTime_IsReportedAsSlow_NotAsUnanswered()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var client = await ConnectionMultiplexer.ConnectAsync(redis.ConnectionString);
        var watched = new WatchedRedis(client);
        var stages = new RedisStages(watched.Client);
        await stages.WriteAsync(TestRows.Event(10, "a", count: 1));
        watched.Calls.Clear();
        var answers = new WindowAnswers(stages.Reader, null!, stages.Services.GetRequiredService<LargeReads>(), stages.Options);
        var asked = new Microsoft.AspNetCore.Http.DefaultHttpContext().Request;
        asked.Headers.CacheControl = "no-cache";

        // The index and the lengths arrive, the hashes do not.
        watched.Before("CreateBatch", () =>
        {
            if (watched.Calls.Count(call => call == "CreateBatch") == 2)
            {
                redis.Freeze();
            }

            return Task.CompletedTask;
        });
        await Assert.ThrowsAsync<SlowReadException>(() => answers.GetAsync(new(MetricType.Event, 10, null), asked));

        // From a frozen server nothing arrives at all.
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => answers.GetAsync(new(MetricType.Event, 10, null), asked));
        redis.Thaw();
    }

    [Fact]
    public async Task ManyNames_AreLookedUp_NotScanned()
    {
        var names = Enumerable.Range(0, 3900).Select(name => $"n{name}").ToList();
        var filter = DimensionFilter.Of(string.Join(',', names))!;
        var fields = names.Select(name => Encoding.UTF8.GetBytes($"{name}x.count")).ToList();
        Assert.All(names, name => Assert.True(filter.Selects(Encoding.UTF8.GetBytes($"{name}.count"))));
        Assert.All(fields, field => Assert.False(filter.Selects(field)));

        // A scan would take about twenty billion comparisons.
        var began = Stopwatch.GetTimestamp();
        await Task.Run(() =>
        {
            for (var lookup = 0; lookup < 5_000_000; lookup++)
            {
                filter.Selects(fields[lookup % fields.Count]);
            }
        });
        Assert.True(Stopwatch.GetElapsedTime(began) < TimeSpan.FromSeconds(15), $"{Stopwatch.GetElapsedTime(began)}");
    }

    private static void AssertWindows(byte[] body, int windows, int fields)
    {
        var list = JsonElement.Parse(body).GetProperty("windows").EnumerateArray().ToList();
        Assert.Equal(windows, list.Count);
        Assert.All(list, window => Assert.Equal(fields + 1, window.EnumerateObject().Count()));
        Assert.Equal(list.Select(window => window.GetProperty("window_start").GetInt64()).Distinct().OrderDescending(), list.Select(window => window.GetProperty("window_start").GetInt64()));
    }

    /// <summary>Fills a Redis with windows, the last of them a minute old, so that none of them is trimmed.</summary>
    private static async Task FillAsync(RedisServer server, int windows, int dimensions)
    {
        await using var redis = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString);
        var database = redis.GetDatabase();
        var fields = Enumerable.Range(0, dimensions)
            .SelectMany(dimension => new HashEntry[] { new($"d-{dimension}.count", dimension), new($"d-{dimension}.users", 7) }).ToArray();
        for (var window = 0; window < windows; window++)
        {
            var start = Window(-window).ToString(CultureInfo.InvariantCulture);
            await Task.WhenAll(
                database.HashSetAsync($"metrics:event:{start}", fields), database.SortedSetAddAsync("metrics:event:windows", start, Window(-window)));
        }
    }
}
