using System.Globalization;
using Cache.Service.Model;
using Cache.Service.Options;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>Every key in Redis, and the channel; all of them behind <c>redis_key_prefix</c>.</summary>
internal sealed class RedisKeys(CacheOptions options)
{
    private readonly string _prefix = options.RedisKeyPrefix;

    /// <summary>Tells whether Redis still holds what was written (<see cref="RedisEpoch"/>).</summary>
    public RedisKey Epoch { get; } = options.RedisKeyPrefix + "cache:epoch";

    /// <summary>Gets one message a touched window after each flush.</summary>
    public RedisChannel Updates { get; } = RedisChannel.Literal(options.RedisKeyPrefix + "cache:updates");

    /// <summary>The windows there are of a type: member and score are the window's start in milliseconds.</summary>
    public RedisKey Index(RowKind kind) => $"{_prefix}metrics:{Segment(kind)}:windows";

    /// <summary>The fields of one window.</summary>
    public RedisKey Window(RowKind kind, long start) =>
        string.Create(CultureInfo.InvariantCulture, $"{_prefix}metrics:{Segment(kind)}:{start}");

    /// <summary>The fields of one window.</summary>
    public RedisKey Window(WindowKey key) => Window(key.Kind, key.Start);

    /// <summary>The active sessions: the member is the id, the score the end in milliseconds.</summary>
    public RedisKey Sessions { get; } = options.RedisKeyPrefix + "sessions:active";

    /// <summary>The fields of one session.</summary>
    public RedisKey Session(string id) => $"{_prefix}session:{id}";

    /// <summary>The type as it stands in messages and metrics.</summary>
    public static string TypeName(RowKind kind) => kind switch
    {
        RowKind.Event => "event",
        RowKind.Session => "session",
        _ => "performance",
    };

    private static string Segment(RowKind kind) => kind == RowKind.Event ? "event" : "perf";
}
