using StackExchange.Redis;

namespace Cache.Tests.Faults;

/// <summary>The value of <c>cache:epoch</c>: an id, and the partitions of which everything committed is in Redis.</summary>
internal readonly record struct Epoch(string Value)
{
    private const string Key = "cache:epoch";

    /// <summary>The id; a new one means that everything is being rewritten.</summary>
    public string Id => Value.Split(' ')[0];

    /// <summary>Whether it lists a partition, <c>topic/number</c>.</summary>
    public bool Names(string partition) => Value.Split(' ').Contains(partition);

    /// <summary>Reads it from Redis.</summary>
    public static async Task<Epoch> ReadAsync(IConnectionMultiplexer redis) => new((await redis.GetDatabase().StringGetAsync(Key)).ToString());

    /// <summary>Whether a key is that of the epoch.</summary>
    public static bool IsAt(string key) => key == Key;

    public override string ToString() => Value;
}

/// <summary>All keys of a Redis, except for those of the replicas.</summary>
internal sealed class RedisState
{
    public Dictionary<string, Dictionary<string, string>> Hashes { get; } = [];

    public Dictionary<string, Dictionary<string, double>> Indices { get; } = [];

    /// <summary>Keys without a TTL, other than the epoch.</summary>
    public List<string> Lasting { get; } = [];

    /// <summary>Keys of a type that the service does not write.</summary>
    public List<string> Foreign { get; } = [];

    public Epoch Epoch { get; set; } = new("");

    /// <summary>The part within the time range of a log, if others wrote windows outside of it.</summary>
    public RedisState Of(KafkaLog log)
    {
        var entries = log.Entries.Values.ToList();
        var (first, last) = (entries.Min(entry => entry.Score), entries.Max(entry => entry.Score));
        var state = new RedisState { Epoch = Epoch };
        foreach (var (name, index) in Indices)
        {
            state.Indices[name] = index.Where(member => member.Value >= first && member.Value <= last).ToDictionary();
        }

        foreach (var (name, hash) in Hashes.Where(hash => long.TryParse(hash.Key.Split(':')[^1], out var start) && start >= first && start <= last))
        {
            state.Hashes[name] = hash;
        }

        return state;
    }

    /// <summary>Reads all keys. Not atomically: concurrent changes may or may not be included.</summary>
    public static async Task<RedisState> ReadAsync(IConnectionMultiplexer redis)
    {
        var state = new RedisState();
        var database = redis.GetDatabase();
        var servers = redis.GetServers();
        var primaries = Array.FindAll(servers, server => server is { IsConnected: true, IsReplica: false });
        if (primaries.Length == 0)
        {
            throw new TimeoutException("No primary answers.");
        }

        var keys = new HashSet<string>();
        foreach (var server in primaries)
        {
            await foreach (var key in server.KeysAsync(pageSize: 1000))
            {
                keys.Add(key.ToString());
            }
        }

        // Replicas come and go.
        keys.RemoveWhere(key => Epoch.IsAt(key) || key.StartsWith("cache:replica", StringComparison.Ordinal));
        var pipeline = database.CreateBatch();
        var reads = keys.Select(key => (Key: key, Type: pipeline.KeyTypeAsync(key), Life: pipeline.KeyTimeToLiveAsync(key))).ToList();
        pipeline.Execute();
        await Task.WhenAll(reads.SelectMany(read => new Task[] { read.Type, read.Life }));
        pipeline = database.CreateBatch();
        var hashes = new List<(string Key, Task<HashEntry[]> Fields)>();
        var indices = new List<(string Key, Task<SortedSetEntry[]> Members)>();
        foreach (var (key, type, life) in reads)
        {
            if (type.Result == RedisType.Hash)
            {
                hashes.Add((key, pipeline.HashGetAllAsync(key)));
            }
            else if (type.Result == RedisType.SortedSet)
            {
                indices.Add((key, pipeline.SortedSetRangeByRankWithScoresAsync(key)));
            }
            else if (type.Result != RedisType.None)
            {
                state.Foreign.Add(key);
            }

            if (life.Result is null && type.Result != RedisType.None)
            {
                state.Lasting.Add(key);
            }
        }

        pipeline.Execute();
        foreach (var (key, read) in hashes)
        {
            if (await read is { Length: > 0 } fields)
            {
                state.Hashes[key] = fields.ToStringDictionary();
            }
        }

        foreach (var (key, read) in indices)
        {
            if (await read is { Length: > 0 } members)
            {
                state.Indices[key] = members.ToDictionary(member => member.Element.ToString(), member => member.Score);
            }
        }

        // Last: if a new one was created meanwhile, what was read may be being rewritten.
        state.Epoch = await Epoch.ReadAsync(redis);
        return state;
    }
}
