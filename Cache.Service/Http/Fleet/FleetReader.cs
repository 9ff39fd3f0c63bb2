using System.Text.Json;

namespace Cache.Service.Http.Fleet;

/// <summary>Reads the states of all replicas: that of this one from memory, those of the others as they last published them.</summary>
internal sealed class FleetReader(OwnReplica own, ReplicaStore store, TimeProvider time)
{
    // Replicas publish every few seconds, so polling more often would find nothing new.
    private static readonly TimeSpan MaxAge = TimeSpan.FromSeconds(1);

    private readonly Lock _gate = new();
    private Task<OtherReplicas>? _others;
    private long _readAt;

    /// <summary>The states now. Never fails: while Redis does not answer, others are missing, which the answer says.</summary>
    public async Task<FleetAnswer> ReadAsync()
    {
        var others = await OthersAsync();
        return new(time.GetUtcNow().ToUnixTimeMilliseconds(), own.Id, others.Complete,
            [.. others.Found.Append(own.State()).OrderBy(replica => replica.Id, StringComparer.Ordinal)]);
    }

    /// <summary>The answer of <c>/fleet</c>, in UTF-8 and on one line.</summary>
    public async Task<byte[]> JsonAsync() => JsonSerializer.SerializeToUtf8Bytes(await ReadAsync(), FleetJson.Default.FleetAnswer);

    /// <summary>One read for all who ask within a second.</summary>
    private Task<OtherReplicas> OthersAsync()
    {
        lock (_gate)
        {
            if (_others is null || time.GetElapsedTime(_readAt) >= MaxAge)
            {
                _readAt = time.GetTimestamp();
                _others = store.ReadOthersAsync(own.Id);
            }

            return _others;
        }
    }
}
