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
    private string? _last;

    /// <summary>What was reported last; null when nothing was.</summary>
    public string? Last => Volatile.Read(ref _last);

    /// <summary>Notes an error; called on the client's threads.</summary>
    public void Note(Error error)
    {
        Volatile.Write(ref _last, error.Reason);
        var now = time.GetTimestamp();
        if (!_loggedAt.TryGetValue(error.Code, out var last) || time.GetElapsedTime(last, now) >= LogInterval)
        {
            _loggedAt[error.Code] = now;
            LogReported(error.Reason);
        }
    }

    [LoggerMessage(EventIds.Consume + 60, LogLevel.Warning, "Kafka's client reports: {Error}. It goes on trying.")]
    private partial void LogReported(string error);
}
