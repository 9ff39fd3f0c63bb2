using System.Text;
using Cache.Service.Model;

namespace Cache.Service.Decode;

/// <summary>
/// Interns dimensions by their UTF-8 bytes: the dimension and its field names are allocated once, not per row. Not thread-safe.
/// </summary>
/// <param name="firstSuffix">What the field name of the first measure ends with.</param>
/// <param name="secondSuffix">What the field name of the second measure ends with.</param>
internal sealed class DimensionTable(string firstSuffix, string secondSuffix)
{
    // Bounds what hostile input can take: 20 MB of short names (200 bytes per entry) or 80 MB of the longest.
    private const int MaxEntries = 100_000;

    private readonly byte[] _firstSuffix = Encoding.UTF8.GetBytes(firstSuffix);
    private readonly byte[] _secondSuffix = Encoding.UTF8.GetBytes(secondSuffix);
    private readonly Dictionary<byte[], Dimension> _byName = new(Utf8Comparer.Instance);

    /// <summary>The dimension of that name; a new one if the table does not have it.</summary>
    public Dimension Get(ReadOnlySpan<byte> utf8)
    {
        var lookup = _byName.GetAlternateLookup<ReadOnlySpan<byte>>();
        if (lookup.TryGetValue(utf8, out var dimension))
        {
            return dimension;
        }

        if (_byName.Count == MaxEntries)
        {
            _byName.Clear();
        }

        var name = utf8.ToArray();
        dimension = new Dimension(name, _firstSuffix, _secondSuffix);
        _byName.Add(name, dimension);
        return dimension;
    }
}
