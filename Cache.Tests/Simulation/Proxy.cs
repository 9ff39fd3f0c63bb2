using System.Reflection;

namespace Cache.Tests.Simulation;

/// <summary>An implementation of a client library's interface that hands each call on by its name: of hundreds the service uses few.</summary>
public class Proxy : DispatchProxy
{
    private Func<string, object?[], object?> _onCall = null!;

    public static T Of<T>(Func<string, object?[], object?> onCall)
        where T : class
    {
        var proxy = Create<T, Proxy>();
        ((Proxy)(object)proxy)._onCall = onCall;
        return proxy;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) => _onCall(targetMethod!.Name, args ?? []);
}
