using System.Diagnostics.Metrics;
using Cache.Service.Telemetry;

namespace Cache.Service.Http.Access;

/// <summary>Instruments for access.</summary>
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
    /// <summary>The maximum number of connections is open.</summary>
    All,

    /// <summary>Its address has its maximum number of connections open.</summary>
    Client,

    /// <summary>It sent nothing.</summary>
    Silent,
}
