using Cache.Metrics;
using Cache.Service.Model;
using Cache.Service.Options;

namespace Cache.Service.Decode;

/// <summary>What the rows of a topic are.</summary>
/// <param name="Kind"><see cref="RowKind.Window"/>, <see cref="RowKind.Session"/> or <see cref="RowKind.WithoutType"/>.</param>
/// <param name="Type">The place of the metric type in <see cref="CacheOptions.MetricTypes"/>; -1 without one.</param>
internal readonly record struct TopicRoute(RowKind Kind, int Type);

/// <summary>Finds what the rows of a topic are, and remembers it. Not thread-safe.</summary>
internal sealed class TopicRoutes(CacheOptions options)
{
    private readonly Dictionary<string, TopicRoute> _known = [];
    private string? _last;
    private TopicRoute _lastRoute;

    /// <summary>The route of a topic.</summary>
    public TopicRoute Of(string topic)
    {
        if (topic == _last)
        {
            return _lastRoute;
        }

        if (!_known.TryGetValue(topic, out var route))
        {
            _known[topic] = route = Find(topic);
        }

        (_last, _lastRoute) = (topic, route);
        return route;
    }

    private TopicRoute Find(string topic)
    {
        var types = options.MetricTypes.Index().Where(type => options.TopicsOf(type.Item).Any(pattern => TopicPattern.Matches(pattern, topic))).ToList();
        var isSessions = topic == CacheOptions.SessionTopic && options.Topics.Contains(topic);
        return (types, isSessions) switch
        {
            ([var (place, _)], false) => new(RowKind.Window, place),
            ([], true) => new(RowKind.Session, -1),
            _ => new(RowKind.WithoutType, -1),
        };
    }
}
