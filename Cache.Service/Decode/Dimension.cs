using System.Diagnostics.CodeAnalysis;
using System.Text;
using StackExchange.Redis;

namespace Cache.Service.Decode;

/// <summary>A dimension's value (an event type, a device category) with the names of its Redis fields, ready to send.</summary>
public sealed class Dimension : IEquatable<Dimension>
{
    private readonly byte[] _utf8;
    private readonly int _hash;

    internal Dimension(byte[] utf8, ReadOnlySpan<byte> firstSuffix, ReadOnlySpan<byte> secondSuffix)
    {
        _utf8 = utf8;
        _hash = Utf8Comparer.Instance.GetHashCode(utf8);
        Name = Encoding.UTF8.GetString(utf8);
        First = (byte[])[.. utf8, .. firstSuffix];
        Second = (byte[])[.. utf8, .. secondSuffix];
    }

    /// <summary>The dimension's value.</summary>
    public string Name { get; }

    /// <summary>The field of the first measure: <c>{name}.count</c> or <c>{name}.avg_load_time</c>.</summary>
    public RedisValue First { get; }

    /// <summary>The field of the second measure: <c>{name}.users</c> or <c>{name}.p95_load_time</c>.</summary>
    public RedisValue Second { get; }

    /// <inheritdoc/>
    public bool Equals([NotNullWhen(true)] Dimension? other) =>
        ReferenceEquals(this, other) || (other is not null && _hash == other._hash && _utf8.AsSpan().SequenceEqual(other._utf8));

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as Dimension);

    /// <inheritdoc/>
    public override int GetHashCode() => _hash;

    /// <inheritdoc/>
    public override string ToString() => Name;
}

/// <summary>
/// Interns dimensions by their UTF-8 bytes, so that a row allocates neither the dimension nor its field names again.
/// One reader's own; not safe for several threads.
/// </summary>
internal sealed class DimensionTable(string firstSuffix, string secondSuffix)
{
    // Some 200 bytes an entry: hostile input cannot take more than about 20 MB before the table starts anew.
    private const int MostEntries = 100_000;

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

        if (_byName.Count == MostEntries)
        {
            _byName.Clear();
        }

        var name = utf8.ToArray();
        dimension = new Dimension(name, _firstSuffix, _secondSuffix);
        _byName.Add(name, dimension);
        return dimension;
    }
}

/// <summary>Compares UTF-8 texts as arrays or spans.</summary>
internal sealed class Utf8Comparer : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
{
    public static readonly Utf8Comparer Instance = new();

    public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

    public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

    public int GetHashCode(byte[] obj) => GetHashCode(obj.AsSpan());

    public int GetHashCode(ReadOnlySpan<byte> alternate)
    {
        var hash = default(HashCode);
        hash.AddBytes(alternate);
        return hash.ToHashCode();
    }

    public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();
}
