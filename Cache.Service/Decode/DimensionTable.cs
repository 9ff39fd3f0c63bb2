using System.Text;
using Cache.Metrics;
using Cache.Service.Model;

namespace Cache.Service.Decode;

/// <summary>
/// Interns the dimensions of one metric type by their UTF-8 bytes: a dimension and its field names are allocated once, not per row.
/// Not thread-safe.
/// </summary>
internal sealed class DimensionTable(MetricType type)
{
    // Bounds what hostile input can take: 20 MB of short names (100 bytes per field) or 80 MB of the longest.
    private const int MaxFields = 200_000;

    private readonly int _maxEntries = MaxFields / type.Measures.Count;
    private readonly byte[][] _suffixes = [.. type.Measures.Select(measure => Encoding.UTF8.GetBytes($".{measure.Name}"))];
    private readonly Dictionary<byte[], Dimension> _byName = new(Utf8Comparer.Instance);

    /// <summary>The dimension of that name; a new one if the table does not have it.</summary>
    public Dimension Get(ReadOnlySpan<byte> utf8)
    {
        var lookup = _byName.GetAlternateLookup<ReadOnlySpan<byte>>();
        if (lookup.TryGetValue(utf8, out var dimension))
        {
            return dimension;
        }

        if (_byName.Count >= _maxEntries)
        {
            _byName.Clear();
        }

        var name = utf8.ToArray();
        dimension = new Dimension(type, name, _suffixes);
        _byName.Add(name, dimension);
        return dimension;
    }
}
