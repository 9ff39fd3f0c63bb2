using Cache.Service.Model;

namespace Cache.Service.Partitions;

/// <summary>What a batch writes for one dimension of one window.</summary>
/// <param name="Measures">The latest values.</param>
/// <param name="FirstFrom">The partition of the first measure, which is not written if the partition is revoked.</param>
/// <param name="SecondFrom">The partition of the second measure, likewise.</param>
internal readonly record struct FieldWrite(Measures Measures, AssignedPartition? FirstFrom, AssignedPartition? SecondFrom)
{
    /// <summary>Merges the measures of a later row, which win.</summary>
    public FieldWrite With(Measures later, AssignedPartition from) =>
        new(Measures.With(later), later.HasFirst ? from : FirstFrom, later.HasSecond ? from : SecondFrom);

    /// <summary>Keeps only the measures from partitions still owned.</summary>
    public FieldWrite OfOwned()
    {
        var (first, second) = (FirstFrom is { Owned: true }, SecondFrom is { Owned: true });
        return this with { Measures = new(first ? Measures.First : 0, second ? Measures.Second : 0, first, second) };
    }
}
