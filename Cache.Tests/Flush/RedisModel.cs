using System.Globalization;
using Cache.Metrics;
using Cache.Service.Model;
using Cache.Tests.Persist;

namespace Cache.Tests.Flush;

/// <summary>What Redis has to hold after rows were applied one by one, in their order.</summary>
internal sealed class RedisModel(int retention)
{
    private readonly Dictionary<MetricType, SortedDictionary<long, Dictionary<string, string>>> _windows = [];

    private readonly Dictionary<string, Session> _sessions = [];

    public void Apply(Row row)
    {
        if (row.Session is { } session)
        {
            _sessions[session.Id] = _sessions.GetValueOrDefault(session.Id)?.With(session) ?? session;
        }

        if (row.Kind != RowKind.Window)
        {
            return;
        }

        var dimension = row.Dimension!;
        _windows.TryAdd(dimension.Type, []);
        var windows = _windows[dimension.Type];
        windows.TryAdd(row.WindowStart, []);
        var fields = windows[row.WindowStart];
        foreach (var (number, measure) in dimension.Type.Measures.Index())
        {
            if (row.Measures.Has(number))
            {
                fields[$"{dimension.Name}.{measure.Name}"] = Text(measure.Kind, row.Measures[number]);
            }
        }

        while (windows.Count > retention)
        {
            windows.Remove(windows.Keys.First());
        }
    }

    /// <summary>As <see cref="RedisStages.ContentAsync"/> shows it.</summary>
    public SortedDictionary<string, string> Content()
    {
        var content = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach (var (type, windows) in _windows.Select(type => (type.Key.Key, type.Value)))
        {
            foreach (var (start, fields) in windows)
            {
                content.Add($"metrics:{type}:{start}", RedisStages.Hash(fields.Select(field => (field.Key, field.Value))));
            }

            if (windows.Count > 0)
            {
                content.Add($"metrics:{type}:windows", RedisStages.SortedSet(windows.Keys.Select(start => (start, (double)start))));
            }
        }

        foreach (var session in _sessions.Values)
        {
            content.Add($"session:{session.Id}", RedisStages.Hash(Fields(session)));
        }

        if (_sessions.Count > 0)
        {
            content.Add("sessions:active", RedisStages.SortedSet(
                _sessions.Values.OrderBy(session => session.End).ThenBy(session => session.Id, StringComparer.Ordinal).Select(session => (session.Id, (double)session.End))));
        }

        return content;
    }

    private static IEnumerable<(string, string)> Fields(Session session)
    {
        (string Name, object? Value)[] fields =
        [
            ("session_id", session.Id), ("user_id", session.User), ("start_time", session.Start), ("end_time", session.End),
            ("duration", session.Duration), ("page_count", session.Pages), ("device_category", session.Device),
        ];
        return fields.Where(field => field.Value is not null).Select(field => (field.Name, string.Create(CultureInfo.InvariantCulture, $"{field.Value}")));
    }

    private static string Text(MeasureKind kind, long bits) => kind == MeasureKind.Count
        ? bits.ToString(CultureInfo.InvariantCulture)
        : BitConverter.Int64BitsToDouble(bits).ToString("R", CultureInfo.InvariantCulture);
}
