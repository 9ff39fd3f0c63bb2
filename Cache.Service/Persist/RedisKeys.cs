using System.Globalization;
using Cache.Metrics;
using Cache.Service.Model;
using Cache.Service.Options;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>All keys in Redis, and the channel, each prefixed with <c>redis_key_prefix</c>.</summary>
internal sealed class RedisKeys(CacheOptions options)
{
    private readonly string _prefix = options.RedisKeyPrefix;

    /// <summary>Shows whether Redis still holds what was written (<see cref="RedisEpoch"/>).</summary>
    public RedisKey Epoch { get; } = options.RedisKeyPrefix + "cache:epoch";

    /// <summary>The index of replicas: the member is the id, the score when it last published its state, in milliseconds.</summary>
    public RedisKey Replicas { get; } = options.RedisKeyPrefix + "cache:replicas";

    /// <summary>The channel that carries one update per window and session written.</summary>
    public RedisChannel Updates { get; } = RedisChannel.Literal(options.RedisKeyPrefix + "cache:updates");

    /// <summary>The type of updates to sessions.</summary>
    public const string SessionType = "session";

    /// <summary>The index of a metric type: member and score are the window's start in milliseconds.</summary>
    public RedisKey Index(MetricType type) => $"{_prefix}metrics:{type.Key}:windows";

    /// <summary>The fields of one window.</summary>
    public RedisKey Window(MetricType type, long start) =>
        string.Create(CultureInfo.InvariantCulture, $"{_prefix}metrics:{type.Key}:{start}");

    /// <summary>The fields of one window.</summary>
    public RedisKey Window(WindowKey key) => Window(key.Type, key.Start);

    /// <summary>The index of active sessions: the member is the id, the score the end in milliseconds.</summary>
    public RedisKey Sessions { get; } = options.RedisKeyPrefix + "sessions:active";

    /// <summary>The fields of one session.</summary>
    public RedisKey Session(string id) => $"{_prefix}session:{id}";

    /// <summary>The state of one replica.</summary>
    public RedisKey Replica(string id) => $"{_prefix}cache:replica:{id}";
}
