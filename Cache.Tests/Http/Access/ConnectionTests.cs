using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using Cache.Service.Http.Access;
using Cache.Service.Options;
using Cache.Tests.EndToEnd;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
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
        Assert.IsType<AcceptGate>(stack.Service.Get<IConnectionListenerFactory>());
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
        await stack.StartProcessAsync(prlimit, "--nofile=672:672");
        await stack.ReadyAsync();
        Assert.Single(stack.Process.Output.Split('\n'), line => line.Contains("the process may open 672 files", StringComparison.Ordinal));
        using var probes = new HttpClient { BaseAddress = new($"http://127.0.0.1:{stack.Settings["health_port"]}"), Timeout = TimeSpan.FromSeconds(5) };
        var clients = new List<Socket>();
        try
        {
            // On a busy machine, connections pile up in the backlog, which holds 512; they would be accepted faster than refused.
            stack.Process.Freeze();
            await ConnectAsync(500);
            stack.Process.Thaw();
            Assert.Equal("Healthy", await probes.GetStringAsync("/alive"));

            await ConnectAsync(500);
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

        async Task ConnectAsync(int count)
        {
            for (var client = 0; client < count; client++)
            {
                var socket = new Socket(SocketType.Stream, ProtocolType.Tcp);
                clients.Add(socket);
                await socket.ConnectAsync("127.0.0.1", stack.Http.BaseAddress!.Port);
                try
                {
                    // It has begun a request, so that it is not closed as silent.
                    await socket.SendAsync("GET /"u8.ToArray());
                }
                catch (SocketException)
                {
                    // It is refused already.
                }
            }
        }
    }

    [Theory]
    [InlineData(0, 33)]
    [InlineData(9090, 96)]
    public async Task Connections_AreAcceptedWhileThereAreFilesForThem_AndAgainAsOthersClose(int healthPort, int most)
    {
        healthPort = healthPort == 0 ? 0 : FreePort();
        var options = new CacheOptions { HttpMaxConnections = 1, HealthPort = healthPort };
        var gate = new AcceptGate(new(Microsoft.Extensions.Options.Options.Create(new SocketTransportOptions()), NullLoggerFactory.Instance), Limiter(options), options);
        await using var listener = await gate.BindAsync(new IPEndPoint(IPAddress.Loopback, healthPort), TestContext.Current.CancellationToken);
        var clients = Enumerable.Range(0, most + 2).Select(_ => new TcpClient()).ToList();
        clients.ForEach(client => client.Connect((IPEndPoint)listener.EndPoint));
        var accepted = new List<ConnectionContext>();
        for (var number = 0; number < most; number++)
        {
            accepted.Add(Assert.IsAssignableFrom<ConnectionContext>(await AcceptAsync()));
        }

        // Disposed twice, it still gives only its own place back.
        var waiting = AcceptAsync();
        Assert.False(waiting.IsCompleted);
        await accepted[0].DisposeAsync();
        await accepted[0].DisposeAsync();
        accepted.Add(Assert.IsAssignableFrom<ConnectionContext>(await waiting));

        // Stopping ends the wait.
        waiting = AcceptAsync();
        Assert.False(waiting.IsCompleted);
        await listener.UnbindAsync(TestContext.Current.CancellationToken);
        Assert.Null(await waiting);
        foreach (var connection in accepted.Skip(1))
        {
            await connection.DisposeAsync();
        }

        clients.ForEach(client => client.Dispose());

        Task<ConnectionContext?> AcceptAsync() => listener.AcceptAsync(TestContext.Current.CancellationToken).AsTask().WaitAsync(TestTimeout.Full);
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
