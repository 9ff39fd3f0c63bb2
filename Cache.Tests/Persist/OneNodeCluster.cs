using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using StackExchange.Redis;

namespace Cache.Tests.Persist;

/// <summary>A client of a single server posing as a cluster node; tests can inspect its pipelines.</summary>
internal sealed class OneNodeCluster
{
    private readonly List<Task> _replies = [];

    public OneNodeCluster(IConnectionMultiplexer redis)
    {
        var database = Around<IDatabase>.Of(redis.GetDatabase(), (method, call) => method switch
        {
            "get_Multiplexer" => Client!,
            nameof(IDatabase.CreateBatch) => Pipeline((IBatch)call()!),
            _ => call(),
        });
        var servers = Array.ConvertAll(
            redis.GetServers(), server => Around<IServer>.Of(server, (method, call) => method == "get_ServerType" ? ServerType.Cluster : call()));
        Client = Around<IConnectionMultiplexer>.Of(redis, (method, call) => method switch
        {
            nameof(IConnectionMultiplexer.GetDatabase) => database,
            nameof(IConnectionMultiplexer.GetServers) => servers,
            _ => call(),
        });
    }

    public IConnectionMultiplexer Client { get; }

    /// <summary>The commands of each pipeline sent, and whether all earlier ones had been answered by then.</summary>
    public List<(string Commands, bool AllBeforeIsAnswered)> Pipelines { get; } = [];

    private IBatch Pipeline(IBatch pipeline)
    {
        var commands = new List<string>();
        var replies = new List<Task>();
        return Around<IBatch>.Of(pipeline, (method, call) =>
        {
            if (method == nameof(IBatch.Execute))
            {
                Pipelines.Add((string.Join(' ', commands), _replies.TrueForAll(reply => reply.IsCompleted)));
                _replies.AddRange(replies);
                return call();
            }

            commands.Add(method[..^"Async".Length]);
            replies.Add((Task)call()!);
            return replies[^1];
        });
    }

    [SuppressMessage("Performance", "CA1852", Justification = "DispatchProxy derives from it.")]
    private class Around<T> : DispatchProxy
        where T : class
    {
        private T _target = null!;
        private Func<string, Func<object?>, object?> _onCall = null!;

        public static T Of(T target, Func<string, Func<object?>, object?> onCall)
        {
            var proxy = Create<T, Around<T>>();
            ((Around<T>)(object)proxy)._target = target;
            ((Around<T>)(object)proxy)._onCall = onCall;
            return proxy;
        }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
            _onCall(targetMethod!.Name, () => targetMethod!.Invoke(_target, args));
    }
}
