using System.Text;
using Avro;
using Avro.Generic;
using Cache.Metrics;
using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Options;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Decode;

/// <summary>Values that name a schema.</summary>
public sealed class AvroDecoderTests
{
    private const string Topic = "event_metrics";
    private const long Window = 1_735_689_600_000;

    private readonly FakeTimeProvider _time = new(DateTimeOffset.FromUnixTimeMilliseconds(Window));
    private readonly Schemas _schemas;
    private readonly RowDecoder _decoder;

    public AvroDecoderTests()
    {
        _schemas = new(_time);
        _decoder = Decoder("http://registry");
    }

    [Fact]
    public void RowOfAnUnknownSchema_AwaitsIt_AndIsDecodedOnceItIsThere()
    {
        var value = AvroRows.Event(7, Window, "click", count: 3);
        var row = _decoder.Decode(Topic, value);
        Assert.Equal((RowKind.AwaitsSchema, 7), (row.Kind, row.SchemaId));

        Add(7, AvroRows.Events);

        row = _decoder.Decode(Topic, value);
        Assert.Equal((RowKind.Window, Window, "click"), (row.Kind, row.WindowStart, row.Dimension!.Name));
        Assert.Equal((3, true, false), (row.Measures[0], row.Measures.Has(0), row.Measures.Has(1)));
    }

    [Fact]
    public void SchemaTheRegistryDoesNotKnow_Rejects_AndIsAskedForAgainAfter30Seconds()
    {
        _schemas.Add(7, RowSchema.Unknown);
        Assert.Equal(RejectReason.SchemaUnknown, Reason(AvroRows.Event(7, Window, "click")));

        _time.Advance(TimeSpan.FromSeconds(29.9));
        Assert.Equal(RejectReason.SchemaUnknown, Reason(AvroRows.Event(7, Window, "click")));

        _time.Advance(TimeSpan.FromSeconds(0.1));
        Assert.Equal(RowKind.AwaitsSchema, _decoder.Decode(Topic, AvroRows.Event(7, Window, "click")).Kind);
    }

    [Fact]
    public void NegativeId_IsNoSchema() => Assert.Equal(RejectReason.SchemaUnknown, Reason(AvroRows.Event(-7, Window, "click")));

    [Fact]
    public void SchemaOfAnotherType_Rejects()
    {
        _schemas.Add(7, RowSchema.Unsupported);
        Assert.Equal(RejectReason.SchemaUnsupported, Reason(AvroRows.Event(7, Window, "click")));
    }

    [Theory]
    [InlineData("")]
    [InlineData("\uFEFF")]
    [InlineData(" ")]
    public void ValueOfAJsonSchema_IsTheJsonThatFollows(string before)
    {
        _schemas.Add(7, RowSchema.Json);
        var row = _decoder.Decode(Topic, AvroRows.Framed(7, Json(before + $$"""{"window_start":{{Window}},"event_type":"click","event_count":3}""")));
        Assert.Equal((RowKind.Window, "click"), (row.Kind, row.Dimension!.Name));
        Assert.Equal(RejectReason.NotJson, Reason(AvroRows.Framed(7, [2, 4, 6])));
    }

    [Fact]
    public void WithoutARegistry_TheFrameIsRemoved_WhateverSchemaItNames()
    {
        _schemas.Add(7, RowSchema.Unsupported);
        var decoder = Decoder("");
        Assert.Equal(RowKind.Window, decoder.Decode(Topic, AvroRows.Framed(7, Json($$"""{"window_start":{{Window}},"event_type":"click","event_count":3}"""))).Kind);
        Assert.Equal(RejectReason.NotJson, decoder.Decode(Topic, AvroRows.Event(7, Window, "click")).Reason);
    }

    [Fact]
    public void FrameWithoutId_IsNone() => Assert.Equal(RejectReason.NotJson, Reason([0, 1, 2, 3]));

    [Fact]
    public void TopicWithoutAType_NeedsNoSchema() => Assert.Equal(RowKind.WithoutType, _decoder.Decode("orders", AvroRows.Event(7, Window, "click")).Kind);

    [Fact]
    public void TooLargeValue_NeedsNoSchema() => Assert.Equal(RejectReason.TooLarge, Reason(AvroRows.Framed(7, new byte[RowDecoder.MaxValueBytes])));

    [Fact]
    public void Sessions_AreDecodedToo()
    {
        const string Schema = """
            {"type":"record","name":"S","fields":[{"name":"session_id","type":"string"},{"name":"end_time","type":{"type":"long","logicalType":"timestamp-micros"}},
              {"name":"user_id","type":["null","string"]},{"name":"page_count","type":"int"},{"name":"device_category","type":{"type":"enum","name":"D","symbols":["Mobile","Tablet"]}}]}
            """;
        Add(7, Schema);
        var record = new GenericRecord((RecordSchema)Avro.Schema.Parse(Schema));
        record.Add("session_id", "s-1");
        record.Add("end_time", DateTimeOffset.FromUnixTimeMilliseconds(Window).UtcDateTime);
        record.Add("user_id", null);
        record.Add("page_count", 4);
        record.Add("device_category", new GenericEnum((EnumSchema)record.Schema["device_category"].Schema, "Tablet"));

        var row = _decoder.Decode(CacheOptions.SessionTopic, AvroRows.Framed(7, AvroRows.Bytes(record.Schema, record)));

        Assert.Equal(new Session("s-1", Window, Pages: 4, Device: "Tablet"), row.Session);
    }

    [Theory]
    [InlineData("""["null","string"]""", 0, null)]
    [InlineData("\"bytes\"", 2, RejectReason.BadDimension)]
    [InlineData("""{"type":"array","items":"string"}""", 0, RejectReason.BadDimension)]
    [InlineData("\"boolean\"", 1, RejectReason.BadDimension)]
    [InlineData("\"string\"", 0, RejectReason.BadDimension)]
    public void Dimension_ThatIsNoText_IsRejectedAsInJson(string type, byte value, RejectReason? reason)
    {
        Add(7, $$"""{"type":"record","name":"R","fields":[{"name":"window_start","type":"long"},{"name":"event_count","type":"int"},{"name":"event_type","type":{{type}}}]}""");
        byte[] dimension = value == 2 ? [2, (byte)'x'] : [value];
        Assert.Equal(reason ?? RejectReason.NoDimension, Reason(AvroRows.Framed(7, [.. AvroRows.Bytes(Avro.Schema.Parse("\"long\""), Window), 2, .. dimension])));
    }

    [Theory]
    [InlineData("\"string\"", RejectReason.NotAnObject)]
    [InlineData("""{"type":"map","values":"string"}""", RejectReason.NotAnObject)]
    [InlineData("""["null","string"]""", RejectReason.NotAnObject)]
    public void ValueThatIsNoRecord_IsNoObject(string schema, RejectReason reason)
    {
        Add(7, schema);
        Assert.Equal(reason, Reason(AvroRows.Framed(7, [0])));
    }

    [Fact]
    public void UnionOfNullAndTheRecord_IsTheRecord()
    {
        Add(7, $"[\"null\",{AvroRows.Events}]");
        var framed = AvroRows.Event(7, Window, "click", count: 3);
        Assert.Equal(RowKind.Window, _decoder.Decode(Topic, [.. framed[..5], 2, .. framed[5..]]).Kind);
    }

    [Theory]
    [InlineData("timestamp-millis", Window)]
    [InlineData("timestamp-micros", (Window * 1000) + 999)]
    [InlineData("timestamp-nanos", (Window * 1_000_000) + 999_999)]
    [InlineData("local-timestamp-millis", Window)]
    [InlineData("local-timestamp-micros", Window * 1000)]
    [InlineData("local-timestamp-nanos", Window * 1_000_000)]
    [InlineData("something-else", Window)]
    public void Time_IsInTheUnitThatItsTypeSays(string type, long time)
    {
        var row = Timed($$"""{"type":"long","logicalType":"{{type}}"}""", time);
        Assert.Equal((RejectReason.None, Window), (row.Reason, row.WindowStart));
    }

    [Theory]
    [InlineData("""{"type":"long","logicalType":"timestamp-millis"}""", long.MaxValue, RejectReason.BadWindowStart)]
    [InlineData("""{"type":"long","logicalType":"timestamp-micros"}""", long.MinValue, RejectReason.BadWindowStart)]
    [InlineData("""{"type":"long","logicalType":"timestamp-millis"}""", -1, RejectReason.BadWindowStart)]
    [InlineData("""{"type":"long","logicalType":"timestamp-millis"}""", Window * 2, RejectReason.FutureWindow)]
    [InlineData("""{"type":"int","logicalType":"date"}""", 20_089, RejectReason.BadWindowStart)]
    [InlineData("""{"type":"int","logicalType":"date"}""", int.MaxValue, RejectReason.BadWindowStart)]
    [InlineData("\"long\"", Window / 1000, RejectReason.TimeInSeconds)]
    public void Time_ThatIsNone_IsRejectedAsInJson(string type, long time, RejectReason reason) => Assert.Equal(reason, Timed(type, time).Reason);

    /// <summary>What no reader may believe: lengths, counts, indices and depths that the bytes do not have.</summary>
    [Theory]
    [InlineData("\"string\"", "FEFFFFFF0F")]
    [InlineData("\"string\"", "01")]
    [InlineData("\"string\"", "0480")]
    [InlineData("\"string\"", "02FF")]
    [InlineData("\"bytes\"", "FFFFFFFFFFFFFFFFFF01")]
    [InlineData("\"long\"", "FFFFFFFFFFFFFFFFFF02")]
    [InlineData("\"long\"", "8080808080808080808080")]
    [InlineData("\"long\"", "80")]
    [InlineData("\"int\"", "8080808010")]
    [InlineData("\"double\"", "00000000000000")]
    [InlineData("\"boolean\"", "02")]
    [InlineData("""["null","string"]""", "04")]
    [InlineData("""["null","string"]""", "01")]
    [InlineData("""{"type":"enum","name":"E","symbols":["a"]}""", "02")]
    [InlineData("""{"type":"fixed","name":"F","size":4}""", "000000")]
    [InlineData("""{"type":"array","items":"null"}""", "FEFFFFFFFFFFFFFFFF0100")]
    [InlineData("""{"type":"array","items":"long"}""", "FEFFFFFFFFFFFFFFFF0100")]
    [InlineData("""{"type":"array","items":"long"}""", "01FEFFFFFFFFFFFFFFFF01")]
    [InlineData("""{"type":"array","items":"long"}""", "0202")]
    [InlineData("""{"type":"map","values":"null"}""", "02FE00")]
    [InlineData("\"null\"", "00")]
    public void BytesThatAreNotOfTheSchema_AreRejected(string type, string bytes)
    {
        Add(7, $$"""{"type":"record","name":"R","fields":[{"name":"x","type":{{type}}}]}""");
        Assert.Equal(RejectReason.BadAvro, Reason(AvroRows.Framed(7, Convert.FromHexString(bytes))));
    }

    [Fact]
    public void RecursionWithoutEnd_IsRejected_AndNotFollowed()
    {
        Add(7, """{"type":"record","name":"R","fields":[{"name":"next","type":["null","R"]}]}""");
        var deep = new byte[RowDecoder.MaxValueBytes - 5];
        Array.Fill(deep, (byte)2);
        deep[^1] = 0;

        Assert.Equal(RejectReason.BadAvro, Reason(AvroRows.Framed(7, deep)));
        Assert.Equal(RejectReason.NoWindowStart, Reason(AvroRows.Framed(7, [2, 2, 2, 0])));
    }

    [Fact]
    public void RowWithLongNestedFields_IsDecoded()
    {
        Add(7, """
            {"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":{"type":"map","values":["string","double",{"type":"fixed","name":"F","size":2}]}}},
              {"name":"window_start","type":"long"},{"name":"event_type","type":"string"},{"name":"event_count","type":{"type":"fixed","name":"D","size":3,"logicalType":"decimal","precision":6,"scale":2}}]}
            """);

        // A block of one map with three values; a block of one map that tells its length; the end.
        byte[] nested = [2, 6, 2, (byte)'k', 0, 4, (byte)'v', (byte)'w', 0, 2, 0, 0, 0, 0, 0, 0, 0xF0, 0x3F, 2, (byte)'m', 4, 1, 2, 0, 1, 2, 0, 0];
        var row = _decoder.Decode(Topic, AvroRows.Framed(7, [.. nested, .. AvroRows.Bytes(Avro.Schema.Parse("\"long\""), Window), 2, (byte)'e', 0x00, 0x03, 0x20]));
        Assert.Equal((RowKind.Window, RejectReason.None, Window, 8), (row.Kind, row.Reason, row.WindowStart, row.Measures[0]));
    }

    [Fact]
    public void Schemas_AreForgottenBeyondAThousand_AndUnknownIdsForgetNone()
    {
        Add(7, AvroRows.Events);
        for (var id = 10_000; id < 15_000; id++)
        {
            _schemas.Add(id, RowSchema.Unknown);
        }

        Assert.NotNull(_schemas.Find(7));
        for (var id = 10_000; id < 11_000; id++)
        {
            _schemas.Add(id, RowSchema.Json);
        }

        Assert.Null(_schemas.Find(7));
        Assert.NotNull(_schemas.Find(10_999));
    }

    private RowDecoder Decoder(string registry) =>
        new(new CacheOptions { SchemaRegistryUrl = registry, Topics = [.. MetricType.Defaults.SelectMany(type => type.Topics), CacheOptions.SessionTopic] }, _time, _schemas);

    private void Add(int id, string schema) => _schemas.Add(id, new(SchemaFormat.Avro, Avro.Schema.Parse(schema)));

    /// <summary>Decodes a row with this window start.</summary>
    private Row Timed(string type, long time)
    {
        Add(7, $$"""{"type":"record","name":"R","fields":[{"name":"window_start","type":{{type}}},{"name":"event_type","type":"string"},{"name":"event_count","type":"int"}]}""");
        return _decoder.Decode(Topic, AvroRows.Framed(7, [.. AvroRows.Bytes(Avro.Schema.Parse("\"long\""), time), 2, (byte)'x', 2]));
    }

    private RejectReason Reason(ReadOnlySpan<byte> value) => _decoder.Decode(Topic, value).Reason;

    private static byte[] Json(string text) => Encoding.UTF8.GetBytes(text);
}
