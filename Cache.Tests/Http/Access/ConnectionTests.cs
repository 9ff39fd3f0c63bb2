using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using Cache.Service.Http.Access;
using Cache.Service.Options;
using Cache.Tests.EndToEnd;
using Microsoft.AspNetCore.Connections;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cache.Tests.Http.Access;

/// <summary>Limits on connections, in total and per client, and what stays reachable at the limit.</summary>
public sealed class ConnectionTests
{
    private readonly List<TaskCompletionSource> _open = [];

    [Theory]
    [InlineData(10_000, 1024, 300, 468)]
    [InlineData(10_000, 20_000, 300, 10_000)]
    [InlineData(100, 1024, 300, 100)]
    [InlineData(10_000, 512, 300, 106)]
    [InlineData(10_000, 256, 300, 1)]
    [InlineData(10_000, long.MaxValue, 0, 10_000)]
    public async Task Connections_AreCappedByTheFileLimit(int asked, long files, long open, int expected)
    {
        var limiter = Limiter(new() { HttpMaxConnections = asked }, files, open);

        Assert.Equal(expected, await OpenAsync(limiter, expected + 1, _ => "10.0.0.1"));
    }

    [Fact]
    public async Task ConnectionsPerAddress_AreLimited_AndReleased()
    {
        var limiter = Limiter(new() { HttpMaxConnectionsPerClient = 3 });

        Assert.Equal(3, await OpenAsync(limiter, 5, _ => "10.0.0.1"));
        Assert.Equal(3, await OpenAsync(limiter, 5, _ => "10.0.0.2"));
        Assert.Equal(3, await OpenAsync(limiter, 5, number => $"fd00::{number + 1}"));
        Assert.Equal(0, await OpenAsync(limiter, 5, _ => "::ffff:10.0.0.1"));

        _open[0].SetResult();
        Assert.Equal(1, await OpenAsync(limiter, 5, _ => "10.0.0.1"));
    }

    [Fact]
    public async Task Proxies_AndThisMachine_AreExemptFromTheLimitPerAddress()
    {
        var limiter = Limiter(new() { HttpMaxConnections = 40, HttpMaxConnectionsPerClient = 1, TrustedProxies = [IPNetwork.Parse("10.1.0.0/16"), IPNetwork.Parse("10.0.0.7/32")] });

        Assert.Equal(10, await OpenAsync(limiter, 10, number => $"10.1.0.{number % 2}"));
        Assert.Equal(10, await OpenAsync(limiter, 10, _ => "::ffff:10.0.0.7"));
        Assert.Equal(5, await OpenAsync(limiter, 5, _ => "127.0.0.1"));
        Assert.Equal(5, await OpenAsync(limiter, 5, _ => "::1"));
        Assert.Equal(1, await OpenAsync(limiter, 10, _ => "10.0.0.8"));
    }

    [Fact]
    public async Task ConnectionsToTheHealthPort_AreCountedSeparately_AndLimited()
    {
        var limiter = Limiter(new() { HttpMaxConnections = 1, HealthPort = 9090 });
        Assert.Equal(1, await OpenAsync(limiter, 2, _ => "10.0.0.1"));

        Assert.Equal(64, await OpenAsync(limiter, 100, _ => "10.0.0.1", port: 9090));
    }

    [Fact]
    public async Task SilentConnection_IsClosed()
    {
        await using var stack = await InProcessStack.StartAsync();
        using var client = new TcpClient();
        await client.ConnectAsync("127.0.0.1", stack.Http.BaseAddress!.Port, TestContext.Current.CancellationToken);

        Assert.Equal(0, await client.GetStream().ReadAsync(new byte[1]).AsTask().WaitAsync(Eventually.TestTimeout));
    }

    [Fact]
    public async Task SocketsBeyondTheFileLimit_TakeNothingFromRedisAndProbes_AndTheLimitIsLogged()
    {
        var prlimit = Requirement.Program("prlimit", "prlimit");
        RedisServer.Require();
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString, ("health_port", $"{FreePort()}"));
        await stack.StartProcessAsync(prlimit, "--nofile=1024:1024");
        await stack.ReadyAsync();
        Assert.Single(stack.Process.Output.Split('\n'), line => line.Contains("the process may open 1024 files", StringComparison.Ordinal));
        using var probes = new HttpClient { BaseAddress = new($"http://127.0.0.1:{stack.Settings["health_port"]}"), Timeout = TimeSpan.FromSeconds(5) };
        var clients = new List<Socket>();
        try
        {
            // Each has begun a request, so that it is not closed as silent.
            for (var client = 0; client < 1100; client++)
            {
                var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
                clients.Add(socket);
                await socket.ConnectAsync("127.0.0.1", stack.Http.BaseAddress!.Port);
                await socket.SendAsync("GET /"u8.ToArray());
            }

            Assert.Equal("Healthy", await probes.GetStringAsync("/alive"));
            await redis.RestartAsync();
            await Eventually.HoldsAsync(async () => Assert.Equal("""{"status":"ok","redis":true}""", await probes.GetStringAsync("/healthz")));
            Assert.Contains(
                (await probes.GetStringAsync("/metrics")).Split('\n'),
                line => line.StartsWith("cache_http_connections_refused_total{", StringComparison.Ordinal) && line.Contains("reason=\"all\"") && !line.EndsWith(" 0", StringComparison.Ordinal));
        }
        finally
        {
            clients.ForEach(client => client.Dispose());
        }
    }

    [Theory]
    [InlineData("--urls", "http://127.0.0.1:{0}")]
    [InlineData("--http_ports", "{0}")]
    [InlineData("--Kestrel:Endpoints:Http:Url", "http://127.0.0.1:{0}")]
    public async Task HealthPort_ServesOnlyHealthAndMetrics_InAdditionToAnyAddresses(string key, string address)
    {
        var (port, health) = (FreePort(), FreePort());
        await using var app = Service.Program.Build(
        [
            "--Logging:Console:LogLevel:Default", "None", "--ConnectionStrings:kafka", "127.0.0.1:9", "--ConnectionStrings:redis", "127.0.0.1:9",
            "--api_keys", "0123456789abcdef", "--health_port", $"{health}", key, string.Format(System.Globalization.CultureInfo.InvariantCulture, address, port),
        ]);
        await app.StartAsync(TestContext.Current.CancellationToken);
        using var http = new HttpClient();

        foreach (var route in new[] { "/healthz", "/readyz", "/health", "/alive", "/metrics" })
        {
            var status = await StatusAsync(health, route);
            Assert.True(status is HttpStatusCode.OK or HttpStatusCode.ServiceUnavailable, $"{route} → {status}");
            Assert.Equal(status, await StatusAsync(port, route));
        }

        foreach (var route in new[] { "/", "/metrics/overview", "/stream", "/pipeline", "/openapi/v1.json", "/scalar/" })
        {
            Assert.Equal(HttpStatusCode.NotFound, await StatusAsync(health, route));
            Assert.NotEqual(HttpStatusCode.NotFound, await StatusAsync(port, route));
        }

        await app.StopAsync(TestContext.Current.CancellationToken);

        async Task<HttpStatusCode> StatusAsync(int port, string route)
        {
            using var answer = await http.GetAsync($"http://127.0.0.1:{port}{route}", HttpCompletionOption.ResponseHeadersRead);
            return answer.StatusCode;
        }
    }

    private static int FreePort()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        return ((IPEndPoint)listener.LocalEndpoint).Port;
    }

    private static ConnectionLimiter Limiter(CacheOptions options, long files = long.MaxValue, long open = 0)
    {
        var meters = new ServiceCollection().AddMetrics().BuildServiceProvider().GetRequiredService<System.Diagnostics.Metrics.IMeterFactory>();
        return new(options, new AccessMetrics(meters), NullLogger<ConnectionLimiter>.Instance, files, open);
    }

    /// <summary>Opens connections and keeps them open; returns how many were admitted.</summary>
    private async Task<int> OpenAsync(ConnectionLimiter limiter, int count, Func<int, string> address, int port = 8080)
    {
        var before = _open.Count;
        for (var number = 0; number < count; number++)
        {
            var (input, output) = (new Pipe(), new Pipe());
            await input.Writer.WriteAsync("GET"u8.ToArray());
            var connection = new DefaultConnectionContext($"{number}", new Duplex(input.Reader, output.Writer), new Duplex(output.Reader, input.Writer))
            {
                LocalEndPoint = new IPEndPoint(IPAddress.Loopback, port),
                RemoteEndPoint = new IPEndPoint(IPAddress.Parse(address(number)), 50_000),
            };
            _ = limiter.Limit(async served =>
            {
                // The first bytes have not been consumed.
                Assert.Equal(3, (await served.Transport.Input.ReadAsync()).Buffer.Length);
                var open = new TaskCompletionSource();
                _open.Add(open);
                await open.Task;
            })(connection);
        }

        return _open.Count - before;
    }

    private sealed class Duplex(PipeReader input, PipeWriter output) : IDuplexPipe
    {
        public PipeReader Input { get; } = input;

        public PipeWriter Output { get; } = output;
    }
}
