using System.Globalization;
using System.Numerics;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Avro;
using Avro.Generic;
using Cache.Metrics;
using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Options;
using CsCheck;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Decode;

/// <summary>Properties of decoding Avro that hold for any input.</summary>
public sealed class AvroProperties
{
    private const long Now = 1_735_689_600_000;
    private const int Id = 7;

    private static readonly FakeTimeProvider Clock = new(DateTimeOffset.FromUnixTimeMilliseconds(Now));

    /// <summary>The fields of each topic, and one that it does not have.</summary>
    private static readonly Dictionary<string, string[]> Names = new()
    {
        ["event_metrics"] = ["window_start", "event_type", "event_count", "user_count", "other"],
        ["performance_metrics"] = ["window_start", "device_category", "avg_load_time", "p95_load_time", "other"],
        [CacheOptions.SessionTopic] = ["session_id", "end_time", "start_time", "user_id", "duration", "page_count", "device_category", "other"],
    };

    private static readonly Gen<string> Text = Gen.OneOf(
        Gen.Char[' ', '~'].Array[0, 20].Select(letters => new string(letters)),
        Gen.OneOf(Gen.Int[0, 0xD7FF], Gen.Int[0xE000, 0x10FFFF]).Select(char.ConvertFromUtf32).Array[0, 40].Select(string.Concat),
        Gen.Const(() => "2025-01-01T00:00:00Z"));

    private static readonly Gen<long> Time = Gen.OneOf(Gen.Long[Now - 3_600_000, Now], Gen.Long[0, Now * 2], Gen.Long[-1000, 1000]);

    /// <summary>A value with its schema, and the same value as a producer of JSON would write it.</summary>
    private static readonly Gen<Value> AnyValue = Gen.Frequency<Value>(
        (4, Text.Select(text => new Value("\"string\"", text, Quoted(text)))),
        (4, Gen.OneOf(Gen.Long, Gen.Long[0, 1000], Time).Select(number => new Value("\"long\"", number, Plain(number)))),
        (2, Gen.OneOf(Gen.Int, Gen.Int[0, 1000]).Select(number => new Value("\"int\"", number, Plain(number)))),
        (2, Gen.OneOf(Gen.Double, Gen.Double[0, 10_000]).Select(number => new Value("\"double\"", number, double.IsFinite(number) ? Plain(number) : "\"NaN\""))),
        (2, Gen.OneOf(Gen.Float, Gen.Float[0, 10_000]).Select(number => new Value("\"float\"", number, float.IsFinite(number) ? Plain(number) : "\"NaN\""))),
        (1, Gen.Bool.Select(flag => new Value("\"boolean\"", flag, flag ? "true" : "false"))),
        (3, Time.Select(time => Logical("timestamp-millis", time, 3))),
        (2, Time.Select(time => Logical("local-timestamp-millis", time, 3))),
        (2, Gen.Long[-1000, Now * 1000].Select(time => Logical("timestamp-micros", time, 6))),
        (2, Gen.Select(Gen.Long, Gen.Int[0, 6]).Select((digits, scale) => Decimal(digits, scale))),
        (1, Gen.OneOf("Mobile", "Tablet", "click").Select(Enum)),
        (1, Text.Array[0, 3].Select(items => new Value("""{"type":"array","items":"string"}""", items, "[]"))),
        (1, Text.Select(text => new Value("""{"type":"map","values":"string"}""", new Dictionary<string, object> { ["k"] = text }, "{}"))),
        (1, Gen.Byte.Array[0, 5].Select(bytes => new Value("\"bytes\"", bytes, "[]"))),
        (2, Gen.Const(() => new Value("\"null\"", null, "null"))));

    private static readonly Gen<Value> GoodTime = Gen.Long[Now - 3_600_000, Now].SelectMany(time => Gen.OneOf(
        new Value("\"long\"", time, Plain(time)), Logical("timestamp-millis", time, 3), Logical("local-timestamp-micros", time * 1000, 6), new Value("\"string\"", Iso(time), Quoted(Iso(time)))));

    private static readonly Gen<Value> GoodName = Gen.Frequency<Value>(
        (5, Gen.Char['!', '~'].Array[1, 20].Select(letters => new string(letters)).Select(text => new Value("\"string\"", text, Quoted(text)))),
        (1, Gen.OneOf("Mobile", "Tablet", "click").Select(Enum)));

    private static readonly Gen<Value> GoodNumber = Gen.Int[0, 1000].SelectMany(number => Gen.OneOf(
        new Value("\"long\"", (long)number, Plain(number)), new Value("\"int\"", number, Plain(number)), new Value("\"double\"", (double)number, Plain(number)), Decimal(number * 100, 2)));

    private static readonly Gen<(string Topic, Field[] Fields)> AnyRow = Gen.OneOf(Names.Keys.ToArray()).SelectMany(
        topic => Names[topic].Aggregate(Gen.Const<Field[]>([]), (all, name) => Gen.Select(all, FieldOf(name)).Select((fields, field) => field is null ? fields : [.. fields, field]))
            .SelectMany(fields => Gen.Shuffle(fields))
            .Select(fields => (topic, fields)));

    [Fact]
    public void RecordInAvro_IsDecodedAsTheSameInJson()
    {
        var (accepted, rejected) = (0, 0);
        AnyRow.Sample(
            row =>
            {
                var decoder = Decoder(Schema.Parse(SchemaOf(row.Fields)));
                var avro = decoder.Decode(row.Topic, AvroRows.Framed(Id, BytesOf(row.Fields)));
                var json = decoder.Decode(row.Topic, Encoding.UTF8.GetBytes(JsonOf(row.Fields)));

                Assert.Equal((json.Kind, json.Reason, json.WindowStart, json.Dimension, json.Measures, json.Session), (avro.Kind, avro.Reason, avro.WindowStart, avro.Dimension, avro.Measures, avro.Session));
                Interlocked.Increment(ref json.Kind == RowKind.Rejected ? ref rejected : ref accepted);
            },
            iter: 20_000, print: row => $"{row.Topic} {JsonOf(row.Fields)} {SchemaOf(row.Fields)}");

        // Both are worth comparing.
        Assert.InRange(accepted, 4_000, int.MaxValue);
        Assert.InRange(rejected, 4_000, int.MaxValue);
    }

    [Fact]
    public void GoodRecordsInAvro_RoundTrip() =>
        Gen.Select(Gen.Long[Now - 3_600_000, Now], Gen.Char['!', '~'].Array[1, 128].Select(letters => new string(letters)), Gen.Long[0, long.MaxValue], Gen.Long[0, long.MaxValue].Nullable()).Sample(
            (window, name, count, users) =>
            {
                var row = Decoder(Schema.Parse(AvroRows.Events)).Decode("event_metrics", AvroRows.Event(Id, window, name, count, users));
                Assert.Equal((RowKind.Window, window, name, count), (row.Kind, row.WindowStart, row.Dimension!.Name, row.Measures[0]));
                Assert.Equal((users is not null, users ?? 0), (row.Measures.Has(1), row.Measures[1]));
            },
            iter: 5_000);

    [Fact]
    public void Decode_NeverThrows_OnDamagedRecords() =>
        Gen.Select(AnyRow, Gen.Select(Gen.Int[0, 200], Gen.Int[0, 8], Gen.Byte.Array[0, 4]).Array[1, 4]).Sample(
            (row, mutations) =>
            {
                var decoder = Decoder(Schema.Parse(SchemaOf(row.Fields)));
                var bytes = BytesOf(row.Fields);
                foreach (var (at, cut, put) in mutations)
                {
                    var from = at % (bytes.Length + 1);
                    bytes = [.. bytes[..from], .. put, .. bytes[Math.Min(bytes.Length, from + cut)..]];
                }

                var decoded = decoder.Decode(row.Topic, AvroRows.Framed(Id, bytes));
                Assert.True(decoded.Kind is RowKind.Window or RowKind.Session || (decoded.Kind == RowKind.Rejected && decoded.Reason != RejectReason.None));
            },
            iter: 20_000);

    [Fact]
    public void Decode_AllocatesNothing_OnceItKnowsTheDimension()
    {
        var value = AvroRows.Event(Id, Now, "click", count: 3);
        var decoder = Decoder(Schema.Parse(AvroRows.Events));
        DecodeAll(1000);

        Assert.Equal(0, Allocations.Of(() => DecodeAll(10_000)));

        void DecodeAll(int times)
        {
            for (var i = 0; i < times; i++)
            {
                if (decoder.Decode("event_metrics", value).Kind != RowKind.Window)
                {
                    throw new InvalidOperationException("The row is good.");
                }
            }
        }
    }

    private static RowDecoder Decoder(Schema schema)
    {
        var schemas = new Schemas(Clock);
        schemas.Add(Id, new(SchemaFormat.Avro, schema));
        return new(new CacheOptions { SchemaRegistryUrl = "http://registry", Topics = [.. MetricType.Defaults.SelectMany(type => type.Topics), CacheOptions.SessionTopic] }, Clock, schemas);
    }

    private static Gen<Field?> FieldOf(string name) =>
        Gen.Select(Gen.Int[0, 19], AnyValue, Fitting(name), Gen.Int[0, 2]).Select((dice, any, fitting, union) =>
            dice == 0 ? null : (dice is 1 or 2 ? any : fitting) is var value && value.Avro is null ? new Field(name, value, 0) : new Field(name, value, union));

    private static Gen<Value> Fitting(string name) => name switch
    {
        "window_start" or "end_time" => GoodTime,
        "start_time" => Gen.Const(() => new Value("\"long\"", Now - 3_600_000, Plain(Now - 3_600_000))),
        "event_type" or "device_category" or "session_id" or "user_id" => GoodName,
        "other" => AnyValue,
        _ => GoodNumber,
    };

    private static byte[] BytesOf(Field[] fields)
    {
        var record = new GenericRecord((RecordSchema)Schema.Parse(SchemaOf(fields)));
        Array.ForEach(fields, field => record.Add(field.Name, field.Value.In(record.Schema[field.Name].Schema)));
        return AvroRows.Bytes(record.Schema, record);
    }

    private static string SchemaOf(Field[] fields) =>
        // A named type may be defined once only.
        $$"""{"type":"record","name":"R","fields":[{{string.Join(',', fields.Select((field, n) => $"{{\"name\":\"{field.Name}\",\"type\":{field.Type.Replace("\"E\"", $"\"E{n}\"", StringComparison.Ordinal)}}}"))}}]}""";

    private static string JsonOf(Field[] fields) => $"{{{string.Join(',', fields.Select(field => $"\"{field.Name}\":{field.Value.Json}"))}}}";

    private static Value Logical(string type, long time, int digits)
    {
        var ticks = DateTime.UnixEpoch.Ticks + (time * (digits == 3 ? TimeSpan.TicksPerMillisecond : TimeSpan.TicksPerMicrosecond));
        var at = new DateTime(ticks, type.StartsWith("local", StringComparison.Ordinal) ? DateTimeKind.Local : DateTimeKind.Utc);
        return new($$"""{"type":"long","logicalType":"{{type}}"}""", at, Quoted(at.ToString("yyyy-MM-dd'T'HH:mm:ss.FFFFFF'Z'", CultureInfo.InvariantCulture)));
    }

    private static Value Enum(string symbol) => new("""{"type":"enum","name":"E","symbols":["Mobile","Tablet","click"]}""", symbol, Quoted(symbol));

    private static string Iso(long time) => DateTimeOffset.FromUnixTimeMilliseconds(time).ToString("yyyy-MM-dd'T'HH:mm:ss.fff'Z'", CultureInfo.InvariantCulture);

    private static Value Decimal(long digits, int scale) => new(
        $$"""{"type":"bytes","logicalType":"decimal","precision":30,"scale":{{scale}}}""", new AvroDecimal(new BigInteger(digits), scale),
        (digits / (decimal)BigInteger.Pow(10, scale)).ToString(CultureInfo.InvariantCulture));

    private static string Quoted(string text) => $"\"{JsonEncodedText.Encode(text, JavaScriptEncoder.Default)}\"";

    private static string Plain(IFormattable number) => number.ToString("R", CultureInfo.InvariantCulture);

    /// <summary>A value.</summary>
    private sealed record Value(string Schema, object? Avro, string Json)
    {
        public object? In(Schema schema)
        {
            var branches = schema is UnionSchema union ? union.Schemas : [schema];
            return branches.FirstOrDefault(branch => branch is EnumSchema) is EnumSchema named ? new GenericEnum(named, (string)Avro!) : Avro;
        }
    }

    /// <summary>A field of a record.</summary>
    /// <param name="Name">Its name.</param>
    /// <param name="Value">Its value.</param>
    /// <param name="Union">0: of the value's type; 1: or null; 2: null or that.</param>
    private sealed record Field(string Name, Value Value, int Union)
    {
        public string Type => Union switch { 1 => $"[{Value.Schema},\"null\"]", 2 => $"[\"null\",{Value.Schema}]", _ => Value.Schema };
    }
}
