using System.Text;
using Avro;
using Cache.Service.Decode;

namespace Cache.Tests.Decode;

/// <summary>The JSON that a value in Avro stands for.</summary>
public sealed class AvroJsonTests
{
    private const string Millis = """{"type":"long","logicalType":"timestamp-millis"}""";
    private const string Micros = """{"type":"long","logicalType":"timestamp-micros"}""";

    // 0001-01-01 and 9999-12-31T23:59:59.999 in milliseconds.
    private const long First = -62_135_596_800_000;
    private const long Last = 253_402_300_799_999;

    [Theory]
    [InlineData(Millis, 0L, "\"1970-01-01T00:00:00Z\"")]
    [InlineData(Millis, First, "\"0001-01-01T00:00:00Z\"")]
    [InlineData(Millis, First - 1, "\"-62135596800001\"")]
    [InlineData(Millis, Last, "\"9999-12-31T23:59:59.999Z\"")]
    [InlineData(Millis, Last + 1, "\"253402300800000\"")]
    [InlineData(Micros, (Last * 1000) + 999, "\"9999-12-31T23:59:59.999999Z\"")]
    public void Time_IsIsoInUtc_OrTextThatIsNoTime(string schema, long time, string expected) => Assert.Equal(expected, Json(schema, Long(time)));

    [Theory]
    [InlineData(0, "\"1970-01-01\"")]
    [InlineData(20_089, "\"2025-01-01\"")]
    [InlineData(-719_162, "\"0001-01-01\"")]
    [InlineData(-719_163, "\"-719163\"")]
    [InlineData(2_932_896, "\"9999-12-31\"")]
    [InlineData(2_932_897, "\"2932897\"")]
    public void Date_IsIso_OrTextThatIsNoDate(long days, string expected) => Assert.Equal(expected, Json("""{"type":"int","logicalType":"date"}""", Long(days)));

    [Theory]
    [InlineData(0.1f, "0.1")]
    [InlineData(float.NaN, "\"NaN\"")]
    [InlineData(float.PositiveInfinity, "\"Infinity\"")]
    public void Float_IsItsShortestText_OrTextThatIsNoNumber(float number, string expected) => Assert.Equal(expected, Json("\"float\"", BitConverter.GetBytes(number)));

    [Theory]
    [InlineData(0.1, "0.1")]
    [InlineData(double.NaN, "\"NaN\"")]
    [InlineData(double.NegativeInfinity, "\"-Infinity\"")]
    public void Double_IsItsShortestText_OrTextThatIsNoNumber(double number, string expected) => Assert.Equal(expected, Json("\"double\"", BitConverter.GetBytes(number)));

    [Theory]
    [InlineData("\"scale\":2,", new byte[] { 4, 0x03, 0x20 }, "800e-2")]
    [InlineData("\"scale\":0,", new byte[] { 2, 0xFF }, "-1e-0")]
    [InlineData("", new byte[] { 2, 7 }, "7e-0")]
    [InlineData("\"scale\":2,", new byte[] { 0 }, "[]")]
    public void Decimal_HasAllItsDigits(string scale, byte[] value, string expected) =>
        Assert.Equal(expected, Json($$"""{"type":"bytes","logicalType":"decimal",{{scale}}"precision":9}""", value));

    [Theory]
    [InlineData(64, false)]
    [InlineData(65, true)]
    public void Decimal_OfMoreThan64Bytes_IsNoNumber(int length, bool isNested)
    {
        byte[] value = [.. Long(length), .. Enumerable.Repeat((byte)1, length)];
        Assert.Equal(isNested, Json("""{"type":"bytes","logicalType":"decimal","scale":0,"precision":9}""", value) == "[]");
    }

    [Theory]
    [InlineData("""{"type":"record","name":"R","fields":[{"name":"a","type":"string"},{"name":"b","type":"boolean"}]}""", new byte[] { 6, (byte)'"', 0xC3, 0xA9, 1 }, """{"a":"\"é","b":true}""")]
    [InlineData("""{"type":{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]},"logicalType":"row"}""", new byte[] { 1 }, """{"a":-1}""")]
    [InlineData("""{"type":["null",{"type":"record","name":"R","fields":[]}],"logicalType":"row"}""", new byte[] { 2 }, "{}")]
    [InlineData("""{"type":"int"}""", new byte[] { 0xFE, 0xFF, 0xFF, 0xFF, 0x0F }, "2147483647")]
    [InlineData("""{"type":"int"}""", new byte[] { 0xFF, 0xFF, 0xFF, 0xFF, 0x0F }, "-2147483648")]
    public void Value_IsWhatAProducerOfJsonWouldSend(string schema, byte[] value, string expected) => Assert.Equal(expected, Json(schema, value));

    private static byte[] Long(long number) => AvroRows.Bytes(Schema.Parse("\"long\""), number);

    private static string Json(string schema, byte[] value)
    {
        Assert.True(new AvroJson().TryWrite(Schema.Parse(schema), value, out var json));
        return Encoding.UTF8.GetString(json);
    }
}
