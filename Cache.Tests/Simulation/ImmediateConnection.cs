namespace Cache.Tests.Simulation;

/// <summary>A connection to a Redis that replies at once, for tests of a single class; a test can interfere with its commands.</summary>
internal sealed class ImmediateConnection(SimulatedRedis redis) : SimulatedConnection(redis, "test")
{
    private readonly SimulatedRedis _redis = redis;

    /// <summary>Called once, before the next command with this name; returns false to lose the connection.</summary>
    public (string Command, Func<bool> Comes)? Before { get; set; }

    protected override void Send(IReadOnlyList<RedisCommand> commands)
    {
        if (Before is var (name, comes) && commands.Any(command => command.Name == name))
        {
            Before = null;
            _redis.IsUnavailable = !comes();
        }

        base.Send(commands);
        _redis.IsUnavailable = false;
        while (_redis.Waiting > 0)
        {
            _redis.DoNext();
        }
    }
}
