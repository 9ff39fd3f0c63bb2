using System.Diagnostics.CodeAnalysis;
using System.Text;
using StackExchange.Redis;

namespace Cache.Service.Model;

/// <summary>The value of a dimension (an event type or a device category), with its Redis field names ready to send.</summary>
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
