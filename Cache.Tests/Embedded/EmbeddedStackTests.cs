using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using Cache.Embedded;
using StackExchange.Redis;

namespace Cache.Tests.Embedded;

public sealed class EmbeddedStackTests
{
    private static readonly TimeSpan Deadline = TestTimeout.Full;

    [Fact]
    public async Task Stack_ShowsWindowsOfBothTypes_TheSameOverHttpAsInRedis_AndStopsInTime()
    {
        var options = StackOptions.Parse("--urls", "http://127.0.0.1:0", "--simulator_rate", "200");
        await using var stack = await EmbeddedStack.StartAsync(options, Cancelled);
        using var client = new HttpClient { BaseAddress = stack.ServiceUri };

        await EventuallyAsync(() => IsReadyAsync(client));
        await EventuallyAsync(async () =>
            await WindowStartAsync("/metrics/event/latest") > 0 && await WindowStartAsync("/metrics/performance/latest") > 0);

        await using var redis = await ConnectionMultiplexer.ConnectAsync(stack.Redis.ConnectionString);
        var started = await WindowStartAsync("/metrics/event/latest");
        Assert.NotEmpty(await redis.GetDatabase().HashGetAllAsync($"metrics:event:{started}"));

        var stopping = Stopwatch.GetTimestamp();
        Assert.Empty(await stack.StopAsync());
        Assert.True(Stopwatch.GetElapsedTime(stopping) < EmbeddedStack.StopTimeout, $"{Stopwatch.GetElapsedTime(stopping)}");
        Assert.True(stack.ServiceStopping.IsCancellationRequested);

        async Task<long> WindowStartAsync(string path)
        {
            using var answer = JsonDocument.Parse(await client.GetStringAsync(new Uri(path, UriKind.Relative), Cancelled));
            return answer.RootElement.TryGetProperty("window_start", out var start) ? start.GetInt64() : 0;
        }
    }

    [Fact]
    public async Task Sessions_WhenTheSimulatorSendsThem_AreConsumedAndServed()
    {
        var options = StackOptions.Parse("--urls", "http://127.0.0.1:0", "--simulator_rate", "200", "--simulator_sessions");
        await using var stack = await EmbeddedStack.StartAsync(options, Cancelled);
        using var client = new HttpClient { BaseAddress = stack.ServiceUri };

        await EventuallyAsync(async () =>
        {
            using var answer = JsonDocument.Parse(await client.GetStringAsync(new Uri("/sessions/active", UriKind.Relative), Cancelled));
            return answer.RootElement.GetProperty("sessions").EnumerateArray().Any(session => session.GetProperty("page_count").GetInt64() > 1);
        });
        Assert.Equal(["event_metrics", "performance_metrics", "session_metrics"], stack.Topics);
    }

    [Fact]
    public async Task Revenue_IsConsumedAndServed_WithoutDeadLetters()
    {
        var options = StackOptions.Parse("--urls", "http://127.0.0.1:0", "--simulator_rate", "200", "--revenue");
        await using var stack = await EmbeddedStack.StartAsync(options, Cancelled);
        using var client = new HttpClient { BaseAddress = stack.ServiceUri };

        await EventuallyAsync(async () =>
        {
            using var answer = JsonDocument.Parse(await client.GetStringAsync(new Uri("/metrics/revenue/latest", UriKind.Relative), Cancelled));
            return answer.RootElement.TryGetProperty("DE|pro.total", out var total) && total.GetDouble() > 0
                && answer.RootElement.TryGetProperty("DE|pro.orders", out var orders) && orders.GetInt64() > 0;
        });
        Assert.Equal(["event_metrics", "performance_metrics", "shop.revenue"], stack.Topics);
        using var pipeline = JsonDocument.Parse(await client.GetStringAsync(new Uri("/pipeline", UriKind.Relative), Cancelled));
        Assert.All(pipeline.RootElement.GetProperty("dead_letters").EnumerateObject(), reason => Assert.Equal(0, reason.Value.GetInt64()));
    }

    [Fact]
    public async Task NoSimulator_LeavesKafkaEmpty_AndTheServiceReady()
    {
        var options = StackOptions.Parse("--urls", "http://127.0.0.1:0", "--no-simulator");
        await using var stack = await EmbeddedStack.StartAsync(options, Cancelled);
        using var client = new HttpClient { BaseAddress = stack.ServiceUri };

        await EventuallyAsync(() => IsReadyAsync(client));

        Assert.Equal("{}", await client.GetStringAsync(new Uri("/metrics/event/latest", UriKind.Relative), Cancelled));
    }

    [Fact]
    public async Task PortInUse_IsOneLineWithThePortAndTheWayOut()
    {
        using var other = new TcpListener(IPAddress.Loopback, 0);
        other.Start();
        var port = ((IPEndPoint)other.LocalEndpoint).Port;

        var http = await FailAsync("--urls", $"http://127.0.0.1:{port}");
        var redis = await FailAsync("--urls", "http://127.0.0.1:0", "--redis_port", $"{port}");

        Assert.StartsWith($"Port {port} is in use", http, StringComparison.Ordinal);
        Assert.Contains("--urls http://127.0.0.1:", http, StringComparison.Ordinal);
        Assert.StartsWith($"Port {port} is in use", redis, StringComparison.Ordinal);
        Assert.Contains("--redis_port", redis, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', http + redis);
    }

    [Fact]
    public async Task BadConfiguration_NamesEveryKey()
    {
        var service = await FailAsync("--window_retention_count", "-5", "--kafka_commit_batch_size", "x");
        var simulator = await FailAsync("--urls", "http://127.0.0.1:0", "--simulator_rate", "x");

        Assert.Contains("window_retention_count", service, StringComparison.Ordinal);
        Assert.Contains("kafka_commit_batch_size", service, StringComparison.Ordinal);
        Assert.Contains("simulator_rate", simulator, StringComparison.Ordinal);
    }

    private static CancellationToken Cancelled => TestContext.Current.CancellationToken;

    private static async Task<string> FailAsync(params string[] args) =>
        (await Assert.ThrowsAsync<StackException>(() => EmbeddedStack.StartAsync(StackOptions.Parse(args), Cancelled))).Message;

    private static async Task<bool> IsReadyAsync(HttpClient client)
    {
        using var answer = await client.GetAsync(new Uri("/readyz", UriKind.Relative), Cancelled);
        return answer.IsSuccessStatusCode;
    }

    private static async Task EventuallyAsync(Func<Task<bool>> condition)
    {
        using var deadline = CancellationTokenSource.CreateLinkedTokenSource(Cancelled);
        deadline.CancelAfter(Deadline);
        while (!await condition())
        {
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System, deadline.Token);
        }
    }
}
