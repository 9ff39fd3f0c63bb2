using Cache.Metrics;
using Microsoft.Extensions.Hosting;

namespace Cache.Producer.Simulator;

/// <summary>Picks the metric types whose rows are sent.</summary>
internal static class SimulatorTypes
{
    /// <summary>The key of their names.</summary>
    public const string Key = "types";

    /// <summary>The topic of a type's rows: the first that is a name; null if all are patterns.</summary>
    public static string? TopicOf(MetricType type) => type.Topics.FirstOrDefault(topic => !TopicPattern.IsPattern(topic));

    /// <summary>Reads the names, out of the default types and those given as <c>metric_types</c>.</summary>
    /// <param name="keys">The configuration, and where each error is added as one sentence.</param>
    /// <param name="sessions">Whether sessions are sent as well.</param>
    /// <param name="ofFile">Those that rows of a file may have: the named ones, or all if none is named.</param>
    public static IReadOnlyList<MetricType> Read(FlatKeys keys, bool sessions, out IReadOnlyList<MetricType> ofFile)
    {
        var errors = keys.Errors.Count;
        var known = ofFile = MetricTypesReader.Read(keys);
        var given = keys.List(Key, keepsEmpty: true);
        var names = given ?? [.. MetricType.Defaults.Select(type => type.Name)];
        if (keys.Errors.Count > errors)
        {
            // A type that cannot be read would also be reported as unknown.
            return MetricType.Defaults;
        }

        List<MetricType> types = [.. names.Select(name => known.FirstOrDefault(type => type.Name == name)).OfType<MetricType>()];
        if (names.Count == 0 || types.Count < names.Count || types.Distinct().Count() < types.Count)
        {
            keys.Refuse(Key, string.Join(',', names),
                $"it must be distinct names of metric types, with commas: of {string.Join(", ", known)} (default {string.Join(',', MetricType.Defaults)}).");
            return MetricType.Defaults;
        }

        CheckTopics(keys, types, sessions);
        ofFile = given is null ? known : types;
        return types;
    }

    private static void CheckTopics(FlatKeys keys, List<MetricType> types, bool sessions)
    {
        foreach (var type in types.Where(type => TopicOf(type) is null))
        {
            keys.Errors.Add($"{Key}: every topic of {type} is a pattern, and rows need one by name; add it to the topics of {type} in {MetricTypesReader.Key}.");
        }

        List<(string? Topic, string Of)> all = [.. types.Select(type => (TopicOf(type), type.Name))];
        if (sessions)
        {
            all.Add((RowGenerator.SessionTopic, "sessions"));
        }

        foreach (var same in all.Where(row => row.Topic is not null).GroupBy(row => row.Topic, row => row.Of).Where(same => same.Count() > 1))
        {
            keys.Errors.Add($"{Key}: {string.Join(" and ", same)} have the same topic {same.Key}; a topic has rows of one type.");
        }
    }
}
