using System.Text;

namespace Cache.Service.Query;

/// <summary>Which dimensions a reader wants: names with commas.</summary>
internal sealed class DimensionFilter
{
    /// <summary>What a parameter that carries one says of itself.</summary>
    public const string Description = "Event types or device categories, with commas; all by default. One that is not there gives nothing.";

    private readonly byte[][] _names;

    private DimensionFilter(byte[][] names) => _names = names;

    /// <summary>The filter; null for all, which is also what no name at all means.</summary>
    public static DimensionFilter? Of(string? text)
    {
        var names = text is null ? [] : text.Split(',', StringSplitOptions.TrimEntries | StringSplitOptions.RemoveEmptyEntries);
        return names.Length == 0 ? null : new([.. names.Select(Encoding.UTF8.GetBytes)]);
    }

    /// <summary>Whether it wants a field, named <c>{dimension}.{measure}</c>.</summary>
    public bool Wants(ReadOnlySpan<byte> field) => Names(DimensionOf(field));

    /// <summary>Whether it wants a dimension.</summary>
    public bool Names(string dimension) => Names(Encoding.UTF8.GetBytes(dimension));

    private bool Names(ReadOnlySpan<byte> dimension)
    {
        foreach (var name in _names)
        {
            if (dimension.SequenceEqual(name))
            {
                return true;
            }
        }

        return false;
    }

    /// <summary>What stands before the measure; a dimension may have dots of its own.</summary>
    public static ReadOnlySpan<byte> DimensionOf(ReadOnlySpan<byte> field) =>
        field.LastIndexOf((byte)'.') is var dot and > 0 ? field[..dot] : field;
}
