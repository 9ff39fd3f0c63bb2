using System.Text;
using Cache.Metrics;
using Cache.Service.Decode;
using Cache.Service.Model;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Decode;

/// <summary>
/// Which rows the fast path decodes by itself. That both paths give the same result is the business of <see cref="DecoderFuzzTests"/>;
/// here it is that ordinary rows do not fall back to the slower one.
/// </summary>
public sealed class PlainPathTests
{
    private const long Window = 1_735_689_600_000;

    private static readonly MetricType Sales = new()
    {
        Name = "sales",
        Key = "sales",
        Topics = ["sales"],
        DimensionFields = ["country", "plan", "device"],
        Measures = [new("orders", "orders", MeasureKind.Count, Rollup.Sum), new("revenue", "revenue", MeasureKind.Number, Rollup.Sum)],
        WindowSeconds = 60,
    };

    private readonly TypeDecoder _events = Decoder(MetricType.Event);
    private readonly TypeDecoder _sales = Decoder(Sales);

    [Theory]
    [InlineData("""{"window_start":1735689600000,"event_type":"click","event_count":3,"user_count":2}""", 3, 2)]
    [InlineData("""{"user_count":2,"event_count":3,"event_type":"click","window_start":1735689600000}""", 3, 2)]
    [InlineData("""{"event_type":"click","event_count":3,"window_start":1735689600000}""", 3, null)]
    [InlineData("""{"event_type":"click","user_count":2,"window_start":"2025-01-01T00:00:00Z"}""", null, 2)]
    [InlineData("""{"x":"y","event_type":"click","z":1,"user_count":2,"window_start":1735689600000,"window_end":"?"}""", null, 2)]
    public void PlainRow_TakesTheFastPath_InAnyOrder(string json, int? count, int? users)
    {
        // Twice: the second time, each property is expected where it was.
        for (var time = 0; time < 2; time++)
        {
            var row = Plain(_events, json);
            Assert.Equal((RowKind.Window, Window, "click"), (row.Kind, row.WindowStart, row.Dimension!.Name));
            Assert.Equal((count, users), (Measure(row, 0), Measure(row, 1)));
        }
    }

    [Theory]
    [InlineData("""{"window_start":1735689600000,"event_type":"click"}""")]
    [InlineData("""{"window_start":1735689600000,"event_count":3}""")]
    [InlineData("""{"event_type":"click","event_count":3}""")]
    [InlineData("""{"window_start":1735689600000,"event_type":"click","event_count":3,"event_count":4}""")]
    [InlineData("""{"window_start":1735689600000,"window_start":1735689600000,"event_type":"click","event_count":3}""")]
    [InlineData("""{"window_start":1735689600000,"event_type":"","event_count":3}""")]
    [InlineData("""{"window_start":1735689600000,"event_type":"click","event_count":"3"}""")]
    [InlineData("""{"window_start":1735689600000,"event_type":"click","event_count":3""")]
    [InlineData("""{"window_start":1735689600000,"event_type":"click","event_count":3,"x":{}}""")]
    [InlineData("""{"window_start":1835689600000,"event_type":"click","event_count":3}""")]
    [InlineData("[]")]
    public void OtherRow_IsLeftToTheFullPath(string json) => Assert.False(_events.TryDecodePlain(Encoding.UTF8.GetBytes(json), out _));

    [Theory]
    [InlineData(128, true)]
    [InlineData(129, false)]
    public void Dimension_HasUpTo128Bytes(int length, bool isPlain)
    {
        var json = $$"""{"window_start":{{Window}},"event_type":"{{new string('x', length)}}","event_count":3}""";
        Assert.Equal(isPlain, _events.TryDecodePlain(Encoding.UTF8.GetBytes(json), out _));
    }

    [Theory]
    [InlineData("""{"country":"de","plan":"free","device":"tv","window_start":1735689600000,"window_end":1735689660000,"orders":3,"revenue":1.5}""")]
    [InlineData("""{"revenue":1.5,"device":"tv","orders":3,"plan":"free","window_end":1735689660000,"country":"de","window_start":1735689600000}""")]
    [InlineData("""{"country":"de","plan":"free","device":"tv","window_start":1735689600000,"orders":3,"revenue":1.5}""")]
    public void RowOfSeveralDimensionFields_TakesTheFastPath(string json)
    {
        var row = Plain(_sales, json);
        Assert.Equal((Window, "de|free|tv", 3), (row.WindowStart, row.Dimension!.Name, row.Measures[0]));
        Assert.Equal(1.5, BitConverter.Int64BitsToDouble(row.Measures[1]));
    }

    [Theory]
    [InlineData("""{"country":"de","plan":"free","window_start":1735689600000,"orders":3}""")]
    [InlineData("""{"country":"de","plan":"free","device":"t|v","window_start":1735689600000,"orders":3}""")]
    [InlineData("""{"country":"|de","plan":"free","device":"tv","window_start":1735689600000,"orders":3}""")]
    [InlineData("""{"country":"de","plan":"free","device":"tv","window_start":1735689600000,"window_end":1735689660001,"orders":3}""")]
    [InlineData("""{"country":"de","plan":"free","device":"tv","window_start":1735689600000,"window_end":1735689600000,"orders":3}""")]
    public void OtherRowOfSeveralDimensionFields_IsLeftToTheFullPath(string json) => Assert.False(_sales.TryDecodePlain(Encoding.UTF8.GetBytes(json), out _));

    [Fact]
    public void PropertiesBeyondTheGuesses_AreFoundToo()
    {
        var others = string.Concat(Enumerable.Range(0, 100).Select(number => $"\"x{number}\":1,"));
        Assert.Equal(3, Plain(_events, $$"""{{{others}}"window_start":{{Window}},"event_type":"click","event_count":3}""").Measures[0]);
    }

    private static TypeDecoder Decoder(MetricType type) => new(type, new DimensionTable(type), new FutureLimit(TimeSpan.FromDays(1), new FakeTimeProvider(DateTimeOffset.FromUnixTimeMilliseconds(Window))));

    private static Row Plain(TypeDecoder decoder, string json)
    {
        Assert.True(decoder.TryDecodePlain(Encoding.UTF8.GetBytes(json), out var row));
        return row;
    }

    private static int? Measure(Row row, int number) => row.Measures.Has(number) ? (int)row.Measures[number] : null;
}
