using System.Globalization;
using System.Text;
using Cache.Metrics;
using CsCheck;

namespace Cache.Tests.Decode;

/// <summary>Compares with <see cref="DateTimeOffset"/> as the model.</summary>
public sealed class WindowTimeTests
{
    private static readonly Gen<DateTimeOffset> Time = Gen.Select(
        Gen.Long[DateTime.MinValue.AddDays(2).Ticks, DateTime.MaxValue.AddDays(-2).Ticks], Gen.Int[-14 * 60, 14 * 60],
        (ticks, offset) => new DateTimeOffset(ticks, TimeSpan.Zero).ToOffset(TimeSpan.FromMinutes(offset)));

    private static readonly Gen<string> Format = Gen.OneOf(
        "yyyy-MM-ddTHH:mm:ss.fffffffzzz", "yyyy-MM-ddTHH:mm:ss.fffzzz", "yyyy-MM-ddTHH:mm:sszzz", "yyyy-MM-ddTHH:mmzzz", "yyyy-MM-dd HH:mm:ss.fzzz");

    private static readonly Gen<string> UtcFormat = Gen.OneOf(
        "yyyy-MM-dd HH:mm:ss.fffffff", "yyyy-MM-dd HH:mm:ss.fff'Z'", "yyyy-MM-dd HH:mm:ss", "yyyy-MM-ddTHH:mm:ss.ffffff'Z'", "yyyy-MM-ddTHH:mm'Z'");

    [Fact]
    public void TimeWithOffset_MatchesTheFramework() =>
        Gen.Select(Time, Format).Sample((time, format) => AssertMatchesTheFramework(time.ToString(format, CultureInfo.InvariantCulture)), iter: 20_000);

    [Fact]
    public void TimeWithoutOffset_MatchesTheFrameworkInUtc() =>
        Gen.Select(Time, UtcFormat).Sample(
            (time, format) => AssertMatchesTheFramework(time.ToUniversalTime().ToString(format, CultureInfo.InvariantCulture)), iter: 20_000);

    [Fact]
    public void DamagedTime_MatchesTheFramework_OrIsNotATime() =>
        Gen.Select(Time, Format, Gen.Int[0, 100], Gen.Char[" -+.:0123456789TZzx"]).Sample(
            (time, format, at, put) =>
            {
                var characters = time.ToString(format, CultureInfo.InvariantCulture).ToCharArray();
                characters[at % characters.Length] = put;
                var text = new string(characters);
                if (WindowTime.TryParse(Encoding.ASCII.GetBytes(text), out _) && Model(text) is not null)
                {
                    AssertMatchesTheFramework(text);
                }
            },
            iter: 20_000);

    [Fact]
    public void TryParse_NeverThrows_OnRandomBytes() =>
        Gen.Byte.Array[0, 40].Sample(bytes => { _ = WindowTime.TryParse(bytes, out _); }, iter: 20_000);

    [Theory]
    [InlineData("2024-02-29T00:00:00Z", true)]
    [InlineData("2100-02-29T00:00:00Z", false)]
    [InlineData("2025-01-01t00:00:00Z", true)]
    [InlineData("2025-01-01T00:00:00z", true)]
    [InlineData("2025-01-01T00:00:00Zx", false)]
    [InlineData("2025-01-01T00:00:0", false)]
    [InlineData("2025-01-01T00:00:+1", false)]
    [InlineData("2025/01/01T00:00:00Z", false)]
    [InlineData("2025-01-01T00:00:00,5Z", true)]
    [InlineData("2025-01-01T00:00.5Z", false)]
    [InlineData("2025-01-01T00:00:00 Z", true)]
    [InlineData("2025-01-01 00:00:00 +0000", true)]
    [InlineData("2025-01-01T00:00:00  Z", false)]
    [InlineData("2025-01-01T00:00:00 ", false)]
    [InlineData("2025-01-01T24:00:00Z", false)]
    [InlineData("2025-01-01T23:59:60Z", false)]
    [InlineData("2025-01-01T00:00:00.1234567890Z", false)]
    [InlineData("+025-01-01T00:00:00Z", false)]
    [InlineData("2025-01-01T00:00:00+18:00", true)]
    [InlineData("2025-01-01T00:00:00-18:00", true)]
    public void Text_IsATimeInTheseFormatsOnly(string text, bool isTime) =>
        Assert.Equal(isTime, WindowTime.TryParse(Encoding.ASCII.GetBytes(text), out _));

    private static void AssertMatchesTheFramework(string text)
    {
        Assert.True(WindowTime.TryParse(Encoding.ASCII.GetBytes(text), out var milliseconds), text);
        Assert.Equal(Model(text)!.Value, milliseconds);
    }

    private static long? Model(string text) =>
        DateTimeOffset.TryParse(text, CultureInfo.InvariantCulture, DateTimeStyles.AssumeUniversal, out var time) ? time.ToUnixTimeMilliseconds() : null;
}
