using System.Diagnostics.CodeAnalysis;
using System.Text;
using Cache.Metrics;
using StackExchange.Redis;

namespace Cache.Service.Model;

/// <summary>
/// The value of a dimension of one metric type (an event type, or a country and a plan), with its Redis field names ready to send.
/// </summary>
public sealed class Dimension : IEquatable<Dimension>
{
    private readonly byte[] _utf8;
    private readonly int _hash;
    private readonly RedisValue[] _fields;

    /// <summary>Creates a dimension.</summary>
    /// <param name="type">Its metric type.</param>
    /// <param name="utf8">Its value.</param>
    /// <param name="suffixes">What the field name of each measure ends with.</param>
    internal Dimension(MetricType type, byte[] utf8, byte[][] suffixes)
    {
        Type = type;
        _utf8 = utf8;
        _hash = Utf8Comparer.Instance.GetHashCode(utf8);
        Name = Encoding.UTF8.GetString(utf8);
        _fields = Array.ConvertAll(suffixes, suffix => (RedisValue)(byte[])[.. utf8, .. suffix]);
    }

    /// <summary>The metric type.</summary>
    public MetricType Type { get; }

    /// <summary>The dimension's value.</summary>
    public string Name { get; }

    /// <summary>The field of each measure: <c>{name}.{measure}</c>.</summary>
    public ReadOnlySpan<RedisValue> Fields => _fields;

    /// <inheritdoc/>
    public bool Equals([NotNullWhen(true)] Dimension? other) =>
        ReferenceEquals(this, other)
        || (other is not null && _hash == other._hash && ReferenceEquals(Type, other.Type) && _utf8.AsSpan().SequenceEqual(other._utf8));

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as Dimension);

    /// <inheritdoc/>
    public override int GetHashCode() => _hash;

    /// <inheritdoc/>
    public override string ToString() => Name;
}
