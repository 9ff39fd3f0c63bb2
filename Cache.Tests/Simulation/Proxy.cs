using System.Reflection;

namespace Cache.Tests.Simulation;

/// <summary>An implementation of a client library's interface that hands each call on by its name: of hundreds the service uses few.</summary>
public class Proxy : DispatchProxy
{
    private Func<string, object?[], object?> _onCall = null!;

    public static T Of<T>(Func<string, object?[], object?> onCall)
        where T : class
    {
        // Making one takes reflection, and a schedule needs a hundred; copying it takes none.
        var proxy = (Proxy)First<T>.Proxy.MemberwiseClone();
        proxy._onCall = onCall;
        return (T)(object)proxy;
    }

    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) => _onCall(targetMethod!.Name, args ?? []);

    private static class First<T>
        where T : class
    {
        public static readonly Proxy Proxy = (Proxy)(object)Create<T, Proxy>();
    }
}
