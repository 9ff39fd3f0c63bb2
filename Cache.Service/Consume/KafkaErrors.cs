using System.Collections.Concurrent;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Errors that the Kafka clients report by themselves. While brokers are away they report the same ones many times a
/// second; each is logged once, and again after a while.
/// </summary>
internal sealed partial class KafkaErrors(TimeProvider time, ILogger<KafkaErrors> logger)
{
    private static readonly TimeSpan LogInterval = TimeSpan.FromSeconds(30);

    private readonly ConcurrentDictionary<ErrorCode, long> _loggedAt = new();
    private Error? _cause;

    /// <summary>
    /// The last error that may tell why Kafka does not answer, and not only that it does not; null when there was none.
    /// </summary>
    public Error? Cause => Volatile.Read(ref _cause);

    /// <summary>Notes an error; called on the client's threads.</summary>
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
    /// Notes a line of the client's log: that a broker closes the connection at once, as a port that speaks TLS does to a client
    /// that does not, is reported nowhere else.
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
