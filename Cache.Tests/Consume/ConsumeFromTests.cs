using Cache.Service.Options;

namespace Cache.Tests.Consume;

public sealed class ConsumeFromTests
{
    [Theory]
    [InlineData("latest", ConsumeFromKind.Latest, 0)]
    [InlineData("EARLIEST", ConsumeFromKind.Earliest, 0)]
    [InlineData(" Latest ", ConsumeFromKind.Latest, 0)]
    [InlineData("90s", ConsumeFromKind.Duration, 90)]
    [InlineData("30m", ConsumeFromKind.Duration, 1800)]
    [InlineData("6h", ConsumeFromKind.Duration, 21600)]
    [InlineData("2D", ConsumeFromKind.Duration, 172800)]
    [InlineData("100000d", ConsumeFromKind.Duration, 8_640_000_000)]
    public void Start_IsAnEndOrADurationBack(string text, ConsumeFromKind kind, long seconds)
    {
        Assert.True(ConsumeFrom.TryParse(text, out var from));
        Assert.Equal(new ConsumeFrom(kind, TimeSpan.FromSeconds(seconds)), from);
    }

    [Theory]
    [InlineData("")]
    [InlineData("newest")]
    [InlineData("6")]
    [InlineData("h")]
    [InlineData("0h")]
    [InlineData("-6h")]
    [InlineData("+6h")]
    [InlineData("1.5h")]
    [InlineData("6 h")]
    [InlineData("6hours")]
    [InlineData("6w")]
    [InlineData("100001d")]
    [InlineData("99999999999s")]
    public void AnythingElse_IsNone(string text) => Assert.False(ConsumeFrom.TryParse(text, out _));
}
