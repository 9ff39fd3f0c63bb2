namespace Cache.Service.Options;

/// <summary>The topics whose rows the service knows.</summary>
public static class MetricTopics
{
    /// <summary>Windows of events.</summary>
    public const string Event = "event_metrics";

    /// <summary>Windows of performance.</summary>
    public const string Performance = "performance_metrics";

    /// <summary>Sessions.</summary>
    public const string Session = "session_metrics";

    /// <summary>All of them, as a sentence lists them.</summary>
    public const string All = $"{Event}, {Performance} or {Session}";

    /// <summary>Whether the service knows the rows of a topic.</summary>
    public static bool IsKnown(string topic) => topic is Event or Performance or Session;
}
