using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Cache.Metrics;
using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Partitions;
using CsCheck;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Decode;

/// <summary>Properties of decoding that hold for any input.</summary>
public sealed class DecodeProperties
{
    private const long Now = 1735689600000;
    private static readonly FakeTimeProvider Clock = new(DateTimeOffset.FromUnixTimeMilliseconds(Now));

    private static readonly Gen<MetricType> Type = Gen.OneOf(MetricType.Event, MetricType.Performance);

    private static readonly Gen<string> PlainName = Gen.Char[' ', '~'].Array[1, 128].Select(letters => new string(letters));

    /// <summary>Names of up to 128 bytes, from characters of one to four bytes each; no control characters.</summary>
    private static readonly Gen<string> Name = Gen.OneOf(PlainName, Gen.OneOf(Gen.Int[0x20, 0x7E], Gen.Int[0xA0, 0xD7FF], Gen.Int[0xE000, 0xFFFF], Gen.Int[0x10000, 0x10FFFF])
        .Select(char.ConvertFromUtf32).Array[1, 32].Select(string.Concat));

    private static readonly Gen<long> Count = Gen.OneOf(Gen.Long[0, 1000], Gen.Long[0, long.MaxValue], Gen.OneOf(0, long.MaxValue));

    private static readonly Gen<long> LoadTime = Gen.OneOf(Gen.Double[0, 10_000], Gen.Double.Select(Math.Abs), Gen.OneOf(0, double.MaxValue, double.Epsilon))
        .Where(double.IsFinite).Select(BitConverter.DoubleToInt64Bits);

    private static readonly Gen<Expected> GoodRow =
        from type in Type
        from window in Gen.OneOf(Gen.Long[0, Now + 86_400_000], Gen.Long[Now - 3_600_000, Now])
        from name in Name
        from first in type == MetricType.Event ? Count : LoadTime
        from second in type == MetricType.Event ? Count : LoadTime
        from has in Gen.Int[1, 3]
        select new Expected(type, window, name, TestRows.Measures((has & 1) != 0 ? first : null, (has & 2) != 0 ? second : null));

    private static readonly Gen<Style> AnyStyle = Gen.Select(Gen.Enum<TimeShape>(), Gen.Int[-14 * 60, 14 * 60], Gen.Bool, Gen.Bool, Gen.Int[0, 5], Gen.Bool, Gen.OneOf("", " "),
        (shape, offset, escaped, reversed, decimals, nested, blank) => new Style(shape, offset, escaped, reversed, decimals, nested, blank));

    // Fragments that are likely to lead a parser astray, inserted anywhere in a row.
    private static readonly string[] Splinters =
    [
        "\"", "\\", "\\u", "\\ud800", "\\udc00", "\\u0000", "\"\\ud800\":1,", "{", "}", "[", "]", ",", ":", "null", "true", "-", "1e999",
        "NaN", "9223372036854775808", "\uFEFF", "\u0085", "/*", "window_start", "\"window_start\":", "\"event_type\":\"x\",",
    ];

    private static readonly Gen<byte[]> Mutation = Gen.OneOf(
        Gen.OneOf(Splinters).Select(Encoding.UTF8.GetBytes), Gen.Byte.Array[0, 4], Gen.Const<byte[]>([]));

    [Fact]
    public void Decode_NeverThrows_OnRandomBytes() =>
        Gen.Select(Type, Gen.Byte.Array[0, 64]).Sample(AssertDecided, iter: 100_000);

    [Fact]
    public void Decode_NeverThrows_OnDamagedRows() =>
        Gen.Select(GoodRow, AnyStyle, Gen.Select(Gen.Int[0, 1000], Gen.Int[0, 8], Mutation).Array[1, 4]).Sample(
            (row, style, mutations) =>
            {
                var bytes = Encoding.UTF8.GetBytes(row.ToJson(style));
                foreach (var (at, cut, put) in mutations)
                {
                    var from = at % (bytes.Length + 1);
                    bytes = [.. bytes[..from], .. put, .. bytes[Math.Min(bytes.Length, from + cut)..]];
                }

                AssertDecided(row.Type, bytes);
            },
            iter: 100_000);

    [Fact]
    public void GoodRows_RoundTrip_InEveryTimeFormat() =>
        Gen.Select(GoodRow, AnyStyle).Sample(
            (row, style) =>
            {
                var decoded = NewDecoder().Decode(row.Type, Encoding.UTF8.GetBytes(row.ToJson(style)));
                Assert.Equal(RejectReason.None, decoded.Reason);
                Assert.Equal(row, new Expected(decoded.Dimension!.Type, decoded.WindowStart, decoded.Dimension.Name, decoded.Measures));
            },
            iter: 20_000, print: printed => printed.Item1.ToJson(printed.Item2));

    [Fact]
    public void Decode_AllocatesNothing_OnceItKnowsTheDimension()
    {
        byte[][] values =
        [
            """{"window_start":1735689600000,"window_end":1735689660000,"event_type":"page_view","event_count":2,"user_count":1}"""u8.ToArray(),
            """{"window_start":"2025-01-01 00:00:00.123Z","event_type":"\u00e9v\u00e9nement","event_count":2.0,"x":[{"y":null}]}"""u8.ToArray(),
            """{"window_start":"2025-01-01T00:00:00+02:00","event_type":"purchase","event_count":1e3,"user_count":null}"""u8.ToArray(),
        ];
        var decoder = NewDecoder();
        DecodeAll(1000);

        Assert.Equal(0, Allocations.Of(() => DecodeAll(10_000)));

        void DecodeAll(int times)
        {
            for (var i = 0; i < times; i++)
            {
                if (decoder.Decode(MetricType.Event, values[i % values.Length]).Kind != RowKind.Window)
                {
                    throw new InvalidOperationException("The row is good.");
                }
            }
        }
    }

    [Fact]
    public void RowsOfEightMeasures_AllocateNothing_OnTheirWayIntoABatch()
    {
        var type = DrawnTypes.Draw(new Random(1), 0, MetricType.MaxMeasures);
        var measures = string.Concat(type.Measures.Select(measure => $",\"{measure.Field}\":12"));
        var value = Encoding.UTF8.GetBytes($"{{\"{type.TimeField}\":\"2025-01-01T00:00:00Z\",{string.Join(',', type.DimensionFields.Select(field => $"\"{field}\":\"d\""))}{measures}}}");
        var (decoder, batch, partition) = (Decoders.New(Clock, type), new Batch(), TestRows.Partition());
        AddAll(1000);

        Assert.Equal(0, Allocations.Of(() => AddAll(10_000)));

        void AddAll(int rows)
        {
            for (var row = 0; row < rows; row++)
            {
                batch.Add(decoder.Decode(type, value).At(partition, row), 0);
            }
        }
    }

    private static RowDecoder NewDecoder() => Decoders.New(Clock);

    /// <summary>Decodes arbitrary bytes: the row must be complete, or rejected with a reason.</summary>
    private static void AssertDecided(MetricType type, byte[] bytes)
    {
        var row = NewDecoder().Decode(type, bytes);

        // White space before the JSON forces the full path, and must change nothing else.
        var frame = bytes is [0, _, _, _, _, ..] ? 5 : 0;
        frame += bytes.AsSpan(frame) is [0xEF, 0xBB, 0xBF, ..] ? 3 : 0;
        var full = NewDecoder().Decode(type, [.. bytes[..frame], (byte)' ', .. bytes[frame..]]);
        Assert.Equal((full.Kind, full.Reason, full.WindowStart, full.Dimension, full.Measures), (row.Kind, row.Reason, row.WindowStart, row.Dimension, row.Measures));
        if (row.Kind == RowKind.Rejected)
        {
            Assert.NotEqual(RejectReason.None, row.Reason);
            return;
        }

        Assert.Equal((RowKind.Window, type, RejectReason.None), (row.Kind, row.Dimension!.Type, row.Reason));
        Assert.InRange(row.WindowStart, 0, Now + 86_400_000);
        Assert.InRange(Encoding.UTF8.GetByteCount(row.Dimension.Name), 1, RowDecoder.MaxDimensionBytes);
        Assert.DoesNotContain(row.Dimension.Name, char.IsControl);
        Assert.False(row.Measures.IsEmpty);
        Assert.True(row.Measures[0] >= 0 && row.Measures[1] >= 0);
    }

    private enum TimeShape
    {
        Number,
        Iso,
        IsoWithOffset,
        Sql,
        SqlWithZone,
    }

    /// <summary>How a row is written, which must not matter.</summary>
    private sealed record Style(TimeShape Time, int OffsetMinutes, bool Escaped, bool Reversed, int MoreDigits, bool Nested, string Blank);

    private sealed record Expected(MetricType Type, long Window, string Name, Measures Measures)
    {
        public string ToJson(Style style)
        {
            var (dimension, first, second) = Type == MetricType.Event
                ? ("event_type", "event_count", "user_count")
                : ("device_category", "avg_load_time", "p95_load_time");
            var encoder = style.Escaped ? JavaScriptEncoder.Default : JavaScriptEncoder.UnsafeRelaxedJsonEscaping;
            string?[] properties =
            [
                $"\"window_start\":{style.Blank}{Time(style)}",
                $"\"{dimension}\":{style.Blank}\"{JsonEncodedText.Encode(Name, encoder)}\"",
                style.Nested ? "\"unknown\":{\"window_start\":[-1,\"\\\"\"]}" : $"\"window_end\":{style.Blank}1735689660000",
                Measures.Has(0) ? $"\"{first}\":{style.Blank}{Number(Measures[0])}" : null,
                Measures.Has(1) ? $"\"{second}\":{style.Blank}{Number(Measures[1])}" : style.Escaped ? $"\"{second}\":null" : null,
            ];
            var present = properties.Where(property => property is not null);
            return "{" + string.Join("," + style.Blank, style.Reversed ? present.Reverse() : present) + "}";
        }

        private string Number(long bits) => Type == MetricType.Event
            ? bits.ToString(CultureInfo.InvariantCulture)
            : BitConverter.Int64BitsToDouble(bits).ToString("R", CultureInfo.InvariantCulture);

        private string Time(Style style)
        {
            var time = DateTimeOffset.FromUnixTimeMilliseconds(Window);
            var digits = "fff" + new string('0', style.MoreDigits);
            return style.Time switch
            {
                TimeShape.Number when Window >= 978_307_200_000 => Window.ToString(CultureInfo.InvariantCulture),
                TimeShape.Number or TimeShape.Iso => Text(time, $"yyyy-MM-dd'T'HH:mm:ss.{digits}'Z'"),
                TimeShape.IsoWithOffset => Text(time.ToOffset(TimeSpan.FromMinutes(style.OffsetMinutes)), $"yyyy-MM-dd'T'HH:mm:ss.{digits}zzz"),
                TimeShape.Sql => Text(time, $"yyyy-MM-dd HH:mm:ss.{digits}"),
                _ => Text(time, $"yyyy-MM-dd HH:mm:ss.{digits}'Z'"),
            };
        }

        private static string Text(DateTimeOffset time, string format) => $"\"{time.ToString(format, CultureInfo.InvariantCulture)}\"";
    }
}
