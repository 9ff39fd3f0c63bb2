using Cache.Metrics;

namespace Cache.Service.Options;

/// <summary>Reads and checks the topics: those that are consumed, and the one for dead letters.</summary>
internal static class TopicSettings
{
    private const string TopicsKey = "cache_kafka_topics";
    private const string DeadLettersKey = "cache_dead_letter_topic";

    /// <summary>Reads the keys, and adds one sentence per error.</summary>
    /// <param name="keys">The configuration.</param>
    /// <param name="types">All metric types.</param>
    /// <param name="deadLetters">The topic for dead letters if none is set.</param>
    public static (IReadOnlyList<string> Topics, string DeadLetters) Read(FlatKeys keys, IReadOnlyList<MetricType> types, string deadLetters)
    {
        var topics = Topics(keys, types);
        var topic = keys.Text(DeadLettersKey, deadLetters);
        if (topic.Length > 0 && !TopicPattern.IsName(topic))
        {
            keys.Refuse(DeadLettersKey, topic, "it must be a topic's name (1 to 249 letters, digits, dots, underscores or hyphens) or empty.");
        }
        else if (topics.Contains(topic))
        {
            keys.Refuse(DeadLettersKey, topic, "that topic is consumed, so rejected rows would come back forever; choose another, or leave it empty.");
        }

        return (topics, topic);
    }

    /// <summary>Picks among the topics of the default types and sessions, and adds those of the given types.</summary>
    private static List<string> Topics(FlatKeys keys, IReadOnlyList<MetricType> types)
    {
        List<string> given = [.. types.Where(type => !type.IsDefault).SelectMany(type => type.Topics)];
        List<string> defaults = [.. types.Where(type => type.IsDefault).SelectMany(type => type.Topics)];
        List<string> choices = [.. defaults, CacheOptions.SessionTopic];
        var errors = keys.Errors.Count;
        var picked = keys.List(TopicsKey) ?? defaults;
        if (picked.Count == 0 && given.Count == 0)
        {
            keys.Refuse(TopicsKey, "", $"name at least one topic, or leave the key out for {string.Join(", ", defaults)}.");
        }

        foreach (var topic in picked.Where(topic => !choices.Contains(topic) && !given.Exists(pattern => TopicPattern.Matches(pattern, topic))))
        {
            // Its rows would be read and committed, but never written.
            keys.Refuse(TopicsKey, topic, $"no metric type has this topic. It must be {string.Join(", ", choices)}, or the topic of a type of your own ({MetricTypesReader.Key}).");
        }

        if (keys.Errors.Count > errors)
        {
            // For the checks to come.
            picked = choices;
        }

        List<(string Topic, string Of)> all =
        [
            .. types.SelectMany(type => type.Topics.Select(topic => (topic, type.Name))),
            .. picked.Where(topic => topic == CacheOptions.SessionTopic).Select(topic => (topic, "sessions")),
        ];
        foreach (var (place, (topic, of)) in all.Index())
        {
            foreach (var (other, before) in all[..place].Where(other => other.Of != of && Overlap(other.Topic, topic)))
            {
                keys.Errors.Add($"{MetricTypesReader.Key}: {before} has the topic {other}, and {of} has {topic}; a topic has rows of one type.");
            }
        }

        return [.. all.Select(entry => entry.Topic).Where(topic => picked.Contains(topic) || given.Contains(topic)).Distinct()];
    }

    /// <summary>Whether two entries are known to be the same topic; of two patterns that shows only once there is one.</summary>
    private static bool Overlap(string one, string other) =>
        one == other || (!TopicPattern.IsPattern(one) && TopicPattern.Matches(other, one)) || (!TopicPattern.IsPattern(other) && TopicPattern.Matches(one, other));
}
