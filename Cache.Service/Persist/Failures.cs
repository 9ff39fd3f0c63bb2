using System.Collections.Frozen;
using System.Net.Sockets;
using Cache.Service.Partitions;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>What is to be done about work that failed.</summary>
internal enum FailureKind
{
    /// <summary>It passes by itself: the same is tried again.</summary>
    Passes,

    /// <summary>It passes when somebody gives a right or mends a password: tried again, and not ready meanwhile.</summary>
    Refused,

    /// <summary>A server said something that is not known here: tried again, since giving up could lose rows, and not ready meanwhile.</summary>
    Unknown,

    /// <summary>It is the fault of one row, or of the key that it goes to: tried again, it would fail again.</summary>
    OfTheRow,

    /// <summary>A defect of the service or of its configuration: the service stops with exit code 1.</summary>
    Defect,
}

/// <summary>
/// The one rule of what passes and what does not, for Redis, Kafka and the dead letters (docs/decisions/0015). To take what
/// never passes for an outage holds up every row behind it; to take an outage for a defect stops a service that had only to wait.
/// </summary>
internal static class Failures
{
    /// <summary>What a Redis server's error begins with, up to the first blank; what is not here is <see cref="FailureKind.Unknown"/>.</summary>
    private static readonly FrozenDictionary<string, FailureKind> RedisReplies = new Dictionary<string, FailureKind>
    {
        // It has just started, or a script runs.
        ["LOADING"] = FailureKind.Passes,
        ["BUSY"] = FailureKind.Passes,
        ["UNKILLABLE"] = FailureKind.Passes,

        // The primary is another by now, or none.
        ["READONLY"] = FailureKind.Passes,
        ["MASTERDOWN"] = FailureKind.Passes,
        ["NOREPLICAS"] = FailureKind.Passes,
        ["MOVED"] = FailureKind.Passes,
        ["ASK"] = FailureKind.Passes,
        ["CLUSTERDOWN"] = FailureKind.Passes,
        ["TRYAGAIN"] = FailureKind.Passes,

        // It has no room, or no disk.
        ["OOM"] = FailureKind.Passes,
        ["MISCONF"] = FailureKind.Passes,

        // A transaction of ours met one of the others.
        ["EXECABORT"] = FailureKind.Passes,

        ["NOAUTH"] = FailureKind.Refused,
        ["WRONGPASS"] = FailureKind.Refused,
        ["NOPERM"] = FailureKind.Refused,

        ["WRONGTYPE"] = FailureKind.OfTheRow,
    }.ToFrozenDictionary();

    /// <summary>Errors that a Redis server gives no name of its own: what they begin with.</summary>
    private static readonly (string Start, FailureKind Kind)[] NamelessRedisReplies =
    [
        ("ERR max number of clients", FailureKind.Passes),
        ("ERR invalid password", FailureKind.Refused),
        ("ERR AUTH", FailureKind.Refused),
        ("ERR DB index is out of range", FailureKind.Defect),
        ("ERR invalid DB index", FailureKind.Defect),
        ("ERR SELECT is not allowed in cluster mode", FailureKind.Defect),
    ];

    private static readonly FrozenSet<ErrorCode> PassingKafkaErrors = FrozenSet.Create(
        // Brokers that are away, start, or hand a partition on.
        ErrorCode.LeaderNotAvailable, ErrorCode.NotLeaderForPartition, ErrorCode.RequestTimedOut, ErrorCode.BrokerNotAvailable, ErrorCode.ReplicaNotAvailable,
        ErrorCode.NetworkException, ErrorCode.NotController, ErrorCode.NotEnoughReplicas, ErrorCode.NotEnoughReplicasAfterAppend, ErrorCode.KafkaStorageError,
        ErrorCode.OffsetNotAvailable, ErrorCode.PreferredLeaderNotAvailable, ErrorCode.FencedLeaderEpoch, ErrorCode.UnknownLeaderEpoch, ErrorCode.ListenerNotFound,
        ErrorCode.EligibleLeadersNotAvailable, ErrorCode.ThrottlingQuotaExceeded, ErrorCode.InvalidMsg,

        // A topic that is being made, or made again.
        ErrorCode.UnknownTopicOrPart, ErrorCode.Local_UnknownTopic, ErrorCode.Local_UnknownPartition, ErrorCode.UnknownTopicId,

        // A group, or a producer, between two states.
        ErrorCode.GroupLoadInProgress, ErrorCode.GroupCoordinatorNotAvailable, ErrorCode.NotCoordinatorForGroup, ErrorCode.IllegalGeneration,
        ErrorCode.UnknownMemberId, ErrorCode.RebalanceInProgress, ErrorCode.UnstableOffsetCommit, ErrorCode.OutOfOrderSequenceNumber, ErrorCode.UnknownProducerId,
        ErrorCode.InvalidProducerEpoch,

        // The client itself: no connection, no answer, or what it had in hand was given up with the connection.
        ErrorCode.Local_Transport, ErrorCode.Local_AllBrokersDown, ErrorCode.Local_Resolve, ErrorCode.Local_TimedOut, ErrorCode.Local_MsgTimedOut,
        ErrorCode.Local_TimedOutQueue, ErrorCode.Local_QueueFull, ErrorCode.Local_WaitCoord, ErrorCode.Local_WaitCache, ErrorCode.Local_Retry,
        ErrorCode.Local_PurgeQueue, ErrorCode.Local_PurgeInflight, ErrorCode.Local_IsrInsuff, ErrorCode.Local_State, ErrorCode.Local_Intr);

    private static readonly FrozenSet<ErrorCode> RefusedByKafka = FrozenSet.Create(
        ErrorCode.TopicAuthorizationFailed, ErrorCode.GroupAuthorizationFailed, ErrorCode.ClusterAuthorizationFailed, ErrorCode.TransactionalIdAuthorizationFailed,
        ErrorCode.SaslAuthenticationFailed, ErrorCode.UnsupportedSaslMechanism, ErrorCode.IllegalSaslState, ErrorCode.SecurityDisabled, ErrorCode.PolicyViolation,
        ErrorCode.InvalidReplicationFactor, ErrorCode.Local_Authentication, ErrorCode.Local_Ssl);

    // What a topic does not take: for its size, for having no key where it is compacted, for its time, for its headers.
    private static readonly FrozenSet<ErrorCode> OfTheRow = FrozenSet.Create(
        ErrorCode.MsgSizeTooLarge, ErrorCode.RecordListTooLarge, ErrorCode.InvalidRecord, ErrorCode.InvalidTimestamp, ErrorCode.UnsupportedForMessageFormat);

    /// <summary>What is to be done about a failure.</summary>
    public static FailureKind KindOf(Exception exception) => exception switch
    {
        AggregateException { InnerExceptions: [var only] } => KindOf(only),
        RedisServerException server => KindOfReply(server.Message),
        RedisConnectionException { FailureType: ConnectionFailureType.AuthenticationFailure } => FailureKind.Refused,
        RedisException => FailureKind.Passes,

        // The client refuses a write as long as it knows a replica only; all else that it refuses is ours to mend.
        RedisCommandException command => command.Message.Contains("replica", StringComparison.OrdinalIgnoreCase) ? FailureKind.Passes : FailureKind.Defect,
        KafkaException kafka => KindOf(kafka.Error),
        MembershipException or TimeoutException or IOException or SocketException => FailureKind.Passes,
        _ => FailureKind.Defect,
    };

    /// <summary>Whether it is worth trying again.</summary>
    public static bool IsRetryable(Exception exception) => KindOf(exception) is FailureKind.Passes or FailureKind.Refused or FailureKind.Unknown;

    private static FailureKind KindOf(Error error) =>
        OfTheRow.Contains(error.Code) ? FailureKind.OfTheRow
        : RefusedByKafka.Contains(error.Code) ? FailureKind.Refused
        : PassingKafkaErrors.Contains(error.Code) ? FailureKind.Passes
        : FailureKind.Unknown;

    private static FailureKind KindOfReply(string message)
    {
        var end = message.IndexOf(' ', StringComparison.Ordinal);
        if (RedisReplies.TryGetValue(end < 0 ? message : message[..end], out var kind))
        {
            return kind;
        }

        var found = Array.Find(NamelessRedisReplies, reply => message.StartsWith(reply.Start, StringComparison.OrdinalIgnoreCase));
        return found.Start is null ? FailureKind.Unknown : found.Kind;
    }
}
