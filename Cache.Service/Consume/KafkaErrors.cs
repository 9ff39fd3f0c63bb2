using System.Collections.Concurrent;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Records and logs errors that the Kafka clients report on their own. While brokers are down, they report the same errors
/// many times per second; each is logged at most once per 30 s.
/// </summary>
internal sealed partial class KafkaErrors(TimeProvider time, ILogger<KafkaErrors> logger)
{
    private static readonly TimeSpan LogInterval = TimeSpan.FromSeconds(30);

    private readonly ConcurrentDictionary<ErrorCode, long> _loggedAt = new();
    private Error? _cause;

    /// <summary>
    /// The last error that may explain why Kafka does not answer, rather than just that it does not; null if there was none.
    /// </summary>
    public Error? Cause => Volatile.Read(ref _cause);

    /// <summary>Records an error; called on the client's threads.</summary>
    public void Note(Error error)
    {
        if (error.Code != ErrorCode.Local_AllBrokersDown)
        {
            Volatile.Write(ref _cause, error);
        }

        var now = time.GetTimestamp();
        if (!_loggedAt.TryGetValue(error.Code, out var last) || time.GetElapsedTime(last, now) >= LogInterval)
        {
            _loggedAt[error.Code] = now;
            LogReported(error.Reason);
        }
    }

    /// <summary>
    /// Records a line of the client's log, the only place where it reports that a broker closed the connection at once, as a TLS
    /// port does when the client speaks plaintext.
    /// </summary>
    public void Note(LogMessage line)
    {
        if (line.Facility == "FAIL" && line.Message.Contains("in state APIVERSION_QUERY", StringComparison.Ordinal))
        {
            Note(new Error(
                ErrorCode.Local_Transport, "the broker closes the connection before it has answered; security.protocol may not be what its port speaks"));
        }
    }

    [LoggerMessage(EventIds.Consume + 60, LogLevel.Warning, "Kafka client error: {Error}. The client keeps retrying.")]
    private partial void LogReported(string error);
}
