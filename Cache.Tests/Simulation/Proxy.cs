using System.Reflection;
using Confluent.Kafka;

namespace Cache.Tests.Simulation;

/// <summary>Implements an interface of a client library by forwarding calls by name: of its hundreds, the service uses few.</summary>
public class Proxy : DispatchProxy
{
    private Func<string, object?[], object?> _onCall = null!;

    public static T Of<T>(Func<string, object?[], object?> onCall)
        where T : class
    {
        // Creating a proxy takes reflection, and a schedule needs a hundred; cloning one takes none.
        var proxy = (Proxy)First<T>.Proxy.MemberwiseClone();
        proxy._onCall = onCall;
        return (T)(object)proxy;
    }

    /// <summary>A fake client of Kafka has no native handle.</summary>
    protected override object? Invoke(MethodInfo? targetMethod, object?[]? args) =>
        targetMethod!.Name == $"get_{nameof(IClient.Handle)}" ? null : _onCall(targetMethod.Name, args ?? []);

    private static class First<T>
        where T : class
    {
        public static readonly Proxy Proxy = (Proxy)(object)Create<T, Proxy>();
    }
}
