using StackExchange.Redis;

namespace Cache.Tests.Simulation;

/// <summary>A process's connection to Redis: the few members of the client library that the service uses, and no others.</summary>
internal class SimulatedConnection
{
    private readonly SimulatedRedis _redis;
    private readonly string _name;
    private readonly IDatabase _database;
    private readonly IServer _server;
    private EventHandler<ConnectionFailedEventArgs>? _changed;

    public SimulatedConnection(SimulatedRedis redis, string name)
    {
        (_redis, _name) = (redis, name);
        _database = Proxy.Of<IDatabase>((method, arguments) => OnDatabase(method, arguments));
        _server = Proxy.Of<IServer>((method, _) => OnServer(method));
        Multiplexer = Proxy.Of<IConnectionMultiplexer>(OnMultiplexer);
    }

    public IConnectionMultiplexer Multiplexer { get; }

    /// <summary>Makes calls fail as only a defect in the service would make them fail.</summary>
    public bool HasDefect { get; set; }

    /// <summary>The failure of those calls.</summary>
    protected virtual Exception Defect => new InvalidCastException("A defect.");

    /// <summary>Reports that the connection was lost and restored.</summary>
    public void Changed() => _changed?.Invoke(Multiplexer, null!);

    public override string ToString() => _name;

    /// <summary>Sends commands, in this order.</summary>
    protected virtual void Send(IReadOnlyList<RedisCommand> commands)
    {
        foreach (var command in commands)
        {
            if (HasDefect)
            {
                command.Fail(Defect);
            }
            else if (_redis.IsUnavailable)
            {
                command.Fail(new RedisConnectionException(
                    ConnectionFailureType.UnableToConnect, CommandFlags.None, "Redis is down.", null, CommandStatus.WaitingToBeSent));
            }
            else
            {
                _redis.Send(command);
            }
        }
    }

    /// <summary>Maps a call to its command.</summary>
    protected virtual RedisCommand CommandFor(string method, object?[] arguments)
    {
        var key = arguments[0]!.ToString()!;
        return method switch
        {
            nameof(IDatabase.StringGetAsync) => Make("GET", arguments, redis => redis.Epoch()),
            nameof(IDatabase.StringAppendAsync) => Make("APPEND", arguments, redis => redis.AppendToEpoch(arguments[1]!.ToString()!)),
            nameof(IDatabase.StringSetAsync) => Make("SET", arguments, redis => redis.SetEpoch(arguments[1]!.ToString()!, OnlyIfNone(arguments), null)),
            nameof(IDatabase.HashSetAsync) => Make("HSET", arguments, redis => redis.HashSet(key, (HashEntry[])arguments[1]!)),
            nameof(IDatabase.HashLengthAsync) => Make("HLEN", arguments, redis => redis.HashLength(key)),
            nameof(IDatabase.KeyExpireAsync) => Make("EXPIRE", arguments, redis => redis.Expire(key)),
            nameof(IDatabase.KeyTimeToLiveAsync) => Make("PTTL", arguments, _ => (TimeSpan?)null),
            nameof(IDatabase.KeyDeleteAsync) => Make("DEL", arguments, redis => redis.Delete(key)),
            nameof(IDatabase.SortedSetAddAsync) => Make("ZADD", arguments, redis => redis.IndexAdd(key, (SortedSetEntry[])arguments[1]!)),
            nameof(IDatabase.SortedSetRemoveAsync) => Make("ZREM", arguments, redis => redis.IndexRemove(key, ((RedisValue[])arguments[1]!).Select(member => member.ToString()))),
            nameof(IDatabase.SortedSetRemoveRangeByScoreAsync) => Make("ZREMRANGEBYSCORE", arguments, redis => redis.IndexRemoveUpTo(key, (double)arguments[2]!)),
            nameof(IDatabase.SortedSetRangeByRankAsync) => Make("ZRANGE", arguments, redis => redis.IndexRange(key, (long)arguments[1]!, (long)arguments[2]!)),
            nameof(IDatabase.SortedSetRangeByRankWithScoresAsync) => Make("ZRANGE", arguments, redis => redis.IndexLast(key)),
            _ => throw new NotSupportedException($"The simulation has no {method}."),
        };
    }

    protected RedisCommand<T> Make<T>(string name, object?[] arguments, Func<SimulatedRedis, T> apply) => new(this, name, arguments, apply);

    private static bool OnlyIfNone(object?[] arguments) =>
        Array.Exists(arguments, argument => argument is When.NotExists || (argument is ValueCondition condition && condition.Equals(ValueCondition.NotExists)));

    private object? OnDatabase(string method, object?[] arguments)
    {
        switch (method)
        {
            case "get_Multiplexer":
                return Multiplexer;
            case nameof(IDatabase.CreateBatch):
                return Pipeline();
            case nameof(IDatabase.CreateTransaction):
                return Transaction();
            case nameof(IDatabase.PublishAsync):
                return Task.FromResult(0L);
            default:
                var command = CommandFor(method, arguments);
                Send([command]);
                return AnswerOf(command);
        }
    }

    private IBatch Pipeline()
    {
        var commands = new List<RedisCommand>();
        return Proxy.Of<IBatch>((method, arguments) =>
        {
            if (method == nameof(IBatch.Execute))
            {
                Send(commands);
                return null;
            }

            commands.Add(CommandFor(method, arguments));
            return AnswerOf(commands[^1]);
        });
    }

    /// <summary>A transaction that replaces the epoch if it has not changed since it was read.</summary>
    private ITransaction Transaction()
    {
        string? replaces = null;
        string? value = null;
        return Proxy.Of<ITransaction>((method, arguments) =>
        {
            switch (method)
            {
                case nameof(ITransaction.AddCondition):
                    replaces = arguments[0]!.ToString()!.Split(" == ")[1];
                    return null;
                case nameof(ITransaction.StringSetAsync):
                    value = arguments[1]!.ToString()!;
                    return Task.FromResult(true);
                case nameof(ITransaction.ExecuteAsync):
                    var command = Make("SET", [replaces, value], redis => redis.SetEpoch(value!, false, replaces));
                    Send([command]);
                    return command.Answer;
                default:
                    throw new NotSupportedException($"The simulation has no {method} in a transaction.");
            }
        });
    }

    private object? OnMultiplexer(string method, object?[] arguments)
    {
        switch (method)
        {
            case nameof(IConnectionMultiplexer.GetDatabase):
                return _database;
            case nameof(IConnectionMultiplexer.GetServers):
                return new[] { _server };
            case "add_ConnectionRestored":
                _changed += (EventHandler<ConnectionFailedEventArgs>)arguments[0]!;
                return null;
            case "add_ConnectionFailed" or "add_ConfigurationChanged":
                return null;
            default:
                throw new NotSupportedException($"The simulation has no {method}.");
        }
    }

    private object? OnServer(string method)
    {
        switch (method)
        {
            case "get_IsConnected":
                return !_redis.IsUnavailable;
            case "get_IsReplica":
                return false;
            case "get_ServerType":
                return ServerType.Standalone;
            case nameof(IServer.InfoAsync):
                var command = Make("INFO", [], redis =>
                    new[] { new KeyValuePair<string, string>("run_id", redis.RunId) }.GroupBy(_ => "Server").ToArray());
                Send([command]);
                return command.Answer;
            default:
                throw new NotSupportedException($"The simulation has no {method}.");
        }
    }

    private static Task AnswerOf(RedisCommand command) => command switch
    {
        RedisCommand<bool> answers => answers.Answer,
        RedisCommand<long> answers => answers.Answer,
        RedisCommand<RedisValue> answers => answers.Answer,
        RedisCommand<RedisValue[]> answers => answers.Answer,
        RedisCommand<SortedSetEntry[]> answers => answers.Answer,
        RedisCommand<TimeSpan?> answers => answers.Answer,
        _ => throw new NotSupportedException(),
    };
}
