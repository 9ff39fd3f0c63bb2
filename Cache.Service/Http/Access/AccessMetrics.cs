using System.Diagnostics.Metrics;
using Cache.Service.Telemetry;

namespace Cache.Service.Http.Access;

/// <summary>The instruments of who is let in.</summary>
internal sealed class AccessMetrics
{
    private readonly TotalByReason<RefusedConnection> _connectionsRefused = new();

    public AccessMetrics(IMeterFactory meters) =>
        ServiceMeter.Of(meters).CreateObservableCounter("cache.http.connections.refused", _connectionsRefused.Measure, description: "Connections closed at once, by reason.");

    public void ConnectionRefused(RefusedConnection reason) => _connectionsRefused.Increment(reason);
}

/// <summary>Why a connection was closed at once.</summary>
internal enum RefusedConnection
{
    /// <summary>As many are open as there may be.</summary>
    All,

    /// <summary>Its address has as many open as one may have.</summary>
    Client,

    /// <summary>It said nothing.</summary>
    Silent,
}
