using System.Text;

namespace Cache.Service.Http;

/// <summary>
/// The dimensions that a reader asks for: a comma-separated list of names, which are taken as they are. A backslash before a comma
/// or another backslash makes it part of a name.
/// </summary>
internal sealed class DimensionFilter
{
    /// <summary>The description of a query parameter with a filter.</summary>
    public const string Description = @"Event types or device categories, comma-separated; all by default. Unknown ones select nothing. A comma or backslash in a name needs a backslash before it: `Cart\, viewed`. Spaces count.";

    // Looked up once per field, and a list of windows has hundreds of thousands of fields.
    private readonly HashSet<byte[]>.AlternateLookup<ReadOnlySpan<byte>> _names;

    private DimensionFilter(IEnumerable<byte[]> names) => _names = new HashSet<byte[]>(names, new ByContent()).GetAlternateLookup<ReadOnlySpan<byte>>();

    /// <summary>Parses a filter; returns null for all dimensions, also if the list has no names.</summary>
    public static DimensionFilter? Of(string? text)
    {
        var names = text is null ? [] : Names(text);
        return names.Count == 0 ? null : new(names.Select(Encoding.UTF8.GetBytes));
    }

    /// <summary>Whether it selects a field, named <c>{dimension}.{measure}</c>.</summary>
    public bool Selects(ReadOnlySpan<byte> field) => SelectsDimension(DimensionOf(field));

    /// <summary>Whether it selects a dimension.</summary>
    public bool SelectsDimension(string dimension) => SelectsDimension(Encoding.UTF8.GetBytes(dimension));

    private static List<string> Names(string text)
    {
        var names = new List<string>();
        var name = new StringBuilder();
        for (var at = 0; at < text.Length; at++)
        {
            if (text[at] == ',')
            {
                End();
                continue;
            }

            if (text[at] == '\\' && at + 1 < text.Length && text[at + 1] is ',' or '\\')
            {
                at++;
            }

            name.Append(text[at]);
        }

        End();
        return names;

        // No dimension is empty.
        void End()
        {
            if (name.Length > 0)
            {
                names.Add(name.ToString());
                name.Clear();
            }
        }
    }

    private bool SelectsDimension(ReadOnlySpan<byte> dimension) => _names.Contains(dimension);

    /// <summary>The part of a field name before the measure; a dimension may contain dots.</summary>
    public static ReadOnlySpan<byte> DimensionOf(ReadOnlySpan<byte> field) =>
        field.LastIndexOf((byte)'.') is var dot and > 0 ? field[..dot] : field;

    private sealed class ByContent : IEqualityComparer<byte[]>, IAlternateEqualityComparer<ReadOnlySpan<byte>, byte[]>
    {
        public bool Equals(byte[]? x, byte[]? y) => x.AsSpan().SequenceEqual(y);

        public bool Equals(ReadOnlySpan<byte> alternate, byte[] other) => alternate.SequenceEqual(other);

        public int GetHashCode(byte[] obj) => GetHashCode(obj.AsSpan());

        public int GetHashCode(ReadOnlySpan<byte> alternate)
        {
            // HashCode is randomly seeded: names come from readers, who could otherwise cause collisions.
            var hash = new HashCode();
            hash.AddBytes(alternate);
            return hash.ToHashCode();
        }

        public byte[] Create(ReadOnlySpan<byte> alternate) => alternate.ToArray();
    }
}
