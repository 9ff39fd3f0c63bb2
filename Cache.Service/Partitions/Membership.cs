namespace Cache.Service.Partitions;

/// <summary>
/// How long ago Kafka last proved that this process is in the group, by taking a commit of it. A process that stood still
/// for longer than its session lasts does not know that others have its partitions; before it writes, it has to ask
/// (docs/decisions/0008).
/// </summary>
/// <param name="sessionTimeout">After which silence Kafka gives a member's partitions to others (<c>session.timeout.ms</c>).</param>
/// <param name="time">The clock.</param>
internal sealed class Membership(TimeSpan sessionTimeout, TimeProvider time)
{
    // The session may be as old as a heartbeat's interval when a commit goes out; that is a third of it at most.
    private readonly TimeSpan _fresh = sessionTimeout / 2;
    private long _provedAt = -1;

    /// <summary>Whether nobody else can have this process's partitions yet.</summary>
    public bool IsFresh => Age < _fresh;

    /// <summary>Whether the proof should be renewed, so that no write has to wait for one.</summary>
    public bool NeedsRenewal => Age >= _fresh / 2;

    private TimeSpan Age => Volatile.Read(ref _provedAt) is >= 0 and var at ? time.GetElapsedTime(at) : TimeSpan.MaxValue;

    /// <summary>Kafka took a commit.</summary>
    /// <param name="asked">When it was sent (<see cref="TimeProvider.GetTimestamp"/>): the answer may have waited for the process to go on.</param>
    public void Proved(long asked) => Volatile.Write(ref _provedAt, asked);
}

/// <summary>Kafka does not say that this process is still in the group.</summary>
internal sealed class MembershipException(string reason) : Exception(reason);
