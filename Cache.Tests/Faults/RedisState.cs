using StackExchange.Redis;

namespace Cache.Tests.Faults;

/// <summary>Every key of a Redis, as it is now.</summary>
internal sealed class RedisState
{
    private const string EpochKey = "cache:epoch";

    public Dictionary<string, Dictionary<string, string>> Hashes { get; } = [];

    public Dictionary<string, Dictionary<string, double>> Indices { get; } = [];

    /// <summary>Keys that never expire, other than the epoch.</summary>
    public List<string> Lasting { get; } = [];

    /// <summary>Keys of a type that the service does not write.</summary>
    public List<string> Foreign { get; } = [];

    public string Epoch { get; set; } = "";

    /// <summary>The epoch's id; another one says that everything is being written again.</summary>
    public string EpochId => Epoch.Split(' ')[0];

    /// <summary>Whether the epoch names a partition, <c>topic/number</c>.</summary>
    public bool Covers(string partition) => Epoch.Split(' ').Contains(partition);

    /// <summary>Reads all keys. Not at one moment: what changes meanwhile is seen before or after.</summary>
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

        state.Epoch = (await database.StringGetAsync(EpochKey)).ToString();
        var keys = new HashSet<string>();
        foreach (var server in primaries)
        {
            await foreach (var key in server.KeysAsync(pageSize: 1000))
            {
                keys.Add(key.ToString());
            }
        }

        keys.Remove(EpochKey);
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

        return state;
    }
}
