using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using StackExchange.Redis;

namespace Cache.Tests.ServiceDefaults.Portable;

public sealed class RedisHealthTests
{
    private const string Check = "StackExchange.Redis";

    // The check promises a second; the rest is for a busy machine.
    private static readonly TimeSpan Bound = TimeSpan.FromSeconds(2.5);

    [Fact]
    public async Task Check_FollowsTheServer_WithinABound()
    {
        await using var server = await RedisServer.StartAsync("pa55word");
        using var host = Build(server.ConnectionString);
        host.Services.GetRequiredService<IConnectionMultiplexer>();
        await UntilAsync(HealthStatus.Healthy);

        server.Freeze();
        await UntilAsync(HealthStatus.Unhealthy);
        server.Thaw();
        await UntilAsync(HealthStatus.Healthy);

        server.Kill();
        await UntilAsync(HealthStatus.Unhealthy);
        await server.RestartAsync();
        await UntilAsync(HealthStatus.Healthy);

        async Task UntilAsync(HealthStatus expected)
        {
            var began = Stopwatch.StartNew();
            HealthStatus status;
            do
            {
                var asked = Stopwatch.StartNew();
                status = (await host.Services.CheckAsync(Check)).Status;
                Assert.InRange(asked.Elapsed, TimeSpan.Zero, Bound);
                await Task.Delay(20);
            }
            while (status != expected && began.Elapsed < TimeSpan.FromSeconds(30));
            Assert.Equal(expected, status);
        }
    }

    [Fact]
    public async Task Check_WhileTheClientConnects_DoesNotWaitForIt()
    {
        using var silent = new TcpListener(IPAddress.Loopback, 0);
        silent.Start();
        using var host = Build($"127.0.0.1:{((IPEndPoint)silent.LocalEndpoint).Port},connectTimeout=5000");

        var began = Stopwatch.StartNew();
        var entries = await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => host.Services.CheckAsync(Check)));

        Assert.InRange(began.Elapsed, TimeSpan.Zero, Bound);
        Assert.All(entries, entry => Assert.Equal(HealthStatus.Unhealthy, entry.Status));
    }

    [Fact]
    public async Task AutoActivation_ConnectsInTheBackground_AndDelaysNeitherStartNorStop()
    {
        using var silent = new TcpListener(IPAddress.Loopback, 0);
        silent.Start();
        var address = $"127.0.0.1:{((IPEndPoint)silent.LocalEndpoint).Port},connectTimeout=5000";
        using var host = Build(address, ("Aspire:StackExchange:Redis:DisableAutoActivation", "false"));

        var began = Stopwatch.StartNew();
        await host.StartAsync();
        using var connection = await silent.AcceptTcpClientAsync().WaitAsync(TimeSpan.FromSeconds(10));
        await host.StopAsync();
        Assert.InRange(began.Elapsed, TimeSpan.Zero, Bound);
    }

    [Fact]
    public void DisableHealthChecks_AddsNone()
    {
        var builder = Hosts.Builder();
        builder.AddRedisClient("redis", settings => settings.DisableHealthChecks = true);
        using var host = builder.Build();

        Assert.Empty(host.Services.GetRequiredService<IOptions<HealthCheckServiceOptions>>().Value.Registrations);
    }

    private static IHost Build(string connectionString, params (string, string?)[] configuration)
    {
        var builder = Hosts.Builder([("ConnectionStrings:redis", connectionString), .. configuration]);
        builder.AddRedisClient("redis");
        return builder.Build();
    }
}
