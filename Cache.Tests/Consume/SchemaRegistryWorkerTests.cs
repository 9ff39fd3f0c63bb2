using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Tests.Decode;
using Cache.Tests.EndToEnd;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

/// <summary>How the registry is asked, and what is said about it.</summary>
public sealed class SchemaRegistryWorkerTests : IDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly LogCapture _log = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly ServiceProvider _services;

    public SchemaRegistryWorkerTests() => _services = new ServiceCollection().AddMetrics()
        .AddLogging(logging => logging.AddProvider(_log)).AddSingleton<TimeProvider>(_time).AddSingleton<Assignment>().AddSingleton<ConsumeMetrics>().BuildServiceProvider();

    public void Dispose()
    {
        _stop.Dispose();
        _services.Dispose();
    }

    [Fact]
    public async Task RegistryThatDoesNotAnswer_IsAskedOnAndOn_LoggedEvery30Seconds_AndNamed_UntilItAnswers()
    {
        await using var server = await FakeSchemaRegistry.StartAsync();
        server.Add(1, AvroRows.Events);
        server.Failure = (503, """{"error_code":50301,"message":"no leader"}""");
        using var client = new SchemaClient(new CacheOptions { SchemaRegistryUrl = server.Url });
        using var registry = Registry(client, server.Url);
        var run = registry.RunAsync(_stop.Token);
        Assert.Null(registry.Obstacle);

        registry.Want([1]);
        await Eventually.HoldsAsync(() => Assert.StartsWith($"the schema registry at {server.Url} does not answer: ", registry.Obstacle, StringComparison.Ordinal));
        Assert.Contains("no leader", registry.Obstacle, StringComparison.Ordinal);
        Assert.Contains("Partitions wait for schema 1;", Assert.Single(_log.Lines), StringComparison.Ordinal);

        // It is asked many times before the second line.
        await Eventually.HoldsAsync(() =>
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            Assert.Equal(2, _log.Lines.Count);
        });
        Assert.Matches("has not answered for [3-9][0-9] s: .*no leader.* Partitions wait for schema 1[.]", _log.Lines.Last());
        Assert.InRange(server.Requests.Count, 4, int.MaxValue);

        server.Failure = null;
        await Eventually.HoldsAsync(() =>
        {
            _time.Advance(TimeSpan.FromSeconds(7.5));
            Assert.NotNull(registry.Schemas.Find(1)?.Avro);
        });
        await Eventually.HoldsAsync(() => Assert.Null(registry.Obstacle));
        Assert.Contains("answers again", _log.Lines.Last(), StringComparison.Ordinal);
        await EndAsync(run);
    }

    [Fact]
    public async Task RegistryThatNobodyWaitsFor_IsNoObstacle_AndNotAskedAnyMore()
    {
        var (url, _) = await FakeSchemaRegistry.DownAsync();
        using var client = new SchemaClient(new CacheOptions { SchemaRegistryUrl = url });
        using var registry = Registry(client, url);
        var run = registry.RunAsync(_stop.Token);
        registry.Want([1]);
        await Eventually.HoldsAsync(() => Assert.NotNull(registry.Obstacle));

        registry.Want([]);

        Assert.Null(registry.Obstacle);
        _time.Advance(TimeSpan.FromSeconds(10));
        registry.Want([2]);
        await Eventually.HoldsAsync(() => Assert.Equal(2, _log.Lines.Count(line => line.Contains("does not answer", StringComparison.Ordinal))));
        Assert.Contains("schema 2;", _log.Lines.Last(), StringComparison.Ordinal);
        await EndAsync(run);
    }

    [Fact]
    public async Task OneSchemaThatCannotBeFetched_HoldsUpNoOther()
    {
        await using var server = await FakeSchemaRegistry.StartAsync();
        server.Add(2, AvroRows.Events);
        server.Broken = 1;
        using var client = new SchemaClient(new CacheOptions { SchemaRegistryUrl = server.Url });
        using var registry = Registry(client, server.Url);
        var run = registry.RunAsync(_stop.Token);

        registry.Want([1, 2]);

        await Eventually.HoldsAsync(() => Assert.NotNull(registry.Schemas.Find(2)?.Avro));
        Assert.Null(registry.Schemas.Find(1));
        await EndAsync(run);
    }

    private SchemaRegistry Registry(SchemaClient client, string url) => new(
        client, new Schemas(_time), new CacheOptions { SchemaRegistryUrl = url }, _services.GetRequiredService<ConsumeMetrics>(), _time, null!,
        _services.GetRequiredService<ILogger<SchemaRegistry>>());

    private async Task EndAsync(Task run)
    {
        await _stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => run.WaitAsync(TestTimeout.Full, TestContext.Current.CancellationToken));
    }
}
