using System.Collections.Immutable;
using Cache.Metrics;
using Cache.Service.Options;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Tracks which of the configured topics can be read, and why the others cannot: the topic does not exist, an ACL is missing,
/// or Kafka does not answer at all.
/// </summary>
internal sealed partial class Topics(
    IKafkaLookups kafka, StartPositions positions, CacheOptions options, ConsumeMetrics metrics, KafkaErrors errors, TimeProvider time, ILogger<Topics> logger)
{
    // A broker that is starting up knows no topics until it has read its metadata, so one such answer proves nothing.
    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan SettlePause = TimeSpan.FromMilliseconds(500);
    private static readonly TimeSpan FirstRetry = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan LongestRetry = TimeSpan.FromSeconds(5);

    private const string Assigning = "partitions are being assigned";

    // The key for a missing ACL of the group, which is not the trouble of any one topic.
    private const string Group = "";

    private volatile ImmutableSortedDictionary<string, string> _troubles = ImmutableSortedDictionary.Create<string, string>(StringComparer.Ordinal);
    private readonly string[] _patterns = [.. options.Topics.Where(TopicPattern.IsPattern)];
    private readonly HashSet<string> _withoutType = [];
    private volatile bool _answered;

    /// <summary>The topics to consume.</summary>
    public IReadOnlyList<string> Names => options.Topics;

    /// <summary>The consumer group that reads them.</summary>
    public string ConsumerGroup => options.ConsumerGroup;

    /// <summary>Whether Kafka has answered since the start.</summary>
    public bool KafkaHasAnswered => _answered;

    /// <summary>What has to happen before partitions can be assigned, as far as is known.</summary>
    public string WaitsFor
    {
        get
        {
            if (!_answered)
            {
                var wait = $"Kafka at {options.KafkaBootstrapServers} does not answer yet";
                return errors.Cause is { } cause ? $"{wait}: {cause.Reason}" : wait;
            }

            var troubles = _troubles;
            return string.Join("; ", troubles.ContainsKey(Group) || troubles.Count >= options.Topics.Count ? troubles.Values : [Assigning, .. troubles.Values]);
        }
    }

    /// <summary>
    /// Waits until Kafka answers, and finds out which topics exist at startup. A topic that Kafka still does not know after 5 s
    /// counts as missing.
    /// </summary>
    /// <exception cref="OperationCanceledException">The service is stopping.</exception>
    public async Task FindAsync(CancellationToken cancellationToken)
    {
        var since = time.GetUtcNow();
        var retry = FirstRetry;
        var open = options.Topics.ToHashSet();
        long? answered = null;
        var reminder = new Reminder(time);
        while (true)
        {
            try
            {
                var answers = await kafka.TopicsAsync(open).WaitAsync(cancellationToken);
                _answered = true;
                answered ??= time.GetTimestamp();
                var isSettled = time.GetElapsedTime(answered.Value) >= SettleTime;
                open.ExceptWith(answers.Where(answer => IsSettled(answer, since, isSettled)).Select(answer => answer.Topic));
                if (open.Count == 0)
                {
                    // A topic that matches a pattern later is new.
                    positions.OthersAreNew = true;
                    return;
                }

                await Task.Delay(SettlePause, time, cancellationToken);
            }
            catch (KafkaException exception)
            {
                // The broker that answered before may be restarting.
                answered = null;
                var cause = errors.Cause ?? exception.Error;
                if (reminder.IsDue(cause.Code))
                {
                    LogWaiting(options.KafkaBootstrapServers, cause.Reason, Advice(cause), reminder.SoFar);
                }

                await Task.Delay(retry * (0.5 + Random.Shared.NextDouble()), time, cancellationToken);
                retry = retry * 2 < LongestRetry ? retry * 2 : LongestRetry;
            }
        }
    }

    /// <summary>Records an error that Kafka reports about a topic.</summary>
    /// <returns>False if it is not an error that keeps the topic from being read.</returns>
    public bool Note(string topic, ErrorCode error)
    {
        switch (error)
        {
            case ErrorCode.UnknownTopicOrPart:
                if (IsNew(topic, TopicPattern.IsPattern(topic) ? $"no topic matches {topic} yet" : $"the topic {topic} does not exist yet"))
                {
                    LogMissing(topic);
                }

                return true;
            case ErrorCode.TopicAuthorizationFailed:
                NoteRefused(topic, $"the topic {topic}", "Read and Describe");
                return true;
            case ErrorCode.GroupAuthorizationFailed:
                NoteRefused(Group, $"the consumer group {options.ConsumerGroup}", "Read");
                return true;
            default:
                return false;
        }
    }

    /// <summary>Records that a topic is being read; called per row.</summary>
    public void NoteRead(string topic)
    {
        if (_troubles.IsEmpty)
        {
            return;
        }

        _troubles = _troubles.Remove(topic).Remove(Group);
        foreach (var pattern in _patterns)
        {
            if (_troubles.ContainsKey(pattern) && TopicPattern.Matches(pattern, topic))
            {
                _troubles = _troubles.Remove(pattern);
            }
        }
    }

    /// <summary>Counts a row of a topic that has no metric type, or more than one; logs the first of each topic.</summary>
    public void NoteWithoutType(string topic)
    {
        metrics.WithoutType();
        if (_withoutType.Add(topic))
        {
            LogWithoutType(topic, string.Join(" and ", options.TypesOf(topic).Select(type => type.Name).DefaultIfEmpty("none")));
        }
    }

    /// <summary>Whether a topic needs no further lookup; records what is known about it.</summary>
    private bool IsSettled(TopicAnswer answer, DateTimeOffset since, bool timeIsOver)
    {
        if (answer.Partitions > 0)
        {
            NoteRead(answer.Topic);
            positions.NoteTopic(answer.Topic, answer.Partitions);
            return true;
        }

        // Until Kafka reports it, the topic may exist all the same.
        positions.NoteUnsure(answer.Topic, since);
        if (answer.Error == ErrorCode.TopicAuthorizationFailed)
        {
            return Note(answer.Topic, answer.Error);
        }

        if (timeIsOver && answer.Error is ErrorCode.UnknownTopicOrPart or ErrorCode.NoError)
        {
            positions.NoteTopic(answer.Topic, 0);
            return Note(answer.Topic, ErrorCode.UnknownTopicOrPart);
        }

        var reason = new Error(answer.Error).Reason;
        IsNew(answer.Topic, $"Kafka does not report on the topic {answer.Topic} yet: {reason}");
        if (timeIsOver)
        {
            LogNotReported(answer.Topic, reason);
        }

        return timeIsOver;
    }

    private void NoteRefused(string key, string what, string operations)
    {
        if (IsNew(key, $"Kafka refuses {what}: the client's user needs the ACL {operations} on it"))
        {
            LogRefused(what, operations);
        }
    }

    private bool IsNew(string key, string trouble)
    {
        var before = _troubles;
        _troubles = before.SetItem(key, trouble);
        return before.GetValueOrDefault(key) != trouble;
    }

    private static string Advice(Error cause) => cause.Code switch
    {
        ErrorCode.Local_Authentication => "Are Kafka:sasl.mechanism, Kafka:sasl.username and Kafka:sasl.password right?",
        ErrorCode.Local_Ssl => "Is the broker's certificate trusted (Kafka:ssl.ca.location), and TLS what the port speaks (Kafka:security.protocol)?",
        _ when cause.Reason.Contains("security.protocol", StringComparison.Ordinal) => "Is Kafka:security.protocol what the port speaks?",
        _ => "Is the address right (ConnectionStrings:kafka or kafka_bootstrap_servers)?",
    };

    [LoggerMessage(EventIds.Consume + 30, LogLevel.Warning, "Waiting for Kafka at {Servers}: {Error}. {Advice}{SoFar}")]
    private partial void LogWaiting(string servers, string error, string advice, string soFar);

    [LoggerMessage(EventIds.Consume + 46, LogLevel.Warning,
        "Rows of the topic {Topic} are skipped: the metric types that have it are {Types}, and it must be one. Logged once per topic; cache_kafka_records_without_type_total counts every row.")]
    private partial void LogWithoutType(string topic, string types);

    [LoggerMessage(EventIds.Consume + 31, LogLevel.Warning, "The topic {Topic} does not exist yet; it is read from its beginning once it does.")]
    private partial void LogMissing(string topic);

    [LoggerMessage(EventIds.Consume + 41, LogLevel.Warning, "Kafka refuses {What}: the client's user needs the ACL {Operations} on it. Retrying.")]
    private partial void LogRefused(string what, string operations);

    [LoggerMessage(EventIds.Consume + 42, LogLevel.Warning, "Kafka does not report on the topic {Topic} ({Error}); it is read once Kafka does.")]
    private partial void LogNotReported(string topic, string error);
}
