namespace Cache.Service.Partitions;

/// <summary>Partitions to rebuild under an epoch.</summary>
internal sealed record RebuildRequest(string Epoch, IReadOnlyList<AssignedPartition> Partitions);

/// <summary>Passes rebuild requests to the consume loop, which alone may rewind partitions.</summary>
internal sealed class RebuildRequests
{
    private RebuildRequest? _next;

    /// <summary>Requests a rebuild, and replaces a request not yet taken.</summary>
    public void Add(RebuildRequest request) => Volatile.Write(ref _next, request);

    /// <summary>Takes the pending request; null if there is none.</summary>
    public RebuildRequest? Take() => Volatile.Read(ref _next) is null ? null : Interlocked.Exchange(ref _next, null);
}
