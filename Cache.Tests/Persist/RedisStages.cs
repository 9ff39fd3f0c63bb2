using System.Globalization;
using Cache.Metrics;
using Cache.Service.Consume;
using Cache.Service.Enqueue;
using Cache.Service.Flush;
using Cache.Service.Http;
using Cache.Service.Http.Query;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using StackExchange.Redis;

namespace Cache.Tests.Persist;

/// <summary>The stages that talk to Redis, wired up as in the service, and what they write there.</summary>
internal sealed class RedisStages
{
    private readonly IConnectionMultiplexer _redis;

    public RedisStages(IConnectionMultiplexer redis, int retention = 120, int ttlSeconds = 21600, string? prefix = null, TimeProvider? time = null, int dimensions = 10_000, string kafka = "", string kafkaProperty = "fetch.wait.max.ms", IConnectionMultiplexer? readers = null)
    {
        _redis = redis;
        Options = new CacheOptions
        {
            RedisKeyPrefix = prefix ?? $"{Guid.NewGuid():N}:",
            WindowRetentionCount = retention,
            WindowHashTtlSeconds = ttlSeconds,
            WindowMaxDimensions = dimensions,
            KafkaBootstrapServers = kafka,
            KafkaProperties = new Dictionary<string, string> { [kafkaProperty] = "5" },
        };
        var services = new ServiceCollection().AddMetrics().AddSingleton(redis).AddKeyedSingleton(RedisConnection.Name, readers ?? redis).AddSingleton(Options).AddSingleton(time ?? TimeProvider.System)
            .AddPartitions().AddEnqueue().AddConsume().AddPersist().AddFlush().AddHttp()
            .AddSingleton<WindowReader>().AddSingleton<SessionReader>()
            .BuildServiceProvider();
        Services = services;
        Keys = services.GetRequiredService<RedisKeys>();
        Store = services.GetRequiredService<WindowStore>();
        Reader = services.GetRequiredService<WindowReader>();
        Sessions = services.GetRequiredService<SessionReader>();
        Assignment = services.GetRequiredService<Assignment>();
        Rebuilds = services.GetRequiredService<RebuildRequests>();
        time ??= TimeProvider.System;
        Membership = new Membership(TimeSpan.FromHours(1), time);
        Membership.Proved(time.GetTimestamp());
        Epoch = new RedisEpoch(services.GetRequiredService<RedisConnection>(), Keys, Assignment, Membership, Rebuilds, NullLogger<RedisEpoch>.Instance);
    }

    public IServiceProvider Services { get; }

    public CacheOptions Options { get; }

    public RedisKeys Keys { get; }

    public WindowStore Store { get; }

    public WindowReader Reader { get; }

    public SessionReader Sessions { get; }

    public RedisEpoch Epoch { get; }

    public Assignment Assignment { get; }

    public Membership Membership { get; }

    public RebuildRequests Rebuilds { get; }

    public IDatabase Database => _redis.GetDatabase();

    public ISubscriber Subscriber => _redis.GetSubscriber();

    /// <summary>Writes rows as one batch.</summary>
    public Task<WriteResult> WriteAsync(params IEnumerable<Row> rows) => WriteAsync(TestRows.Batch(rows));

    /// <summary>Writes a batch like the flush does.</summary>
    public async Task<WriteResult> WriteAsync(Batch batch)
    {
        await Store.LimitAsync(batch);
        return await Store.WriteAsync(batch);
    }

    /// <summary>The windows in the index, oldest first.</summary>
    public async Task<long[]> IndexAsync(MetricType? type = null) =>
        Array.ConvertAll(await Database.SortedSetRangeByRankAsync(Keys.Index(type ?? MetricType.Event)), start => (long)start);

    /// <summary>The fields of a window, as text.</summary>
    public async Task<Dictionary<string, string>> HashAsync(long start, MetricType? type = null) =>
        (await Database.HashGetAllAsync(Keys.Window(type ?? MetricType.Event, start))).ToDictionary(field => field.Name.ToString(), field => field.Value.ToString());

    /// <summary>Every key under the prefix, without it, and what it holds.</summary>
    public async Task<SortedDictionary<string, string>> ContentAsync()
    {
        var content = new SortedDictionary<string, string>(StringComparer.Ordinal);
        await foreach (var key in _redis.GetServers()[0].KeysAsync(pattern: Options.RedisKeyPrefix + "*", pageSize: 1000))
        {
            content.Add(key.ToString()[Options.RedisKeyPrefix.Length..], await HeldByAsync(key));
        }

        return content;
    }

    private async Task<string> HeldByAsync(RedisKey key) => await Database.KeyTypeAsync(key) switch
    {
        RedisType.Hash => Hash((await Database.HashGetAllAsync(key)).Select(field => (field.Name.ToString(), field.Value.ToString()))),
        RedisType.SortedSet => SortedSet((await Database.SortedSetRangeByRankWithScoresAsync(key)).Select(entry => (entry.Element.ToString(), entry.Score))),
        _ => (await Database.StringGetAsync(key)).ToString(),
    };

    /// <summary>How <see cref="ContentAsync"/> shows a hash.</summary>
    public static string Hash(IEnumerable<(string Name, string Value)> fields) =>
        string.Join(' ', fields.OrderBy(field => field.Name, StringComparer.Ordinal).Select(field => $"{field.Name}={field.Value}"));

    /// <summary>How <see cref="ContentAsync"/> shows an index of windows.</summary>
    public static string SortedSet(IEnumerable<(long Member, double Score)> entries) =>
        SortedSet(entries.Select(entry => (entry.Member.ToString(CultureInfo.InvariantCulture), entry.Score)));

    /// <summary>How <see cref="ContentAsync"/> shows a sorted set.</summary>
    public static string SortedSet(IEnumerable<(string Member, double Score)> entries) =>
        string.Join(' ', entries.Select(entry => string.Create(CultureInfo.InvariantCulture, $"{entry.Member}:{entry.Score}")));
}
