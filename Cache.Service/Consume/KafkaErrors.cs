using System.Collections.Concurrent;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Records and logs errors that the Kafka clients report on their own. While brokers are down, they report the same errors
/// many times per second; each is logged at once, and again after 30 s, 60 s and so on, at most every 5 minutes, until none came
/// for a minute.
/// </summary>
internal sealed partial class KafkaErrors(TimeProvider time, ILogger<KafkaErrors> logger)
{
    private static readonly TimeSpan FirstPause = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan LongestPause = TimeSpan.FromMinutes(5);
    private static readonly TimeSpan Over = TimeSpan.FromMinutes(1);

    private readonly ConcurrentDictionary<ErrorCode, Flood> _floods = new();
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

        if (_floods.GetOrAdd(error.Code, _ => new()).IsDue(time))
        {
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

    /// <summary>Errors of one kind that follow each other.</summary>
    private sealed class Flood
    {
        private readonly Lock _lock = new();
        private long? _seenAt;
        private long _loggedAt;
        private TimeSpan _pause;

        public bool IsDue(TimeProvider time)
        {
            lock (_lock)
            {
                var now = time.GetTimestamp();
                var isNew = _seenAt is not { } seen || time.GetElapsedTime(seen, now) > Over;
                _seenAt = now;
                if (!isNew && time.GetElapsedTime(_loggedAt, now) < _pause)
                {
                    return false;
                }

                _pause = isNew ? FirstPause : _pause * 2 < LongestPause ? _pause * 2 : LongestPause;
                _loggedAt = now;
                return true;
            }
        }
    }
}
