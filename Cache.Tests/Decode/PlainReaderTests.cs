using System.Globalization;
using System.Text;
using Cache.Metrics;
using Cache.Service.Decode;

namespace Cache.Tests.Decode;

/// <summary>
/// What the fast path reads. Whatever it does not read only costs time: the full path decodes it, with the same result
/// (<see cref="DecoderFuzzTests"/>).
/// </summary>
public sealed class PlainReaderTests
{
    private const string No = "no";

    [Theory]
    [InlineData("\"abc\"", "abc")]
    [InlineData("\"\"", "")]
    [InlineData("\" ~\"", " ~")]
    [InlineData("\"a\"b\"", "a")]
    [InlineData("\"a\u001f\"", No)]
    [InlineData("\"a\u007f\"", No)]
    [InlineData("\"a\\n\"", No)]
    [InlineData("\"é\"", No)]
    [InlineData("\"abc", No)]
    [InlineData("abc\"", No)]
    [InlineData("\"", No)]
    [InlineData("", No)]
    public void Text_IsReadIfPlain(string json, string expected)
    {
        var reader = new PlainReader(Encoding.UTF8.GetBytes(json));
        Assert.Equal(expected, reader.TryText(out var text) ? Encoding.UTF8.GetString(text) : No);
    }

    [Theory]
    [InlineData("0", "0")]
    [InlineData("7,", "7")]
    [InlineData("12}", "12")]
    [InlineData("123456789012345678", "123456789012345678")]
    [InlineData("1234567890123456789", No)]
    [InlineData("01", No)]
    [InlineData("-1", No)]
    [InlineData("1.0", No)]
    [InlineData("1e3", No)]
    [InlineData("1E3", No)]
    [InlineData(":", No)]
    [InlineData("/", No)]
    [InlineData("", No)]
    public void WholeNumber_IsReadIfPlain(string json, string expected)
    {
        var reader = new PlainReader(Encoding.UTF8.GetBytes(json));
        Assert.Equal(expected, reader.TryWhole(out var number) ? number.ToString(CultureInfo.InvariantCulture) : No);
    }

    [Theory]
    [InlineData("0", "0")]
    [InlineData("1.5,", "1.5")]
    [InlineData("10.05}", "10.05")]
    [InlineData("0.001", "0.001")]
    [InlineData("123456789012345", "123456789012345")]
    [InlineData("1234567890123456", No)]
    [InlineData("0.12345678901234", "0.12345678901234")]
    [InlineData("0.123456789012345", No)]
    [InlineData("12345678901234.5", "12345678901234.5")]
    [InlineData("1.", No)]
    [InlineData(".5", No)]
    [InlineData("00.5", No)]
    [InlineData("1.5e3", No)]
    [InlineData("1.5.2", No)]
    [InlineData("-1.5", No)]
    public void Number_IsReadIfPlain(string json, string expected)
    {
        var reader = new PlainReader(Encoding.UTF8.GetBytes(json));
        Assert.Equal(expected, reader.TryNumber(signed: false, out var number) ? number.ToString(CultureInfo.InvariantCulture) : No);
    }

    [Theory]
    [InlineData("-1.5", "-1.5")]
    [InlineData("-0", "0")]
    [InlineData("-0.0", "0")]
    [InlineData("2.5", "2.5")]
    [InlineData("--1", No)]
    [InlineData("-", No)]
    [InlineData("+1", No)]
    public void SignedNumber_IsReadIfPlain(string json, string expected)
    {
        var reader = new PlainReader(Encoding.UTF8.GetBytes(json));
        Assert.Equal(expected, reader.TryNumber(signed: true, out var number) ? number.ToString(CultureInfo.InvariantCulture) : No);
    }

    [Theory]
    [InlineData("1735689600000", "1735689600000")]
    [InlineData("\"2025-01-01T00:00:00Z\"", "1735689600000")]
    [InlineData("\"1970-01-01T00:00:00Z\"", "0")]
    [InlineData("978307200000", "978307200000")]
    [InlineData("978307199999", No)]
    [InlineData("\"1969-12-31T23:59:59Z\"", No)]
    [InlineData("\"today\"", No)]
    [InlineData("1735689600000.5", No)]
    [InlineData("null", No)]
    [InlineData("", No)]
    public void Time_IsReadIfPlain(string json, string expected)
    {
        var reader = new PlainReader(Encoding.UTF8.GetBytes(json));
        Assert.Equal(expected, reader.TryTime(TimeUnit.Milliseconds, out var milliseconds) ? milliseconds.ToString(CultureInfo.InvariantCulture) : No);
    }

    /// <param name="json">The value.</param>
    /// <param name="expected">The property names that are read, followed by <c>no</c> if the reader gave up.</param>
    [Theory]
    [InlineData("{\"a\":1,\"b\":\"x\"}", "a b")]
    [InlineData("{\"a\": 1, \"b\": \"x\"}", "a b")]
    [InlineData("{\"a\":1}", "a")]
    [InlineData("{\"a\":1}x", "a no")]
    [InlineData("{\"a\":1} ", "a no")]
    [InlineData("{\"a\":1", "a no")]
    [InlineData("{\"a\":1 }", "a no")]
    [InlineData("{\"a\":1 ,\"b\":2}", "a no")]
    [InlineData("{\"a\":1,  \"b\":2}", "a no")]
    [InlineData("{\"a\":1,}", "a no")]
    [InlineData("{\"a\":1;\"b\":2}", "a no")]
    [InlineData("{\"a\":  1}", No)]
    [InlineData("{\"a\" :1}", No)]
    [InlineData("{\"a\"=1}", No)]
    [InlineData("{\"a\":null}", No)]
    [InlineData("{\"a\":1.5}", No)]
    [InlineData("{\"a\":[1]}", No)]
    [InlineData("{\"a\":\"x}", No)]
    [InlineData("{}", No)]
    [InlineData(" {\"a\":1}", No)]
    [InlineData("[1]", No)]
    [InlineData("", No)]
    public void Object_IsReadAsFarAsItIsPlain(string json, string expected)
    {
        var reader = new PlainReader(Encoding.UTF8.GetBytes(json));
        var read = new List<string>();
        var isEnd = false;
        for (var isPlain = reader.TryStart(); !isEnd; isPlain = isPlain && reader.TryNext(out isEnd))
        {
            isPlain = isPlain && reader.TryName(out var name) && reader.TrySkip() && Keep(name);
            if (!isPlain)
            {
                read.Add(No);
                break;
            }
        }

        Assert.Equal(expected, string.Join(' ', read));

        bool Keep(ReadOnlySpan<byte> name)
        {
            read.Add(Encoding.UTF8.GetString(name));
            return true;
        }
    }
}
