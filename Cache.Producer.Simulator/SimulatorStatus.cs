namespace Cache.Producer.Simulator;

/// <summary>The status of a run; a singleton of the simulator's host, safe to read from any thread at any time.</summary>
public sealed class SimulatorStatus
{
    /// <summary>Exit code: every row sent was acknowledged.</summary>
    public const int Success = 0;

    /// <summary>Exit code: invalid options, or it could not send at all.</summary>
    public const int Unusable = 1;

    /// <summary>Exit code: rows were rejected, or not acknowledged in time.</summary>
    public const int NotAcknowledged = 2;

    /// <summary>The exit code for the process: 0, 1 or 2. Final once the host has stopped.</summary>
    public int ExitCode { get; internal set; }

    /// <summary>The seed of the rows; null until sending starts.</summary>
    public int? Seed { get; internal set; }

    /// <summary>Time of the first row; null until sending starts.</summary>
    public DateTimeOffset? Start { get; internal set; }

    /// <summary>The topics that it writes to, in the order of the summary.</summary>
    public IReadOnlyList<TopicStatus> Topics { get; internal set; } = [];

    /// <summary>Rows handed to the Kafka client.</summary>
    public long Sent => Topics.Sum(topic => topic.Sent);

    /// <summary>Rows acknowledged by the broker.</summary>
    public long Acknowledged => Topics.Sum(topic => topic.Acknowledged);

    /// <summary>Rows that were rejected or timed out.</summary>
    public long Errors => Topics.Sum(topic => topic.Errors);

    /// <summary>Rows sent that violate a rule of the format on purpose.</summary>
    public long Malformed => Topics.Sum(topic => topic.Malformed);
}

/// <summary>The status of a run, for one topic.</summary>
public sealed class TopicStatus(string topic)
{
    private long _sent;
    private long _acknowledged;
    private long _errors;
    private long _malformed;

    /// <summary>The topic's name.</summary>
    public string Topic { get; } = topic;

    /// <summary>Rows handed to the Kafka client.</summary>
    public long Sent => Volatile.Read(ref _sent);

    /// <summary>Rows acknowledged by the broker.</summary>
    public long Acknowledged => Volatile.Read(ref _acknowledged);

    /// <summary>Rows that were rejected or timed out.</summary>
    public long Errors => Volatile.Read(ref _errors);

    /// <summary>Rows sent that violate a rule of the format on purpose.</summary>
    public long Malformed => Volatile.Read(ref _malformed);

    internal void OnSent(bool malformed)
    {
        Interlocked.Increment(ref _sent);
        if (malformed)
        {
            Interlocked.Increment(ref _malformed);
        }
    }

    internal void OnReport(bool acknowledged) => Interlocked.Increment(ref acknowledged ? ref _acknowledged : ref _errors);
}
