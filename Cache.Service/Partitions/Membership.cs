namespace Cache.Service.Partitions;

/// <summary>
/// How long ago Kafka last confirmed, by accepting a commit, that this process is a member of the group. A process that was
/// frozen for longer than its session does not know that others own its partitions, so it has to ask before it writes
/// (docs/decisions/0008).
/// </summary>
/// <param name="sessionTimeout">The time without a heartbeat after which Kafka reassigns a member's partitions (<c>session.timeout.ms</c>).</param>
/// <param name="time">The clock.</param>
internal sealed class Membership(TimeSpan sessionTimeout, TimeProvider time)
{
    // When a commit is sent, the last heartbeat may be one interval old: at most a third of the session timeout.
    private readonly TimeSpan _fresh = sessionTimeout / 2;
    private long _provedAt = -1;

    /// <summary>Whether no other member can own this process's partitions yet.</summary>
    public bool IsFresh => Age < _fresh;

    /// <summary>Whether to renew the proof now, so that no write has to wait for it.</summary>
    public bool NeedsRenewal => Age >= _fresh / 2;

    private TimeSpan Age => Volatile.Read(ref _provedAt) is >= 0 and var at ? time.GetElapsedTime(at) : TimeSpan.MaxValue;

    /// <summary>Records that Kafka accepted a commit.</summary>
    /// <param name="asked">When the commit was sent (<see cref="TimeProvider.GetTimestamp"/>); the process may have been frozen before it saw the response.</param>
    public void Proved(long asked) => Volatile.Write(ref _provedAt, asked);
}

/// <summary>Kafka has not confirmed that this process is still a member of the group.</summary>
internal sealed class MembershipException(string reason) : Exception(reason);
