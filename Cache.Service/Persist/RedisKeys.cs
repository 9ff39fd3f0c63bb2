using System.Globalization;
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

    /// <summary>The channel that carries one update per window and session written.</summary>
    public RedisChannel Updates { get; } = RedisChannel.Literal(options.RedisKeyPrefix + "cache:updates");

    /// <summary>The index of a metric type: member and score are the window's start in milliseconds.</summary>
    public RedisKey Index(RowKind kind) => $"{_prefix}metrics:{Segment(kind)}:windows";

    /// <summary>The fields of one window.</summary>
    public RedisKey Window(RowKind kind, long start) =>
        string.Create(CultureInfo.InvariantCulture, $"{_prefix}metrics:{Segment(kind)}:{start}");

    /// <summary>The fields of one window.</summary>
    public RedisKey Window(WindowKey key) => Window(key.Kind, key.Start);

    /// <summary>The index of active sessions: the member is the id, the score the end in milliseconds.</summary>
    public RedisKey Sessions { get; } = options.RedisKeyPrefix + "sessions:active";

    /// <summary>The fields of one session.</summary>
    public RedisKey Session(string id) => $"{_prefix}session:{id}";

    /// <summary>The metric type's name in updates and metrics.</summary>
    public static string TypeName(RowKind kind) => kind switch
    {
        RowKind.Event => "event",
        RowKind.Session => "session",
        _ => "performance",
    };

    private static string Segment(RowKind kind) => kind == RowKind.Event ? "event" : "perf";
}
