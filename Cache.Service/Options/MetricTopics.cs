namespace Cache.Service.Options;

/// <summary>The topics whose rows the service can decode.</summary>
public static class MetricTopics
{
    /// <summary>Event windows.</summary>
    public const string Event = "event_metrics";

    /// <summary>Performance windows.</summary>
    public const string Performance = "performance_metrics";

    /// <summary>Sessions.</summary>
    public const string Session = "session_metrics";

    /// <summary>All topics, as listed in error messages.</summary>
    public const string All = $"{Event}, {Performance} or {Session}";

    /// <summary>Whether the service can decode the rows of a topic.</summary>
    public static bool IsKnown(string topic) => topic is Event or Performance or Session;
}
