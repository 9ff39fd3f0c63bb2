using System.Text;
using Cache.Metrics;

namespace Cache.Producer.Simulator;

/// <summary>
/// Makes rows of any metric type. Counts, and numbers that are rolled up by their sum, are running totals of their window; other
/// numbers wander from one row of their dimension to the next.
/// </summary>
internal sealed class TypeRows
{
    private readonly MetricType _type;
    private readonly string _topic;
    private readonly Random _random;
    private readonly RowWriter _writer;
    private readonly MalformedRows _malformed;
    private readonly IReadOnlyList<string>[] _values;
    private readonly byte[] _timeField;
    private readonly byte[] _endField;
    private readonly byte[][] _dimensionFields;
    private readonly byte[][] _measureFields;
    private readonly long _window;
    private readonly WindowTotals<decimal[]> _totals;

    // Where each number wanders, by dimension. Bounded, because dimensions are few.
    private readonly Dictionary<string, double[]> _walks = [];

    /// <summary>Creates the rows of a type.</summary>
    /// <param name="type">The type; one of its topics is a name.</param>
    /// <param name="options">The length of windows that the type leaves open, and the values of known dimension fields.</param>
    /// <param name="random">Draws the values.</param>
    /// <param name="writer">Writes the rows.</param>
    /// <param name="malformed">Makes those that break a rule.</param>
    public TypeRows(MetricType type, SimulatorOptions options, Random random, RowWriter writer, MalformedRows malformed)
    {
        (_type, _random, _writer, _malformed) = (type, random, writer, malformed);
        _topic = SimulatorTypes.TopicOf(type)!;
        _values = [.. type.DimensionFields.Select(field => DimensionValues.Of(type, field, options))];
        _timeField = Encoding.UTF8.GetBytes(type.TimeField);
        _endField = Encoding.UTF8.GetBytes(type.EndField);
        _dimensionFields = [.. type.DimensionFields.Select(field => Encoding.UTF8.GetBytes(field))];
        _measureFields = [.. type.Measures.Select(measure => Encoding.UTF8.GetBytes(measure.Field))];
        _window = (type.WindowSeconds ?? options.WindowSeconds) * 1000L;
        _totals = new(_window);
    }

    /// <summary>Makes a well-formed row.</summary>
    /// <param name="now">The time of the row, in milliseconds since 1970 UTC; it never goes back.</param>
    /// <param name="back">How many windows late the row is, 0 to <see cref="RowGenerator.MaxLateWindows"/>.</param>
    public Row Next(long now, int back)
    {
        var window = _totals.Window(now, back);
        var values = Values();
        var dimension = string.Join(_type.Separator, values);

        var json = _writer.Begin();
        _writer.Times(_timeField, _endField, window, window + _window, _type.TimeUnit);
        foreach (var (field, value) in _dimensionFields.Zip(values))
        {
            json.WriteString(field, value);
        }

        var totals = _totals[window, dimension] ??= new decimal[_measureFields.Length];
        if (!_walks.TryGetValue(dimension, out var walk))
        {
            _walks[dimension] = walk = [.. _type.Measures.Select(Origin)];
        }

        foreach (var (number, measure) in _type.Measures.Index())
        {
            if (measure.Kind == MeasureKind.Count)
            {
                totals[number] += Growth(measure, totals[number]);
                json.WriteNumber(_measureFields[number], (long)totals[number]);
            }
            else if (measure.Rollup == Rollup.Sum)
            {
                totals[number] += (decimal)Math.Round(measure.IsSigned ? Around(10) : 5 + (45 * _random.NextDouble()), 2);
                json.WriteNumber(_measureFields[number], totals[number]);
            }
            else
            {
                walk[number] = Step(measure, walk[number]);
                json.WriteNumber(_measureFields[number], (decimal)Math.Round(walk[number], 2));
            }
        }

        return new(_topic, dimension, _writer.End(), RowTraits.None);
    }

    /// <summary>Makes a row that the service must reject.</summary>
    /// <param name="now">The time of the row, in milliseconds since 1970 UTC; it never goes back.</param>
    public Row Malformed(long now) => _malformed.Next(_type, _topic, Values(), _totals.Window(now, 0), _window);

    private string[] Values() => Array.ConvertAll(_values, values => values[_random.Next(values.Count)]);

    // What cannot be added up, such as distinct users, grows more slowly.
    private long Growth(Measure measure, decimal before) =>
        measure.Rollup == Rollup.Sum ? _random.Next(1, 4) : before == 0 ? 1 : _random.Next(2);

    private double Origin(Measure measure) =>
        measure.IsSigned ? Around(20) : measure.Unit == "%" ? 100 * _random.NextDouble() : 100 + (400 * _random.NextDouble());

    // Up to 3 % either way. Signed numbers are drawn back to 0, so that they keep changing their sign.
    private double Step(Measure measure, double value) => measure.IsSigned
        ? (0.9 * value) + Around(5)
        : Math.Clamp(value * (0.97 + (0.06 * _random.NextDouble())), 1, measure.Unit == "%" ? 100 : 5000);

    private double Around(double amplitude) => amplitude * ((2 * _random.NextDouble()) - 1);
}
