using System.Net.Sockets;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Confluent.Kafka;
using StackExchange.Redis;

namespace Cache.Tests.Persist;

/// <summary>The classification of failures; its consequences are tested where it is used.</summary>
public sealed class FailuresTests
{
    // Meant to be created only by the client, but a test needs them.
#pragma warning disable CS0618
    private static RedisServerException Says(string message) => new(message);

    private static RedisConnectionException Lost(ConnectionFailureType how) => new(how, "lost");

    private static RedisTimeoutException TooLate() => new("too late", CommandStatus.Sent);
#pragma warning restore CS0618

    [Theory]
    [InlineData("LOADING Redis is loading the dataset in memory")]
    [InlineData("BUSY Redis is busy running a script.")]
    [InlineData("UNKILLABLE The busy script is not running in read-only mode.")]
    [InlineData("ASK 3999 127.0.0.1:6381")]
    [InlineData("EXECABORT Transaction discarded because of previous errors.")]
    [InlineData("READONLY You can't write against a read only replica.")]
    [InlineData("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.")]
    [InlineData("NOREPLICAS Not enough good replicas to write.")]
    [InlineData("MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.")]
    [InlineData("MOVED 3999 127.0.0.1:6381")]
    [InlineData("CLUSTERDOWN The cluster is down")]
    [InlineData("TRYAGAIN Multiple keys request during rehashing of slot")]
    [InlineData("OOM command not allowed when used memory > 'maxmemory'.")]
    [InlineData("ERR max number of clients reached")]
    public void ReplyOfABusyFullOrFailingOverServer_IsTransient(string reply) => Assert.Equal(FailureKind.Passes, Failures.KindOf(Says(reply)));

    [Theory]
    [InlineData("NOAUTH Authentication required.")]
    [InlineData("WRONGPASS invalid username-password pair or user is disabled.")]
    [InlineData("NOPERM this user has no permissions to run the 'hset' command")]
    [InlineData("ERR invalid password")]
    [InlineData("ERR AUTH <password> called without any password configured for the default user.")]
    public void ReplyThatSomebodyHasToFix_IsARefusal(string reply) => Assert.Equal(FailureKind.Refused, Failures.KindOf(Says(reply)));

    [Theory]
    [InlineData("ERR DB index is out of range")]
    [InlineData("ERR invalid DB index")]
    [InlineData("ERR SELECT is not allowed in cluster mode")]
    public void ReplyToAnImpossibleConfiguration_IsADefect(string reply) => Assert.Equal(FailureKind.Defect, Failures.KindOf(Says(reply)));

    [Theory]
    [InlineData("ERR the text WRONGTYPE somewhere in it")]
    [InlineData("ERR unknown command 'HSET'")]
    [InlineData("SOMETHING else")]
    [InlineData("WHAT")]
    [InlineData("")]
    public void UnknownReply_IsRetried(string reply)
    {
        Assert.Equal(FailureKind.Unknown, Failures.KindOf(Says(reply)));
        Assert.True(Failures.IsRetryable(Says(reply)));
    }

    [Fact]
    public void KeyOfAnotherType_IsAFailureOfTheRow()
    {
        var exception = Says("WRONGTYPE Operation against a key holding the wrong kind of value");
        Assert.Equal(FailureKind.OfTheRow, Failures.KindOf(exception));
        Assert.False(Failures.IsRetryable(exception));
    }

    [Fact]
    public void MissingConnection_IsTransient_ButNotARejectedOne()
    {
        Exception[] passing =
        [
            Lost(ConnectionFailureType.UnableToConnect), Lost(ConnectionFailureType.SocketFailure), TooLate(), new TimeoutException(), new IOException(),
            new SocketException(), new MembershipException("not in the group"), new AggregateException(TooLate()),
        ];
        Assert.All(passing, exception => Assert.Equal(FailureKind.Passes, Failures.KindOf(exception)));
        Assert.Equal(FailureKind.Refused, Failures.KindOf(Lost(ConnectionFailureType.AuthenticationFailure)));
    }

    [Theory]
    [InlineData(ErrorCode.Local_Transport, FailureKind.Passes)]
    [InlineData(ErrorCode.Local_AllBrokersDown, FailureKind.Passes)]
    [InlineData(ErrorCode.Local_MsgTimedOut, FailureKind.Passes)]
    [InlineData(ErrorCode.UnknownTopicOrPart, FailureKind.Passes)]
    [InlineData(ErrorCode.NotLeaderForPartition, FailureKind.Passes)]
    [InlineData(ErrorCode.NotEnoughReplicas, FailureKind.Passes)]
    [InlineData(ErrorCode.Local_PurgeQueue, FailureKind.Passes)]
    [InlineData(ErrorCode.TopicAuthorizationFailed, FailureKind.Refused)]
    [InlineData(ErrorCode.ClusterAuthorizationFailed, FailureKind.Refused)]
    [InlineData(ErrorCode.SaslAuthenticationFailed, FailureKind.Refused)]
    [InlineData(ErrorCode.PolicyViolation, FailureKind.Refused)]
    [InlineData(ErrorCode.MsgSizeTooLarge, FailureKind.OfTheRow)]
    [InlineData(ErrorCode.InvalidRecord, FailureKind.OfTheRow)]
    [InlineData(ErrorCode.UnsupportedForMessageFormat, FailureKind.OfTheRow)]
    [InlineData(ErrorCode.InvalidConfig, FailureKind.Unknown)]
    [InlineData(ErrorCode.Local_UnsupportedFeature, FailureKind.Unknown)]
    internal void KafkasErrors(ErrorCode error, FailureKind kind) => Assert.Equal(kind, Failures.KindOf(new KafkaException(error)));

    [Fact]
    public void OurOwnMistakes_AreDefects()
    {
        Exception[] defects =
        [
            new InvalidCastException(), new InvalidOperationException("WRONGTYPE"), new KeyNotFoundException(), new ArgumentException("LOADING"),
            new ObjectDisposedException("multiplexer"), new OperationCanceledException(), new RedisCommandException("The database does not exist on the server"),
        ];
        Assert.All(defects, exception =>
        {
            Assert.Equal(FailureKind.Defect, Failures.KindOf(exception));
            Assert.False(Failures.IsRetryable(exception));
        });
    }

    [Fact]
    public void WriteThatTheClientRefusesToSendToAReplica_IsTransient() =>
        Assert.Equal(FailureKind.Passes, Failures.KindOf(new RedisCommandException("Command cannot be issued to a replica: HSET")));

    [Fact]
    public async Task FailureOfAReply_KeepsItsStack()
    {
        var reply = FailAsync();
        await RedisReplies.Settle([reply]);

        var thrown = Assert.ThrowsAny<RedisServerException>(() => RedisReplies.ThrowIfAnyFailed(reply));

        Assert.Contains(nameof(FailAsync), thrown.StackTrace, StringComparison.Ordinal);

        static async Task FailAsync()
        {
            await Task.Yield();
            throw Says("OOM");
        }
    }
}
