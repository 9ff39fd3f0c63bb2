using Cache.Metrics;
using Microsoft.Extensions.ObjectPool;

namespace Cache.Service.Model;

/// <summary>
/// The measures of a row, in the order of its type: those present are written, those absent stay as they are in Redis. A count is
/// an integer; a number is a <see cref="double"/>, as its bits. Two are held in place, so that most rows need nothing else; further
/// ones are in an array from a pool, so that no row allocates.
/// </summary>
public readonly record struct Measures
{
    /// <summary>How many are held in place.</summary>
    internal const int InPlace = 2;

    // As many as can be in a full queue and a batch; beyond that, arrays are allocated.
    private const int PooledArrays = 16 * 1024;

    private static readonly DefaultObjectPool<long[]> Pool = new(new ArrayPolicy(), PooledArrays);

    private readonly long _first;
    private readonly long _second;
    private readonly byte _present;

    private Measures(long first, long second, byte present, long[]? more)
    {
        (_first, _second, _present, More) = (first, second, present, more);
    }

    /// <summary>The values beyond <see cref="InPlace"/>; null if there are none.</summary>
    internal long[]? More { get; }

    /// <summary>Whether none is present.</summary>
    public bool IsEmpty => _present == 0;

    /// <summary>The value of a measure; 0 if it is absent.</summary>
    /// <param name="number">Its place in the type's list.</param>
    public long this[int number] => number switch
    {
        0 => _first,
        1 => _second,
        _ => More is { } more ? more[number - InPlace] : 0,
    };

    /// <summary>Creates measures from values and a bit for each that is present.</summary>
    /// <param name="values">One per measure of the type; 0 where it is absent.</param>
    /// <param name="present">The bit <c>1 &lt;&lt; number</c> for each that is present.</param>
    internal static Measures Of(ReadOnlySpan<long> values, int present)
    {
        long[]? more = null;
        if (values.Length > InPlace)
        {
            more = Pool.Get();
            values[InPlace..].CopyTo(more);
        }

        return new(values[0], values.Length > 1 ? values[1] : 0, (byte)present, more);
    }

    /// <summary>Puts measures together from what a row holds.</summary>
    internal static Measures From(long first, long second, byte present, long[]? more) => new(first, second, present, more);

    /// <summary>Whether a measure is present.</summary>
    /// <param name="number">Its place in the type's list.</param>
    public bool Has(int number) => (_present & (1 << number)) != 0;

    /// <summary>Takes the measures apart, for a row to hold.</summary>
    internal (long First, long Second, byte Present, long[]? More) Parts() => (_first, _second, _present, More);

    /// <summary>Returns the array to the pool; these measures, and every copy of them, must not be used any more.</summary>
    internal void Release()
    {
        if (More is { } more)
        {
            Pool.Return(more);
        }
    }

    /// <inheritdoc/>
    public bool Equals(Measures other) =>
        _first == other._first && _second == other._second && _present == other._present && More.AsSpan().SequenceEqual(other.More);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(_first, _second, _present);

    /// <inheritdoc/>
    public override string ToString()
    {
        var measures = this;
        return string.Join(' ', Enumerable.Range(0, MetricType.MaxMeasures).Where(measures.Has).Select(number => $"{number}:{measures[number]}"));
    }

    private sealed class ArrayPolicy : PooledObjectPolicy<long[]>
    {
        public override long[] Create() => new long[MetricType.MaxMeasures - InPlace];

        public override bool Return(long[] obj)
        {
            // The next row may have fewer.
            Array.Clear(obj);
            return true;
        }
    }
}
