using System.Text;
using Cache.Service.Http;
using CsCheck;

namespace Cache.Tests.Http;

/// <summary>Which dimensions a list of names selects.</summary>
public sealed class DimensionFilterTests
{
    [Theory]
    [InlineData("a", "a")]
    [InlineData("a,b", "a|b")]
    [InlineData("a, b ", "a| b ")]
    [InlineData(@"Cart\, viewed", "Cart, viewed")]
    [InlineData(@"a\\,b", @"a\|b")]
    [InlineData(@"a\\\,b", @"a\,b")]
    [InlineData(@"a\b", @"a\b")]
    [InlineData(@"a\", @"a\")]
    [InlineData("100%", "100%")]
    [InlineData("a%2Cb", "a%2Cb")]
    [InlineData(",a,,b,", "a|b")]
    [InlineData("\u00E9,e\u0301", "\u00E9|e\u0301")]
    public void Names_AreSeparatedByCommas_AndTakenAsTheyAre(string text, string names)
    {
        var filter = DimensionFilter.Of(text)!;

        Assert.All(names.Split('|'), name => Assert.True(filter.SelectsDimension(name)));
        Assert.False(filter.SelectsDimension(names.Split('|')[0] + " "));
        Assert.False(filter.SelectsDimension(" " + names.Split('|')[0]));
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData(",,")]
    public void NoName_MeansAll(string? text) => Assert.Null(DimensionFilter.Of(text));

    [Fact]
    public void Spellings_OfOneCharacter_AreDifferentNames()
    {
        var composed = DimensionFilter.Of("\u00E9")!;
        Assert.True(composed.SelectsDimension("\u00E9"));
        Assert.False(composed.SelectsDimension("e\u0301"));
    }

    [Fact]
    public void AnyName_CanBeSelected_AmongOthers() =>
        Gen.Select(Gen.Char["ab ,\\%é\"+&."].Array[1, 8].Select(letters => new string(letters)).Array[1, 4], Gen.Char["ab ,\\%é"].Array[1, 8].Select(letters => new string(letters)))
            .Sample((names, other) =>
            {
                var text = string.Join(',', names.Select(name => name.Replace(@"\", @"\\", StringComparison.Ordinal).Replace(",", @"\,", StringComparison.Ordinal)));
                var filter = DimensionFilter.Of(text)!;

                Assert.All(names, name => Assert.True(filter.Selects(Encoding.UTF8.GetBytes(name + ".count")), text));
                Assert.Equal(names.Contains(other), filter.SelectsDimension(other));
            });
}
