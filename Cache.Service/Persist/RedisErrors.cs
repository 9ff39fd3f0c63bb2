using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>Redis errors as single commands and readers see them; <see cref="Failures"/> decides what is retried.</summary>
internal static class RedisErrors
{
    /// <summary>Whether the key holds another type.</summary>
    public static bool IsWrongType(Exception exception) => exception is RedisServerException && Failures.KindOf(exception) == FailureKind.OfTheRow;

    /// <summary>Whether the command is not permitted to this user, or not available at all.</summary>
    public static bool IsNotPermitted(RedisServerException exception) =>
        exception.Message.StartsWith("NOPERM", StringComparison.Ordinal)
        || exception.Message.StartsWith("ERR unknown command", StringComparison.OrdinalIgnoreCase);

    /// <summary>Whether nothing was sent, for lack of a connection. After any other failure, Redis may have executed the command.</summary>
    public static bool IsNotSent(Exception exception) => exception is RedisConnectionException
    {
        FailureType: ConnectionFailureType.UnableToConnect or ConnectionFailureType.UnableToResolvePhysicalConnection,
    };

    /// <summary>Whether Redis is currently unreachable, or fails to answer properly.</summary>
    public static bool IsUnavailable(Exception exception) =>
        exception is RedisException or TimeoutException or OperationCanceledException or ObjectDisposedException;
}
