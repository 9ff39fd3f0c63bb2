using Cache.Service.Persist;
using StackExchange.Redis;

namespace Cache.Tests.Persist;

public sealed class RedisErrorsTests
{
    // Meant to be created only by the client, but a test needs them.
#pragma warning disable CS0618
    private static RedisServerException Says(string message) => new(message);

    private static readonly RedisConnectionException NoConnection = new(ConnectionFailureType.UnableToConnect, "no connection");
    private static readonly RedisTimeoutException TooLate = new("too late", CommandStatus.Sent);

    private static RedisConnectionException Lost(ConnectionFailureType how) => new(how, "lost");
#pragma warning restore CS0618

    public static TheoryData<Exception> Passing =>
    [
        Says("LOADING Redis is loading the dataset in memory"),
        Says("READONLY You can't write against a read only replica."),
        Says("MOVED 3999 127.0.0.1:6381"),
        Says("CLUSTERDOWN The cluster is down"),
        Says("TRYAGAIN Multiple keys request during rehashing of slot"),
        Says("OOM command not allowed when used memory > 'maxmemory'."),
        Says("BUSY Redis is busy running a script."),
        Says("NOAUTH Authentication required."),
        Says("WRONGPASS invalid username-password pair or user is disabled."),
        Says("NOPERM this user has no permissions to run the 'hset' command"),
        Says("ERR the text WRONGTYPE somewhere in it"),
        NoConnection,
        TooLate,
        new TimeoutException(),
        new OperationCanceledException(),
        new ObjectDisposedException("multiplexer"),
    ];

    [Theory]
    [MemberData(nameof(Passing), DisableDiscoveryEnumeration = true)]
    public void TransientErrors_AreRetried(Exception exception)
    {
        Assert.False(RedisErrors.IsWrongType(exception));
        Assert.True(RedisErrors.IsUnavailable(exception));
    }

    [Theory]
    [InlineData(
        "Timeout awaiting response (outbound=0KiB, inbound=0KiB, 5952ms elapsed, timeout is 5000ms), command=GET, next: PING, inst: 0, qu: 0, serverEndpoint: 127.0.0.1:6379, v: 3.4.35.20751 (see https://seredis.dev/Timeouts for some)",
        "no answer to GET within 5000 ms")]
    [InlineData("The timeout was reached before the message could be written to the output buffer, command=PING, timeout: 5000, inst: 0, v: 3.4", "The timeout was reached before the message could be written to the output buffer, command=PING, timeout: 5000")]
    public void Timeout_IsOneSentence_WithoutTheClientsStatistics(string message, string text) =>
#pragma warning disable CS0618
        Assert.Equal(text, RedisErrors.Text(new RedisTimeoutException(message, CommandStatus.Sent)));
#pragma warning restore CS0618

    [Fact]
    public void Errors_KeepTheirReason_InOneLine()
    {
#pragma warning disable CS0618
        Assert.Equal(
            "No connection is active/available to service this operation: GET; SocketClosed",
            RedisErrors.Text(new RedisConnectionException(ConnectionFailureType.UnableToConnect, "No connection is active/available to service this operation: GET; SocketClosed, v: 3.4.35.20751")));
#pragma warning restore CS0618
        Assert.Equal("ERR a state: of things, v: 1", RedisErrors.Text(Says("ERR a state: of things, v: 1")));
        Assert.Equal("two lines", RedisErrors.Text(new IOException("two\nlines")));
    }

    [Fact]
    public void WrongType_IsPermanent() =>
        Assert.True(RedisErrors.IsWrongType(Says("WRONGTYPE Operation against a key holding the wrong kind of value")));

    [Fact]
    public void OurOwnMistakes_DoNotCountAsRedisBeingDown()
    {
        Assert.False(RedisErrors.IsUnavailable(new InvalidOperationException()));
        Assert.False(RedisErrors.IsWrongType(new InvalidOperationException("WRONGTYPE")));
    }

    [Fact]
    public void ForbiddenCommand_IsDistinguishedFromOtherFailures()
    {
        Assert.True(RedisErrors.IsNotPermitted(Says("NOPERM this user has no permissions to run the 'info' command")));
        Assert.True(RedisErrors.IsNotPermitted(Says("ERR unknown command 'INFO'")));
        Assert.True(RedisErrors.IsNotPermitted(Says("ERR Unknown command 'INFO'")));
        Assert.False(RedisErrors.IsNotPermitted(Says("ERR syntax error")));
        Assert.False(RedisErrors.IsNotPermitted(Says("LOADING NOPERM")));
    }

    [Fact]
    public void NotSent_OnlyMeansNoConnection()
    {
        Assert.True(RedisErrors.IsNotSent(NoConnection));
        Assert.True(RedisErrors.IsNotSent(Lost(ConnectionFailureType.UnableToResolvePhysicalConnection)));
        Assert.False(RedisErrors.IsNotSent(Lost(ConnectionFailureType.SocketFailure)));
        Assert.False(RedisErrors.IsNotSent(Lost(ConnectionFailureType.InternalFailure)));
        Assert.False(RedisErrors.IsNotSent(TooLate));
        Assert.False(RedisErrors.IsNotSent(Says("OOM")));
    }
}
