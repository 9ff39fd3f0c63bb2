using System.Text.RegularExpressions;
using Cache.Service.Telemetry;
using Cache.Tests.EndToEnd;
using StackExchange.Redis;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Persist;

/// <summary>The service as a Redis user with restricted permissions.</summary>
public sealed partial class RedisAclTests : IAsyncDisposable
{
    private const string Password = "s3cret-Pass";

    private RedisServer? _redis;

    public async ValueTask DisposeAsync()
    {
        if (_redis is not null)
        {
            await _redis.DisposeAsync();
        }
    }

    [Fact]
    public async Task UserWithoutInfo_DetectsARedisRestoredFromAnOldSnapshot_ByItsScriptCache()
    {
        await using var stack = await PrepareAsync("~*", "&*", "+@all", "-@admin", "-@dangerous");
        await stack.StartServiceAsync();

        await OldSnapshotIsMendedAsync(stack);

        Assert.Single(stack.Service.Log, line => line.Contains("detected by its script cache", StringComparison.Ordinal));
        Assert.Equal("script_cache", (await stack.GetAsync("/pipeline")).GetProperty("redis_restarts_seen_by").GetString());
    }

    [Fact]
    public async Task UserWithoutInfo_ReadsNothingAgain_WhenOnlyItsConnectionsBreak()
    {
        await using var stack = await PrepareAsync("~*", "&*", "+@all", "-@admin", "-@dangerous");
        await stack.StartServiceAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stack.EverythingIsCommittedAsync();
        await stack.CoveredAsync();
        var epoch = await stack.Database.StringGetAsync("cache:epoch");

        await stack.Database.ExecuteAsync("CLIENT", "KILL", "USER", "cache");
        await stack.Kafka.SendAsync(Events, 0, Event(Window(2), "a", 2));
        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(2)}},"a.count":2}""");
        await stack.RestartServiceAsync();
        await stack.ReadyAsync();

        Assert.Equal(epoch, await stack.Database.StringGetAsync("cache:epoch"));
        Assert.DoesNotContain(stack.Service.Log, line => line.Contains("New epoch", StringComparison.Ordinal));
    }

    [Fact]
    public async Task UserWithNeitherInfoNorScripts_GetsOneWarning()
    {
        await using var stack = await PrepareAsync("~*", "&*", "+@all", "-@admin", "-@dangerous", "-@scripting");
        await stack.StartServiceAsync();
        await stack.ReadyAsync();

        await Eventually.HoldsAsync(async () => Assert.Equal("nothing", (await stack.GetAsync("/pipeline")).GetProperty("redis_restarts_seen_by").GetString()));
        await stack.Database.ExecuteAsync("CLIENT", "KILL", "USER", "cache");
        await stack.ReadyAsync();
        Assert.Single(stack.Service.Log, line => line.Contains("Grant +info", StringComparison.Ordinal));
    }

    [Fact]
    public async Task UserWithTheAclFromTheDocs_CanDoEverythingTheServiceNeeds()
    {
        var line = AclLine().Match(await File.ReadAllTextAsync(Repository.File("docs", "operations.md"), TestContext.Current.CancellationToken));
        Assert.True(line.Success, "docs/operations.md has no line ACL SETUSER cache …");
        await using var stack = await PrepareAsync([.. line.Groups["rules"].Value.Trim().Split(' ')]);
        stack.Set("cache_kafka_topics", $"{Events},{Performance},{Sessions}");
        stack.Broker.CreateTopic(Sessions, partitions: 1);
        await stack.StartServiceAsync();
        await stack.ReadyAsync();
        var updates = await stack.SubscribeAsync();
        var now = TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds();
        await stack.Kafka.SendAsync(Sessions, 0, Session("s", now, "u"));
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(1), "tv", 1));
        await Eventually.HoldsAsync(async () => Assert.Contains("\"s\"", (await stack.AskAsync("/sessions/active")).Body, StringComparison.Ordinal));
        await stack.EventuallyAnswersAsync("/metrics/performance/latest", $$"""{"window_start":{{Window(1)}},"tv.avg_load_time":1}""");

        // Covers retention, too.
        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 130).Select(minute => Event(Window(minute), "a", minute)));
        await stack.EverythingIsCommittedAsync();
        Assert.Equal(120, await stack.Database.SortedSetLengthAsync("metrics:event:windows"));
        Assert.NotEmpty(updates);

        // What is read of other replicas, one that is gone included.
        await stack.Database.SortedSetAddAsync("cache:replicas", "gone", now);
        await Eventually.HoldsAsync(async () =>
        {
            Assert.True((await stack.GetAsync("/fleet")).GetProperty("complete").GetBoolean());
            Assert.Equal([stack.Service.Get<ThisReplica>().Id], (await stack.Database.SortedSetRangeByRankAsync("cache:replicas")).ToStringArray());
        });
        await OldSnapshotIsMendedAsync(stack);

        Assert.Equal("run_id", (await stack.GetAsync("/pipeline")).GetProperty("redis_restarts_seen_by").GetString());
        Assert.DoesNotContain(stack.Service.Log, line => line.Contains("NOPERM", StringComparison.Ordinal));

        // The client probes the server on its own, and copes with what it may not see.
        var refused = ((RedisResult[])(await stack.Database.ExecuteAsync("ACL", "LOG"))!).Select(entry => (string?)entry.ToDictionary()["object"]);
        Assert.Equal([], refused.Except(["__Booksleeve_TieBreak", "config|get", "cluster|nodes", "cluster|slots"]));
    }

    /// <summary>Writes a row, takes a snapshot, writes another row, and restarts Redis from the snapshot.</summary>
    private async Task OldSnapshotIsMendedAsync(InProcessStack stack)
    {
        await stack.Kafka.SendAsync(Events, 0, Event(Window(200), "a", 1));
        await stack.EverythingIsCommittedAsync(Events, Performance);
        await Eventually.HoldsAsync(async () => Assert.Contains("event_metrics/0", (await stack.Database.StringGetAsync("cache:epoch")).ToString(), StringComparison.Ordinal));
        await stack.Database.ExecuteAsync("SAVE");
        await stack.Kafka.SendAsync(Events, 0, Event(Window(201), "b", 2));
        await stack.EverythingIsCommittedAsync(Events, Performance);

        await _redis!.RestartFromDiskAsync();

        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(201)}},"b.count":2}""");
    }

    private async Task<InProcessStack> PrepareAsync(params string[] rules)
    {
        _redis = await RedisServer.StartAsync(null, ["--user", "cache", "on", $">{Password}", .. rules]);
        var stack = await InProcessStack.PrepareAsync(_redis.ConnectionString);
        stack.Set("ConnectionStrings:redis", $"{_redis.ConnectionString},user=cache,password={Password}");
        return stack;
    }

    [GeneratedRegex("ACL SETUSER cache on >\\S+ (?<rules>.+)")]
    private static partial Regex AclLine();
}
