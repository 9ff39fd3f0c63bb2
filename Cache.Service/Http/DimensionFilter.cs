using System.Text;

namespace Cache.Service.Http;

/// <summary>Which dimensions a reader wants: names with commas.</summary>
internal sealed class DimensionFilter
{
    /// <summary>What a parameter that carries one says of itself.</summary>
    public const string Description = "Event types or device categories, with commas; all by default. One that is not there gives nothing.";

    // Looked up once a field, of which a list of windows has hundreds of thousands.
    private readonly HashSet<byte[]>.AlternateLookup<ReadOnlySpan<byte>> _names;

    private DimensionFilter(IEnumerable<byte[]> names) => _names = new HashSet<byte[]>(names, new ByContent()).GetAlternateLookup<ReadOnlySpan<byte>>();

    /// <summary>The filter; null for all, which is also what no name at all means.</summary>
    public static DimensionFilter? Of(string? text)
    {
        var names = text is null ? [] : text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return names.Length == 0 ? null : new(names.Select(Encoding.UTF8.GetBytes));
    }

    /// <summary>Whether it wants a field, named <c>{dimension}.{measure}</c>.</summary>
    public bool Wants(ReadOnlySpan<byte> field) => Names(DimensionOf(field));

    /// <summary>Whether it wants a dimension.</summary>
    public bool Names(string dimension) => Names(Encoding.UTF8.GetBytes(dimension));

    private bool Names(ReadOnlySpan<byte> dimension) => _names.Contains(dimension);

    /// <summary>What stands before the measure; a dimension may have dots of its own.</summary>
    public static ReadOnlySpan<byte> DimensionOf(ReadOnlySpan<byte> field) =>
        field.LastIndexOf((byte)'.') is var dot and > 0 ? field[..dot] : field;

    private sealed class ByContent : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
    {
        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

        public int GetHashCode(byte[] obj) => GetHashCode(obj.AsSpan());

        public int GetHashCode(ReadOnlySpan<byte> alternate)
        {
            // With a seed that nobody knows: names come from readers.
            var hash = new HashCode();
            hash.AddBytes(alternate);
            return hash.ToHashCode();
        }

        public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();
    }
}
