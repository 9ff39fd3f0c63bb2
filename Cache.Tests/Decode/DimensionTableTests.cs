using System.Globalization;
using System.Text;
using Cache.Metrics;
using Cache.Service.Decode;

namespace Cache.Tests.Decode;

public sealed class DimensionTableTests
{
    [Fact]
    public void SameBytes_GiveTheSameDimension()
    {
        var table = new DimensionTable(MetricType.Event);

        var dimension = table.Get("é"u8);

        Assert.Same(dimension, table.Get("é"u8));
        Assert.NotEqual(dimension, table.Get("e"u8));
        Assert.Equal(("é", "é.count", "é.users"), (dimension.Name, dimension.Fields[0].ToString(), dimension.Fields[1].ToString()));
        Assert.Equal("é", dimension.ToString());
    }

    [Fact]
    public void Dimensions_OfTwoTypes_AreDifferent() =>
        Assert.NotEqual(new DimensionTable(MetricType.Event).Get("a"u8), new DimensionTable(MetricType.Performance).Get("a"u8));

    [Fact]
    public void FullTable_StartsOver_AndOldAndNewDimensionsAreEqual()
    {
        var table = new DimensionTable(MetricType.Event);
        var old = table.Get("0"u8);
        for (var i = 1; i < 100_000; i++)
        {
            table.Get(Encoding.UTF8.GetBytes(i.ToString(CultureInfo.InvariantCulture)));
        }

        Assert.Same(old, table.Get("0"u8));
        table.Get("one too many"u8);
        var again = table.Get("0"u8);

        // A batch may hold both: they must be the same key.
        Assert.NotSame(old, again);
        Assert.Equal(old, again);
        Assert.Equal(old.GetHashCode(), again.GetHashCode());
        Assert.False(old.Equals(null));
        Assert.False(old.Equals("0"));
    }
}
