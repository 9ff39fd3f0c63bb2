using System.Buffers.Binary;
using Avro;
using Avro.Generic;
using Avro.IO;

namespace Cache.Tests.Decode;

/// <summary>Rows as an Avro serializer writes them.</summary>
internal static class AvroRows
{
    /// <summary>The schema of event rows.</summary>
    public const string Events = """
        {"type":"record","name":"EventMetrics","namespace":"shop","fields":[
          {"name":"window_start","type":{"type":"long","logicalType":"timestamp-millis"}},
          {"name":"event_type","type":"string"},
          {"name":"event_count","type":["null","long"],"default":null},
          {"name":"user_count","type":["null","long"],"default":null}]}
        """;

    /// <summary>An event row of that schema, in the frame.</summary>
    public static byte[] Event(int schema, long window, string type, long? count = null, long? users = null)
    {
        var record = new GenericRecord((RecordSchema)Schema.Parse(Events));
        record.Add("window_start", DateTimeOffset.FromUnixTimeMilliseconds(window).UtcDateTime);
        record.Add("event_type", type);
        record.Add("event_count", count);
        record.Add("user_count", users);
        return Framed(schema, Bytes(record.Schema, record));
    }

    /// <summary>A value in Avro's binary encoding.</summary>
    public static byte[] Bytes(Schema schema, object? value)
    {
        using var stream = new MemoryStream();
        new GenericDatumWriter<object?>(schema).Write(value, new BinaryEncoder(stream));
        return stream.ToArray();
    }

    /// <summary>A value behind the frame with the schema's id.</summary>
    public static byte[] Framed(int schema, ReadOnlySpan<byte> value)
    {
        var framed = new byte[5 + value.Length];
        BinaryPrimitives.WriteInt32BigEndian(framed.AsSpan(1), schema);
        value.CopyTo(framed.AsSpan(5));
        return framed;
    }
}
