using System.Runtime.InteropServices;
using Cache.Metrics;
using Cache.Service.Model;
using StackExchange.Redis;

namespace Cache.Service.Partitions;

/// <summary>
/// What a batch writes for one window: the latest value of each dimension and measure, and the partition it came from, because a
/// value is not written once its partition is revoked.
/// </summary>
internal sealed class WindowWrite
{
    // Each dimension has a slot, which has a place per measure in both lists.
    private readonly Dictionary<Dimension, int> _slots = [];
    private readonly List<long> _values = [];
    private readonly List<AssignedPartition?> _from = [];
    private MetricType _type = MetricType.Event;

    /// <summary>The number of dimensions.</summary>
    public int Count => _slots.Count;

    /// <summary>The dimensions.</summary>
    public IReadOnlyCollection<Dimension> Dimensions => _slots.Keys;

    /// <summary>Roughly the memory it keeps when emptied, in dimensions.</summary>
    public int Capacity => _slots.Capacity;

    /// <summary>Empties it for a window of another type.</summary>
    public void Reset(MetricType type)
    {
        _type = type;
        _slots.Clear();
        _values.Clear();
        _from.Clear();
    }

    /// <summary>Merges the measures of a later row, which win.</summary>
    public void Add(Dimension dimension, in Measures measures, AssignedPartition from)
    {
        var count = _type.Measures.Count;
        ref var slot = ref CollectionsMarshal.GetValueRefOrAddDefault(_slots, dimension, out var exists);
        if (!exists)
        {
            slot = _values.Count;
            CollectionsMarshal.SetCount(_values, slot + count);
            CollectionsMarshal.SetCount(_from, slot + count);
            CollectionsMarshal.AsSpan(_from)[slot..].Clear();
        }

        var values = CollectionsMarshal.AsSpan(_values).Slice(slot, count);
        var origins = CollectionsMarshal.AsSpan(_from).Slice(slot, count);
        for (var number = 0; number < count; number++)
        {
            if (measures.Has(number))
            {
                (values[number], origins[number]) = (measures[number], from);
            }
        }
    }

    /// <summary>The value of a measure; null if it is absent.</summary>
    public long? Value(Dimension dimension, int measure)
    {
        var at = _slots[dimension] + measure;
        return _from[at] is null ? null : _values[at];
    }

    /// <summary>Removes a dimension.</summary>
    public void Remove(Dimension dimension) => _slots.Remove(dimension);

    /// <summary>Removes what came from partitions no longer owned.</summary>
    public void DropRevoked()
    {
        foreach (var (dimension, slot) in _slots)
        {
            var origins = CollectionsMarshal.AsSpan(_from).Slice(slot, _type.Measures.Count);
            var isEmpty = true;
            foreach (ref var origin in origins)
            {
                origin = origin is { Owned: true } ? origin : null;
                isEmpty &= origin is null;
            }

            if (isEmpty)
            {
                _slots.Remove(dimension);
            }
        }
    }

    /// <summary>The fields to write, as they are in Redis.</summary>
    public HashEntry[] Entries()
    {
        var values = CollectionsMarshal.AsSpan(_values);
        var origins = CollectionsMarshal.AsSpan(_from);
        var entries = new HashEntry[FieldCount(origins)];
        var next = 0;
        foreach (var (dimension, slot) in _slots)
        {
            var fields = dimension.Fields;
            for (var number = 0; number < fields.Length; number++)
            {
                if (origins[slot + number] is not null)
                {
                    entries[next++] = new(fields[number], Text(_type.Measures[number].Kind, values[slot + number]));
                }
            }
        }

        return entries;
    }

    private int FieldCount(ReadOnlySpan<AssignedPartition?> origins)
    {
        var (count, measures) = (0, _type.Measures.Count);
        foreach (var slot in _slots.Values)
        {
            foreach (var origin in origins.Slice(slot, measures))
            {
                count += origin is null ? 0 : 1;
            }
        }

        return count;
    }

    /// <summary>An integer, or the shortest text that parses back to the same double.</summary>
    private static RedisValue Text(MeasureKind kind, long bits) => kind == MeasureKind.Count
        ? bits
        : BitConverter.Int64BitsToDouble(bits).ToString("R", System.Globalization.CultureInfo.InvariantCulture);
}
