using System.Collections.Frozen;
using System.Net.Sockets;
using Cache.Service.Partitions;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>How to handle a failure.</summary>
internal enum FailureKind
{
    /// <summary>Transient: retry as is.</summary>
    Passes,

    /// <summary>Lasts until somebody grants a permission or fixes a password: retry, and report the service as not ready.</summary>
    Refused,

    /// <summary>An error not listed here: retry, because giving up could lose rows, and report the service as not ready.</summary>
    Unknown,

    /// <summary>Caused by one row or its key: a retry would fail again.</summary>
    OfTheRow,

    /// <summary>A bug in the service or a configuration error: the service stops with exit code 1.</summary>
    Defect,
}

/// <summary>
/// Classifies failures of Redis, Kafka and the dead-letter topic (docs/decisions/0015). Mistaking a permanent failure for an
/// outage blocks every row behind it; mistaking an outage for a bug stops a service that only had to wait.
/// </summary>
internal static class Failures
{
    private static readonly FrozenSet<ErrorCode> TransientKafkaErrors = FrozenSet.Create(
        // Brokers are down, starting, or moving a partition.
        ErrorCode.LeaderNotAvailable, ErrorCode.NotLeaderForPartition, ErrorCode.RequestTimedOut, ErrorCode.BrokerNotAvailable, ErrorCode.ReplicaNotAvailable,
        ErrorCode.NetworkException, ErrorCode.NotController, ErrorCode.NotEnoughReplicas, ErrorCode.NotEnoughReplicasAfterAppend, ErrorCode.KafkaStorageError,
        ErrorCode.OffsetNotAvailable, ErrorCode.PreferredLeaderNotAvailable, ErrorCode.FencedLeaderEpoch, ErrorCode.UnknownLeaderEpoch, ErrorCode.ListenerNotFound,
        ErrorCode.EligibleLeadersNotAvailable, ErrorCode.ThrottlingQuotaExceeded, ErrorCode.InvalidMsg,

        // A topic is being created or recreated.
        ErrorCode.UnknownTopicOrPart, ErrorCode.Local_UnknownTopic, ErrorCode.Local_UnknownPartition, ErrorCode.UnknownTopicId,

        // A group or a producer is between two states.
        ErrorCode.GroupLoadInProgress, ErrorCode.GroupCoordinatorNotAvailable, ErrorCode.NotCoordinatorForGroup, ErrorCode.IllegalGeneration,
        ErrorCode.UnknownMemberId, ErrorCode.RebalanceInProgress, ErrorCode.UnstableOffsetCommit, ErrorCode.OutOfOrderSequenceNumber, ErrorCode.UnknownProducerId,
        ErrorCode.InvalidProducerEpoch,

        // Errors of the client: no connection, no response, or requests dropped with their connection.
        ErrorCode.Local_Transport, ErrorCode.Local_AllBrokersDown, ErrorCode.Local_Resolve, ErrorCode.Local_TimedOut, ErrorCode.Local_MsgTimedOut,
        ErrorCode.Local_TimedOutQueue, ErrorCode.Local_QueueFull, ErrorCode.Local_WaitCoord, ErrorCode.Local_WaitCache, ErrorCode.Local_Retry,
        ErrorCode.Local_PurgeQueue, ErrorCode.Local_PurgeInflight, ErrorCode.Local_IsrInsuff, ErrorCode.Local_State, ErrorCode.Local_Intr);

    private static readonly FrozenSet<ErrorCode> RefusedKafkaErrors = FrozenSet.Create(
        ErrorCode.TopicAuthorizationFailed, ErrorCode.GroupAuthorizationFailed, ErrorCode.ClusterAuthorizationFailed, ErrorCode.TransactionalIdAuthorizationFailed,
        ErrorCode.SaslAuthenticationFailed, ErrorCode.UnsupportedSaslMechanism, ErrorCode.IllegalSaslState, ErrorCode.SecurityDisabled, ErrorCode.PolicyViolation,
        ErrorCode.InvalidReplicationFactor, ErrorCode.Local_Authentication, ErrorCode.Local_Ssl);

    // The topic rejects the message: too large, no key on a compacted topic, bad timestamp, or headers not supported.
    private static readonly FrozenSet<ErrorCode> OfTheRow = FrozenSet.Create(
        ErrorCode.MsgSizeTooLarge, ErrorCode.RecordListTooLarge, ErrorCode.InvalidRecord, ErrorCode.InvalidTimestamp, ErrorCode.UnsupportedForMessageFormat);

    /// <summary>Classifies a failure.</summary>
    public static FailureKind KindOf(Exception exception) => exception switch
    {
        AggregateException { InnerExceptions: [var only] } => KindOf(only),
        RedisServerException server => KindOfReply(server.Message),
        RedisConnectionException { FailureType: ConnectionFailureType.AuthenticationFailure } => FailureKind.Refused,
        RedisException => FailureKind.Passes,

        // The client refuses writes while it knows only a replica. Any other refusal is a bug of ours.
        RedisCommandException command => command.Message.Contains("replica", StringComparison.OrdinalIgnoreCase) ? FailureKind.Passes : FailureKind.Defect,
        KafkaException kafka => KindOf(kafka.Error),
        MembershipException or TimeoutException or IOException or SocketException => FailureKind.Passes,
        _ => FailureKind.Defect,
    };

    /// <summary>Whether a retry can succeed.</summary>
    public static bool IsRetryable(Exception exception) => KindOf(exception) is FailureKind.Passes or FailureKind.Refused or FailureKind.Unknown;

    private static FailureKind KindOf(Error error) =>
        OfTheRow.Contains(error.Code) ? FailureKind.OfTheRow
        : RefusedKafkaErrors.Contains(error.Code) ? FailureKind.Refused
        : TransientKafkaErrors.Contains(error.Code) ? FailureKind.Passes
        : FailureKind.Unknown;

    /// <summary>By the error code, Redis' first word.</summary>
    private static FailureKind KindOfReply(string message) => message.Split(' ', 2)[0] switch
    {
        // Redis is starting, or running a script.
        "LOADING" or "BUSY" or "UNKILLABLE"

        // The primary has moved, or there is none.
        or "READONLY" or "MASTERDOWN" or "NOREPLICAS" or "MOVED" or "ASK" or "CLUSTERDOWN" or "TRYAGAIN"

        // Redis is out of memory, or cannot write to disk.
        or "OOM" or "MISCONF"

        // A command in our transaction failed with one of the errors above.
        or "EXECABORT" => FailureKind.Passes,

        "NOAUTH" or "WRONGPASS" or "NOPERM" => FailureKind.Refused,
        "WRONGTYPE" => FailureKind.OfTheRow,
        _ => KindOfText(message),
    };

    /// <summary>Errors that have no code of their own.</summary>
    private static FailureKind KindOfText(string message)
    {
        return Begins("ERR max number of clients") ? FailureKind.Passes
            : Begins("ERR invalid password") || Begins("ERR AUTH") ? FailureKind.Refused
            : Begins("ERR DB index is out of range") || Begins("ERR invalid DB index") || Begins("ERR SELECT is not allowed in cluster mode") ? FailureKind.Defect
            : FailureKind.Unknown;

        bool Begins(string text) => message.StartsWith(text, StringComparison.OrdinalIgnoreCase);
    }
}
