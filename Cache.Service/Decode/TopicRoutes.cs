using Cache.Metrics;
using Cache.Service.Model;
using Cache.Service.Options;

namespace Cache.Service.Decode;

/// <summary>What the rows of a topic are.</summary>
/// <param name="Kind"><see cref="RowKind.Window"/>, <see cref="RowKind.Session"/> or <see cref="RowKind.WithoutType"/>.</param>
/// <param name="Type">Decodes rows of its metric type; null if it has none.</param>
internal readonly record struct TopicRoute(RowKind Kind, TypeDecoder? Type = null);

/// <summary>Finds what the rows of a topic are, and remembers it. Not thread-safe.</summary>
/// <param name="options">The metric types and their topics.</param>
/// <param name="types">The decoder of each type.</param>
internal sealed class TopicRoutes(CacheOptions options, IReadOnlyDictionary<MetricType, TypeDecoder> types)
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

    private TopicRoute Find(string topic) => options.TypesOf(topic).ToList() switch
    {
        [var type] => new(RowKind.Window, types[type]),

        // Unless a type has taken their topic, which it can if they are not consumed.
        [] when topic == CacheOptions.SessionTopic => new(RowKind.Session),
        _ => new(RowKind.WithoutType),
    };
}
