using System.Buffers.Text;
using System.Globalization;
using System.Numerics;
using System.Text.Json;
using Cache.Metrics;

namespace Cache.Service.Http.Query;

/// <summary>Rolls up the values of one measure. Values are added from the newest window to the oldest.</summary>
internal struct RollupValue
{
    // Counts add up exactly, also beyond int64.
    private Int128 _whole;
    private double _number;

    // What a sum has lost to rounding (Neumaier's algorithm), so that cents add up to cents.
    private double _lost;
    private long _values;

    /// <summary>Whether there is no value yet.</summary>
    public readonly bool IsEmpty => _values == 0;

    /// <summary>Adds a value as it is in Redis; text that is not a number of the measure's kind was not written by Cache, and is left out.</summary>
    public void Add(Measure measure, ReadOnlySpan<byte> text)
    {
        if (measure.Kind == MeasureKind.Count)
        {
            if (Utf8Parser.TryParse(text, out long whole, out var read) && read == text.Length)
            {
                _whole = Combined(measure.Rollup, _whole, whole);
                _values++;
            }
        }
        else if (Utf8Parser.TryParse(text, out double number, out var read) && read == text.Length && double.IsFinite(number))
        {
            var sofar = _number;
            _number = Combined(measure.Rollup, sofar, number);
            if (measure.Rollup is Rollup.Sum or Rollup.Mean)
            {
                _lost += Math.Abs(sofar) >= Math.Abs(number) ? sofar - _number + number : number - _number + sofar;
            }

            _values++;
        }
    }

    /// <summary>Writes the result as a property; nothing if there is no value, or its sum is beyond what a double holds.</summary>
    public readonly void Write(Utf8JsonWriter json, Measure measure)
    {
        if (measure.Kind == MeasureKind.Count && measure.Rollup != Rollup.Mean)
        {
            if (!IsEmpty)
            {
                json.WritePropertyName(measure.Name);
                json.WriteRawValue(_whole.ToString(CultureInfo.InvariantCulture));
            }
        }
        else if (Result(measure) is var result && double.IsFinite(result))
        {
            json.WriteNumber(measure.Name, result);
        }
    }

    /// <summary>The result as a number to order by; NaN if there is none.</summary>
    public readonly double Result(Measure measure)
    {
        var result = measure.Kind == MeasureKind.Count ? (double)_whole : _number + _lost;
        return IsEmpty ? double.NaN : measure.Rollup == Rollup.Mean ? result / _values : result;
    }

    private readonly T Combined<T>(Rollup rollup, T sofar, T value)
        where T : INumber<T> => rollup switch
        {
            _ when IsEmpty => value,
            Rollup.Sum or Rollup.Mean => sofar + value,
            Rollup.Max => T.Max(sofar, value),
            Rollup.Min => T.Min(sofar, value),
            _ => sofar,
        };
}
