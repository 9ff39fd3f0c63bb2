using System.Collections.Concurrent;
using System.Diagnostics;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using OpenTelemetry;
using OpenTelemetry.Trace;
using StackExchange.Redis;

namespace Cache.Tests.ServiceDefaults.Portable;

public sealed class RedisSpanTests : IDisposable
{
    private readonly ActivitySource _source = new($"test-{Guid.NewGuid():N}");
    private readonly Spans _spans = new();

    [Fact]
    public async Task Commands_AreChildrenOfTheCurrentActivity()
    {
        await using var server = await RedisServer.StartAsync();
        using var host = Build(server, new AlwaysOnSampler());
        var database = host.Services.GetRequiredService<IConnectionMultiplexer>().GetDatabase(1);

        Activity parent;
        using (parent = _source.StartActivity("parent")!)
        {
            await database.StringSetAsync("key", 1);
            var batch = database.CreateBatch();
            var writes = Task.WhenAll(batch.HashSetAsync("hash", "f", 1), batch.KeyExpireAsync("hash", TimeSpan.FromHours(1)));
            batch.Execute();
            await writes;
        }

        var spans = _spans.Of(parent);
        Assert.Equal(["EXPIRE", "HSET", "SET"], spans.Select(span => span.DisplayName).Order());
        Assert.All(spans, span =>
        {
            Assert.Equal("OpenTelemetry.Instrumentation.StackExchangeRedis", span.Source.Name);
            Assert.Equal(ActivityKind.Client, span.Kind);
            Assert.Equal(parent.SpanId, span.ParentSpanId);
            Assert.Equal("redis", span.GetTagItem("db.system.name"));
            Assert.Equal(span.DisplayName, span.GetTagItem("db.operation.name"));
            Assert.Equal("1", span.GetTagItem("db.namespace"));
            Assert.Equal("127.0.0.1", span.GetTagItem("server.address"));
            Assert.Equal(server.Port, span.GetTagItem("server.port"));
            Assert.True(span.Duration > TimeSpan.Zero && span.Duration <= parent.Duration + TimeSpan.FromMilliseconds(50));
        });
    }

    [Fact]
    public async Task Publish_BelongsToNoDatabase()
    {
        await using var server = await RedisServer.StartAsync();
        using var host = Build(server, new AlwaysOnSampler());
        var redis = host.Services.GetRequiredService<IConnectionMultiplexer>();

        Activity parent;
        using (parent = _source.StartActivity("parent")!)
        {
            await redis.GetSubscriber().PublishAsync(RedisChannel.Literal("channel"), "text");
        }

        var span = Assert.Single(_spans.Of(parent));
        Assert.Equal("PUBLISH", span.DisplayName);
        Assert.Null(span.GetTagItem("db.namespace"));
    }

    [Fact]
    public async Task Commands_OfConcurrentActivities_KeepApart()
    {
        await using var server = await RedisServer.StartAsync();
        using var host = Build(server, new AlwaysOnSampler());
        var database = host.Services.GetRequiredService<IConnectionMultiplexer>().GetDatabase();

        var parents = await Task.WhenAll(Enumerable.Range(1, 8).Select(async count =>
        {
            using var parent = _source.StartActivity("parent")!;
            await Task.WhenAll(Enumerable.Range(0, count).Select(_ => database.StringGetAsync("key")));
            return (parent, count);
        }));

        Assert.All(parents, one => Assert.Equal(one.count, _spans.Of(one.parent).Count()));
    }

    [Fact]
    public async Task Commands_OfOneActivity_AreBounded()
    {
        await using var server = await RedisServer.StartAsync();
        using var host = Build(server, new AlwaysOnSampler());
        var database = host.Services.GetRequiredService<IConnectionMultiplexer>().GetDatabase();

        Activity parent;
        using (parent = _source.StartActivity("parent")!)
        {
            await Task.WhenAll(Enumerable.Range(0, 1200).Select(_ => database.StringGetAsync("key")));
        }

        Assert.Equal(1000, _spans.Of(parent).Count());
    }

    [Fact]
    public async Task Commands_UnderNoSampledActivity_LeaveNoSpan()
    {
        await using var server = await RedisServer.StartAsync();
        using var host = Build(server, new AlwaysOffSampler());
        var database = host.Services.GetRequiredService<IConnectionMultiplexer>().GetDatabase();

        await database.StringSetAsync("key", 1);
        using (_source.StartActivity("parent"))
        {
            await database.StringSetAsync("key", 1);
        }

        Assert.Empty(_spans.All);
    }

    [Fact]
    public async Task DisableTracing_LeavesNoSpan()
    {
        await using var server = await RedisServer.StartAsync();
        using var host = Build(server, new AlwaysOnSampler(), ("Aspire:StackExchange:Redis:DisableTracing", "true"));
        var database = host.Services.GetRequiredService<IConnectionMultiplexer>().GetDatabase();

        Activity parent;
        using (parent = _source.StartActivity("parent")!)
        {
            await database.StringSetAsync("key", 1);
        }

        Assert.Empty(_spans.Of(parent));
    }

    public void Dispose()
    {
        _source.Dispose();
        _spans.Dispose();
    }

    private IHost Build(RedisServer server, Sampler sampler, params (string, string?)[] configuration)
    {
        var builder = Hosts.Builder([("ConnectionStrings:redis", server.ConnectionString), .. configuration]);
        builder.AddRedisClient("redis");
        builder.Services.AddOpenTelemetry().WithTracing(tracing => tracing
            .SetSampler(new ParentBasedSampler(sampler)).AddSource(_source.Name).AddProcessor(_spans));
        var host = builder.Build();
        host.Services.GetRequiredService<TracerProvider>();
        return host;
    }

    // Tests run side by side and the Redis source is one for the process: each looks at its own trace.
    private sealed class Spans : BaseProcessor<Activity>
    {
        public ConcurrentBag<Activity> All { get; } = [];

        public IEnumerable<Activity> Of(Activity parent) =>
            All.Where(span => span.TraceId == parent.TraceId && span.SpanId != parent.SpanId);

        public override void OnEnd(Activity data) => All.Add(data);
    }
}
