using System.Text.RegularExpressions;
using StackExchange.Redis;

namespace Cache.Service.Persist;

/// <summary>Redis errors as single commands and readers see them; <see cref="Failures"/> decides what is retried.</summary>
internal static partial class RedisErrors
{
    /// <summary>
    /// The message of a failure in one line. The client appends its own statistics to some, in twenty lines of a terminal; they are about
    /// the client, not the cause.
    /// </summary>
    public static string Text(Exception exception)
    {
        var message = exception.Message;
        if (exception is TimeoutException && NoAnswer().Match(message) is { Success: true } timeout)
        {
            return $"no answer to {timeout.Groups["command"]} within {timeout.Groups["timeout"]} ms";
        }

        if (exception is RedisConnectionException or TimeoutException && Statistics().Match(message) is { Success: true } statistics)
        {
            message = message[..statistics.Index];
        }

        return message.ReplaceLineEndings(" ").Trim();
    }

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

    [GeneratedRegex(@"timeout is (?<timeout>[0-9]+)ms\), command=(?<command>\w+)", RegexOptions.ExplicitCapture)]
    private static partial Regex NoAnswer();

    [GeneratedRegex(@",? \(?(next|inst|qu|mgr|v|serverEndpoint|clientName|IOCP|WORKER|POOL|origin|outstanding|last-read|last-write|unanswered-write|keep-alive|state): ")]
    private static partial Regex Statistics();
}
