using System.Diagnostics.CodeAnalysis;
using System.Text;
using Cache.Service.Model;
using StackExchange.Redis;

namespace Cache.Service.Decode;

/// <summary>
/// Interns dimensions by their UTF-8 bytes, so that a row allocates neither the dimension nor its field names again.
/// One reader's own; not safe for several threads.
/// </summary>
internal sealed class DimensionTable(string firstSuffix, string secondSuffix)
{
    // Some 200 bytes an entry: hostile input cannot take more than about 20 MB before the table starts anew.
    private const int MaxEntries = 100_000;

    private readonly byte[] _firstSuffix = Encoding.UTF8.GetBytes(firstSuffix);
    private readonly byte[] _secondSuffix = Encoding.UTF8.GetBytes(secondSuffix);
    private readonly Dictionary<byte[], Dimension> _byName = new(Utf8Comparer.Instance);

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
