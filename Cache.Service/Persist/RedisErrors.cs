using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>What single commands and readers ask of an error of Redis; what is tried again is decided by <see cref="Failures"/>.</summary>
internal static class RedisErrors
{
    /// <summary>The key holds another type.</summary>
    public static bool IsWrongType(Exception exception) => exception is RedisServerException && Failures.KindOf(exception) == FailureKind.OfTheRow;

    /// <summary>The server does not let this user, or anybody, give the command.</summary>
    public static bool IsNotPermitted(RedisServerException exception) =>
        exception.Message.StartsWith("NOPERM", StringComparison.Ordinal)
        || exception.Message.StartsWith("ERR unknown command", StringComparison.OrdinalIgnoreCase);

    /// <summary>There was no connection to send anything on; any other failure may have come after Redis did what it was told.</summary>
    public static bool IsNotSent(Exception exception) => exception is RedisConnectionException
    {
        FailureType: ConnectionFailureType.UnableToConnect or ConnectionFailureType.UnableToResolvePhysicalConnection,
    };

    /// <summary>Redis cannot be reached, or does not answer as it should, right now.</summary>
    public static bool IsUnavailable(Exception exception) =>
        exception is RedisException or TimeoutException or OperationCanceledException or ObjectDisposedException;
}
