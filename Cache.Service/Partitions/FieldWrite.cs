using System.Diagnostics;
using System.Runtime.InteropServices;
using Cache.Service.Model;

namespace Cache.Service.Partitions;

/// <summary>What a batch says of one dimension of one window.</summary>
/// <param name="Measures">The last values.</param>
/// <param name="FirstFrom">The partition that the first measure is from; when it is let go, the measure is not written.</param>
/// <param name="SecondFrom">The partition that the second measure is from, likewise.</param>
internal readonly record struct FieldWrite(Measures Measures, AssignedPartition? FirstFrom, AssignedPartition? SecondFrom)
{
    /// <summary>These measures with those of a later row over them.</summary>
    public FieldWrite With(Measures later, AssignedPartition from) =>
        new(Measures.With(later), later.HasFirst ? from : FirstFrom, later.HasSecond ? from : SecondFrom);

    /// <summary>What is left of it when partitions were let go.</summary>
    public FieldWrite OfOwned()
    {
        var (first, second) = (FirstFrom is { Owned: true }, SecondFrom is { Owned: true });
        return this with { Measures = new(first ? Measures.First : 0, second ? Measures.Second : 0, first, second) };
    }
}
