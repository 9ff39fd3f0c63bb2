using Cache.Metrics;
using Cache.Service.Options;
using Cache.Service.Persist;

namespace Cache.Service.Http;

/// <summary>The number of the last update of each type. Written by one thread at a time, read by any.</summary>
internal sealed class LatestUpdates(CacheOptions options)
{
    // One per metric type; the last is that of sessions.
    private readonly long[] _numbers = new long[options.MetricTypes.Count + 1];

    /// <summary>All types of updates: the metric types, and sessions.</summary>
    public IReadOnlyList<string> Types { get; } = [.. options.MetricTypes.Select(type => type.Name), RedisKeys.SessionType];

    /// <summary>The number of the last update to windows of a type, or of the last gap.</summary>
    public long Of(MetricType type) => Volatile.Read(ref _numbers[Place(type.Name)]);

    /// <summary>The number of the last update to windows of any type, or of the last gap.</summary>
    public long OfAny()
    {
        var latest = 0L;
        for (var type = 0; type < options.MetricTypes.Count; type++)
        {
            latest = Math.Max(latest, Volatile.Read(ref _numbers[type]));
        }

        return latest;
    }

    /// <summary>Records an update.</summary>
    public void Note(string type, long number) => Volatile.Write(ref _numbers[Place(type)], number);

    /// <summary>Records a gap, after which updates of any type may be missing.</summary>
    public void NoteAll(long number)
    {
        for (var type = 0; type < _numbers.Length; type++)
        {
            Volatile.Write(ref _numbers[type], number);
        }
    }

    /// <summary>The place of a type; there are few.</summary>
    private int Place(string type)
    {
        var place = 0;
        while (Types[place] != type)
        {
            place++;
        }

        return place;
    }
}
