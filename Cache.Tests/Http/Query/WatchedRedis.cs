using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using StackExchange.Redis;

namespace Cache.Tests.Http.Query;

/// <summary>A client that records every call, and lets a test act before one.</summary>
internal sealed class WatchedRedis
{
    private readonly Dictionary<string, Func<Task>> _before = [];

    public WatchedRedis(IConnectionMultiplexer redis)
    {
        var database = Proxy<IDatabase>.Around(redis.GetDatabase(), (method, call) =>
        {
            lock (Calls)
            {
                Calls.Add(method.Name);
            }

            _before.GetValueOrDefault(method.Name)?.Invoke().GetAwaiter().GetResult();
            return call();
        });
        Client = Proxy<IConnectionMultiplexer>.Around(
            redis, (method, call) => method.Name == nameof(IConnectionMultiplexer.GetDatabase) ? database : call());
    }

    public IConnectionMultiplexer Client { get; }

    /// <summary>The calls to the database, in order.</summary>
    public List<string> Calls { get; } = [];

    public void Before(string call, Func<Task> action) => _before[call] = action;

    [SuppressMessage("Performance", "CA1852", Justification = "DispatchProxy derives from it.")]
    private class Proxy<T> : DispatchProxy
        where T : class
    {
        private T _target = null!;
        private Func<MethodInfo, Func<object?>, object?> _around = null!;

        public static T Around(T target, Func<MethodInfo, Func<object?>, object?> around)
        {
            var proxy = Create<T, Proxy<T>>();
            ((Proxy<T>)(object)proxy)._target = target;
            ((Proxy<T>)(object)proxy)._around = around;
            return proxy;
        }

        protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
            _around(targetMethod!, () => targetMethod!.Invoke(_target, args));
    }
}
