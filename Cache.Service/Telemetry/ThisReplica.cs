namespace Cache.Service.Telemetry;

/// <summary>Distinguishes this replica from the others of its service.</summary>
internal sealed class ThisReplica(TimeProvider time)
{
    private static int _ofThisProcess;

    /// <summary>Its host and process id: <c>cache-1/7</c>. A second service in one process is <c>cache-1/7.2</c>.</summary>
    public string Id { get; } = $"{Environment.MachineName}/{Environment.ProcessId}{(Interlocked.Increment(ref _ofThisProcess) is > 1 and var number ? $".{number}" : "")}";

    /// <summary>When it started.</summary>
    public DateTimeOffset Started { get; } = time.GetUtcNow();
}
