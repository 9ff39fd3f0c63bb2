using System.Text;
using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Options;
using Confluent.Kafka;

namespace Cache.Tests.Decode;

/// <summary>Called as the Kafka client calls it: the key first, then the value.</summary>
public sealed class RowDeserializerTests
{
    private const string Good = """{"window_start":1735689600000,"event_type":"e","event_count":1}""";

    private readonly RowDeserializer _deserializer = new(new CacheOptions(), TimeProvider.System);

    [Fact]
    public void GoodRow_KeepsNoBytes()
    {
        var row = Deserialize("event_metrics", "key", Good);
        Assert.Equal(RowKind.Window, row.Kind);
        Assert.Null(row.Rejected);
    }

    [Fact]
    public void RejectedRow_KeepsKeyValueAndHeaders()
    {
        var headers = new Headers { { "traceparent", "00-0-0-00"u8.ToArray() } };

        var row = Deserialize("event_metrics", "key", "{bad", headers);

        Assert.Equal((RowKind.Rejected, RejectReason.NotJson), (row.Kind, row.Reason));
        Assert.Equal("key"u8.ToArray(), row.Rejected!.Key);
        Assert.Equal("{bad"u8.ToArray(), row.Rejected.Value);
        Assert.Same(headers, row.Rejected.Headers);
        Assert.Equal(20, row.Rejected.HeaderBytes);
        Assert.InRange(row.Rejected.Size, 3 + 4 + 20, 200);
    }

    [Fact]
    public void RejectedRow_HasItsOwnKey_WhateverCameBefore()
    {
        var long1 = Deserialize("event_metrics", new string('k', 5000), "bad");
        var empty = Deserialize("event_metrics", "", "bad");
        var none = Deserialize("event_metrics", null, "bad");
        var short1 = Deserialize("performance_metrics", "short", "bad");
        Deserialize("event_metrics", "later", "bad");

        Assert.Equal(5000, long1.Rejected!.Key!.Length);
        Assert.All(long1.Rejected.Key, character => Assert.Equal((byte)'k', character));
        Assert.Empty(empty.Rejected!.Key!);
        Assert.Null(none.Rejected!.Key);
        Assert.Equal(3, none.Rejected.Size);
        Assert.Equal("short"u8.ToArray(), short1.Rejected!.Key);
    }

    [Fact]
    public void Tombstone_IsSkipped() => Assert.Equal(RowKind.Skipped, Deserialize("event_metrics", "key", null).Kind);

    [Fact]
    public void EmptyValue_IsNotATombstone() => Assert.Equal(RejectReason.NotJson, Deserialize("event_metrics", "key", "").Reason);

    [Theory]
    [InlineData(Good)]
    [InlineData("not even JSON")]
    public void TopicWithoutAType_SaysSo(string value) =>
        Assert.Equal(RowKind.WithoutType, Deserialize("orders", "key", value).Kind);

    private Row Deserialize(string topic, string? key, string? value, Headers? headers = null)
    {
        IDeserializer<RowKey> keys = _deserializer;
        IDeserializer<Row> values = _deserializer;
        keys.Deserialize(Bytes(key), key is null, new SerializationContext(MessageComponentType.Key, topic, headers));
        return values.Deserialize(Bytes(value), value is null, new SerializationContext(MessageComponentType.Value, topic, headers));
    }

    private static byte[] Bytes(string? text) => Encoding.UTF8.GetBytes(text ?? "");
}
