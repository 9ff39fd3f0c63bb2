using StackExchange.Redis;

namespace Cache.Service.Partitions;

/// <summary>Partitions to read again under an epoch.</summary>
internal sealed record RebuildRequest(string Epoch, IReadOnlyList<AssignedPartition> Partitions);

/// <summary>Carries requests to the consume loop, which alone may rewind.</summary>
internal sealed class RebuildRequests
{
    private RebuildRequest? _next;

    /// <summary>Asks for a rebuild; a newer request stands for an older one that was not taken yet.</summary>
    public void Add(RebuildRequest request) => Volatile.Write(ref _next, request);

    /// <summary>Takes the request, if there is one.</summary>
    public RebuildRequest? Take() => Volatile.Read(ref _next) is null ? null : Interlocked.Exchange(ref _next, null);
}
