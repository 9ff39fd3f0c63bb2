using System.Text.Json;
using Cache.Metrics;
using Cache.Service.Model;

namespace Cache.Service.Http.Query;

/// <summary>How windows are summarized.</summary>
/// <param name="StepMs">The length of a step of the series, in milliseconds; null for no series.</param>
/// <param name="Top">How many dimensions are listed; null for all.</param>
/// <param name="By">The measure that dimensions are ordered by, largest first, as its place in the type's list; null to order them by name.</param>
internal sealed record SummaryQuery(long? StepMs, int? Top, int? By);

/// <summary>
/// Rolls up the windows of one type: each measure by its own roll-up, by dimension and in total, over all windows and over each step.
/// Windows are added from the newest to the oldest.
/// </summary>
internal sealed class Summary(MetricType type, SummaryQuery query, DimensionFilter? filter)
{
    private readonly Step _all = new(type);

    // From the newest to the oldest.
    private readonly List<(long Start, Step Step)> _steps = [];
    private long _newest;
    private long _oldest;

    /// <summary>Adds a window.</summary>
    public void Add(Window window)
    {
        _newest = _all.Windows == 0 ? window.Start : _newest;
        _oldest = window.Start;
        Step? step = null;
        if (query.StepMs is { } length)
        {
            var start = window.Start - (window.Start % length);
            if (_steps is not [.., var last] || last.Start != start)
            {
                _steps.Add((start, new(type)));
            }

            step = _steps[^1].Step;
        }

        _all.Windows++;
        if (step is not null)
        {
            step.Windows++;
        }

        foreach (var field in window.Fields)
        {
            var name = ((ReadOnlyMemory<byte>)field.Name).Span;
            var dimension = DimensionFilter.DimensionOf(name);
            if (filter?.Selects(name) == false || dimension.Length == name.Length || type.PlaceOf(name[(dimension.Length + 1)..]) is not (>= 0 and var place))
            {
                continue;
            }

            var value = ((ReadOnlyMemory<byte>)field.Value).Span;
            _all.Add(dimension, place, value);
            step?.Add(dimension, place, value);
        }
    }

    /// <summary>Writes the answer.</summary>
    public void Write(Utf8JsonWriter json)
    {
        json.WriteStartObject();
        json.WriteString("type"u8, type.Name);
        json.WriteStartObject("rollups"u8);
        foreach (var measure in type.Measures)
        {
            json.WriteString(measure.Name, measure.Rollup.Word());
        }

        json.WriteEndObject();
        json.WriteNumber("windows"u8, _all.Windows);
        if (_all.Windows > 0)
        {
            json.WriteNumber("first"u8, _oldest);
            json.WriteNumber("last"u8, _newest);
        }

        var listed = Listed();
        WriteStep(json, _all, listed);
        if (query.StepMs is { } length)
        {
            json.WriteNumber("step"u8, length);
            json.WriteStartArray("series"u8);
            foreach (var (start, step) in _steps)
            {
                json.WriteStartObject();
                json.WriteNumber("start"u8, start);
                json.WriteNumber("windows"u8, step.Windows);
                WriteStep(json, step, listed);
                json.WriteEndObject();
            }

            json.WriteEndArray();
        }

        json.WriteEndObject();
    }

    /// <summary>The dimensions that are listed, in their order; the same ones in every step.</summary>
    private byte[][] Listed()
    {
        IEnumerable<KeyValuePair<byte[], RollupValue[]>> ordered = _all.Dimensions.OrderBy(dimension => dimension.Key, Comparer<byte[]>.Create((one, other) => one.AsSpan().SequenceCompareTo(other)));
        if (query.By is { } by)
        {
            // A stable sort: those with the same value stay ordered by name, those without one come last.
            ordered = ordered.OrderByDescending(dimension => dimension.Value[by].Result(type.Measures[by]));
        }

        return [.. ordered.Take(query.Top ?? int.MaxValue).Select(dimension => dimension.Key)];
    }

    private void WriteStep(Utf8JsonWriter json, Step step, byte[][] listed)
    {
        json.WriteStartObject("total"u8);
        for (var place = 0; place < type.Measures.Count; place++)
        {
            // The last values of several dimensions make no total.
            if (type.Measures[place].Rollup != Rollup.Last)
            {
                step.Total[place].Write(json, type.Measures[place]);
            }
        }

        json.WriteEndObject();
        json.WriteStartArray("dimensions"u8);
        foreach (var dimension in listed)
        {
            if (!step.Dimensions.TryGetValue(dimension, out var values))
            {
                continue;
            }

            json.WriteStartObject();
            json.WriteString("dimension"u8, dimension);
            json.WriteStartObject("measures"u8);
            for (var place = 0; place < type.Measures.Count; place++)
            {
                values[place].Write(json, type.Measures[place]);
            }

            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    /// <summary>The values of a range of windows.</summary>
    private sealed class Step(MetricType type)
    {
        private readonly Dictionary<byte[], RollupValue[]> _dimensions = new(Utf8Comparer.Instance);

        public int Windows { get; set; }

        public RollupValue[] Total { get; } = new RollupValue[type.Measures.Count];

        public Dictionary<byte[], RollupValue[]> Dimensions => _dimensions;

        public void Add(ReadOnlySpan<byte> dimension, int place, ReadOnlySpan<byte> value)
        {
            var lookup = _dimensions.GetAlternateLookup<ReadOnlySpan<byte>>();
            if (!lookup.TryGetValue(dimension, out var values))
            {
                lookup[dimension] = values = new RollupValue[type.Measures.Count];
            }

            values[place].Add(type.Measures[place], value);
            Total[place].Add(type.Measures[place], value);
        }
    }
}
