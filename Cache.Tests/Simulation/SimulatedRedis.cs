using StackExchange.Redis;

namespace Cache.Tests.Simulation;

/// <summary>
/// A Redis server. Commands of all clients queue in the order of their arrival until the schedule executes them; before that,
/// a command may be lost, and after it, its reply.
/// </summary>
internal sealed class SimulatedRedis(Promises promises)
{
    private readonly List<RedisCommand> _inbox = [];
    private RedisData _data = new();
    private RedisData? _saved;
    private int _starts = 1;
    private int _refusals;
    private string _refusal = "";

    /// <summary>Its data.</summary>
    public RedisData Data => _data;

    /// <summary>Changes whenever the server starts.</summary>
    public string RunId => $"run{_starts}";

    /// <summary>Whether it refuses connections.</summary>
    public bool IsUnavailable { get; set; }

    /// <summary>Number of commands sent but not yet executed.</summary>
    public int Waiting => _inbox.Count;

    /// <summary>Whether a command of this client has not been executed yet.</summary>
    public bool IsWaitedForBy(SimulatedConnection client) => _inbox.Exists(command => command.From == client);

    public void Send(RedisCommand command) => _inbox.Add(command);

    /// <summary>Executes the next command, and replies.</summary>
    public void DoNext()
    {
        var command = _inbox[0];
        _inbox.RemoveAt(0);
        if (_refusals > 0)
        {
            _refusals--;
            promises.Trace?.Add($"redis: {command} refused: {_refusal}");
            command.Fail(new RedisServerException(default, CommandFlags.None, _refusal));
            return;
        }

        command.Do(this);
        promises.Trace?.Add($"redis: {command}");
    }

    /// <summary>Fails the next commands with an error.</summary>
    public void Refuse(int commands, string error) => (_refusals, _refusal) = (commands, error);

    /// <summary>
    /// Breaks a client's connection, or lets its commands time out. Some of those already sent still arrive, without its knowing:
    /// the first few, or all after a timeout.
    /// </summary>
    public void Lose(SimulatedConnection client, Random random, Exception failure)
    {
        var sent = _inbox.FindAll(command => command.From == client);
        var arrive = failure is RedisTimeoutException ? sent.Count : random.Next(sent.Count + 1);
        promises.Trace?.Add($"redis: {client} lost {sent.Count} answers ({failure.GetType().Name}), {arrive} commands come through");
        foreach (var command in sent[arrive..])
        {
            _inbox.Remove(command);
        }

        sent.ForEach(command => command.Fail(failure));
    }

    /// <summary>Saves the data, for <see cref="Restart"/>.</summary>
    public void Save() => _saved = _data.Copy();

    /// <summary>Restarts it, empty or with the data last saved.</summary>
    public void Restart(bool empty)
    {
        _data = empty || _saved is null ? new() : _saved.Copy();
        _starts++;
        promises.Trace?.Add($"redis: starts anew as {RunId} with epoch \"{_data.Epoch}\"");
        promises.EpochIs(null);
        promises.EpochIs(_data.Epoch);
    }

    /// <summary>Loses all data, without a restart.</summary>
    public void Empty()
    {
        _data = new();
        promises.Trace?.Add("redis: emptied");
        promises.EpochIs(null);
    }

    public bool HashSet(string key, HashEntry[] entries)
    {
        var hash = _data.Hashes.TryGetValue(key, out var there) ? there : _data.Hashes[key] = new();
        foreach (var entry in entries)
        {
            var (name, value) = (entry.Name.ToString(), entry.Value.ToString());
            promises.Written(name, hash.Fields.GetValueOrDefault(name), value);
            hash.Fields[name] = value;
        }

        return true;
    }

    public long HashLength(string key) => _data.Hashes.TryGetValue(key, out var hash) ? hash.Fields.Count : 0;

    public bool Expire(string key)
    {
        if (_data.Hashes.TryGetValue(key, out var hash))
        {
            return hash.Expires = true;
        }

        return _data.Indices.TryGetValue(key, out var index) && (index.Expires = true);
    }

    public long IndexAdd(string key, SortedSetEntry[] entries)
    {
        var index = _data.Indices.TryGetValue(key, out var there) ? there : _data.Indices[key] = new();
        foreach (var entry in entries)
        {
            index.Scores[entry.Element.ToString()] = entry.Score;
        }

        return entries.Length;
    }

    public SortedSetEntry[] IndexLast(string key) =>
        _data.Indices.TryGetValue(key, out var index) && index.InOrder.LastOrDefault() is { } last ? [new(last, index.Scores[last])] : [];

    public RedisValue[] IndexRange(string key, long from, long to)
    {
        if (!_data.Indices.TryGetValue(key, out var index))
        {
            return [];
        }

        var count = index.Scores.Count;
        var first = (int)(from < 0 ? Math.Max(0, count + from) : from);
        var last = (int)(to < 0 ? count + to : Math.Min(to, count - 1));
        return last < first ? [] : [.. index.InOrder.Skip(first).Take(last - first + 1).Select(member => (RedisValue)member)];
    }

    public long IndexRemove(string key, IEnumerable<string> members)
    {
        if (!_data.Indices.TryGetValue(key, out var index))
        {
            return 0;
        }

        var removed = members.Count(index.Scores.Remove);
        if (index.Scores.Count == 0)
        {
            _data.Indices.Remove(key);
        }

        return removed;
    }

    public long IndexRemoveUpTo(string key, double score) =>
        _data.Indices.TryGetValue(key, out var index)
            ? IndexRemove(key, [.. index.Scores.Where(member => member.Value <= score).Select(member => member.Key)])
            : 0;

    public bool Delete(string key)
    {
        if (_data.Hashes.Remove(key))
        {
            promises.Deleted(key);
            return true;
        }

        return false;
    }

    public RedisValue Epoch() => _data.Epoch is { } epoch ? epoch : RedisValue.Null;

    public bool SetEpoch(string value, bool onlyIfThere, string? replaces)
    {
        if ((onlyIfThere && _data.Epoch is not null) || (replaces is not null && _data.Epoch != replaces))
        {
            return false;
        }

        _data.Epoch = value;
        promises.EpochIs(null);
        promises.EpochIs(value);
        return true;
    }

    public long AppendToEpoch(string value)
    {
        _data.Epoch += value;
        promises.EpochIs(_data.Epoch);
        return _data.Epoch.Length;
    }
}

/// <summary>The data of a Redis server.</summary>
internal sealed class RedisData
{
    public Dictionary<string, Hash> Hashes { get; private init; } = [];

    public Dictionary<string, Index> Indices { get; private init; } = [];

    public string? Epoch { get; set; }

    public RedisData Copy() => new()
    {
        Hashes = Hashes.ToDictionary(hash => hash.Key, hash => hash.Value.Copy()),
        Indices = Indices.ToDictionary(index => index.Key, index => index.Value.Copy()),
        Epoch = Epoch,
    };

    internal sealed class Hash
    {
        public Dictionary<string, string> Fields { get; private init; } = [];

        public bool Expires { get; set; }

        public Hash Copy() => new() { Fields = new(Fields), Expires = Expires };
    }

    internal sealed class Index
    {
        public Dictionary<string, double> Scores { get; private init; } = [];

        public IEnumerable<string> InOrder =>
            Scores.OrderBy(member => member.Value).ThenBy(member => member.Key, StringComparer.Ordinal).Select(member => member.Key);

        public bool Expires { get; set; }

        public Index Copy() => new() { Scores = new(Scores), Expires = Expires };
    }
}

/// <summary>A command in flight to Redis, and its reply.</summary>
internal abstract class RedisCommand(SimulatedConnection from, string name, object?[] arguments)
{
    public SimulatedConnection From { get; } = from;

    public string Name { get; } = name;

    public object?[] Arguments { get; } = arguments;

    /// <summary>Whether it got an error, or no reply at all.</summary>
    public bool HasFailed { get; private set; }

    public abstract void Do(SimulatedRedis redis);

    /// <summary>Replies as if it had been executed.</summary>
    public abstract void Pretend();

    public virtual void Fail(Exception failure) => HasFailed = true;

    public override string ToString() => $"{From} {Name} {string.Join(' ', Arguments.Select(Text))}";

    private static string Text(object? argument) => argument switch
    {
        Array several => string.Join(' ', several.Cast<object>()),
        null => "",
        Enum => "",
        _ => argument.ToString()!,
    };
}

/// <inheritdoc/>
internal sealed class RedisCommand<T>(SimulatedConnection from, string name, object?[] arguments, Func<SimulatedRedis, T> apply)
    : RedisCommand(from, name, arguments)
{
    private readonly TaskCompletionSource<T> _answer = new();

    public Task<T> Answer => _answer.Task;

    public override void Do(SimulatedRedis redis) => _answer.TrySetResult(apply(redis));

    public override void Pretend() => _answer.TrySetResult(default!);

    public override void Fail(Exception failure)
    {
        base.Fail(failure);
        if (_answer.TrySetException(failure))
        {
            // Observed, because the caller ignores other failures after the first.
            _ = _answer.Task.Exception;
        }
    }
}
