namespace Cache.Tests.Simulation;

/// <summary>A way to a Redis that answers at once, for a test of one class; what is sent can be interfered with.</summary>
internal sealed class ImmediateConnection(SimulatedRedis redis) : SimulatedConnection(redis, "test")
{
    private readonly SimulatedRedis _redis = redis;

    /// <summary>Done once, before the next command of a name; false when that finds no connection.</summary>
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
