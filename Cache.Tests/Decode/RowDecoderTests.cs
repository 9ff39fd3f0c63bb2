using System.Text;
using Cache.Metrics;
using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Options;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Decode;

/// <summary>Which window rows are accepted and which are rejected, and why.</summary>
public sealed class RowDecoderTests
{
    private const long NewYear = 1735689600000;
    private const string GoodTime = "1735689600000";
    private const string GoodMeasures = "\"event_count\":2,\"user_count\":1";

    private readonly FakeTimeProvider _time = new(DateTimeOffset.FromUnixTimeMilliseconds(NewYear));
    private readonly RowDecoder _decoder;

    public RowDecoderTests() => _decoder = Decoders.New(_time);

    [Fact]
    public void EventRow_BecomesItsCountsUnderItsType()
    {
        var row = Decode("""
            {"window_start":1735689600000,"window_end":1735689660000,"event_type":"page_view","event_count":2,"user_count":1}
            """);

        Assert.Equal((RowKind.Window, MetricType.Event), (row.Kind, row.Dimension!.Type));
        Assert.Equal(RejectReason.None, row.Reason);
        Assert.Equal(NewYear, row.WindowStart);
        Assert.Equal(TestRows.Measures(2, 1), row.Measures);
        Assert.Equal("page_view", row.Dimension.Name);
        Assert.Equal("page_view.count", row.Dimension.Fields[0]);
        Assert.Equal("page_view.users", row.Dimension.Fields[1]);
        Assert.Null(row.Rejected);
    }

    [Fact]
    public void PerformanceRow_BecomesItsLoadTimesUnderItsDevice()
    {
        var row = Decode("""
            {"window_start":"2025-01-01 00:00:00","device_category":"mobile","avg_load_time":812.5,"p95_load_time":2e3}
            """, MetricType.Performance);

        Assert.Equal((RowKind.Window, MetricType.Performance), (row.Kind, row.Dimension!.Type));
        Assert.Equal(NewYear, row.WindowStart);
        Assert.Equal(TestRows.Measures(Bits(812.5), Bits(2000)), row.Measures);
        Assert.Equal("mobile.avg_load_time", row.Dimension.Fields[0]);
        Assert.Equal("mobile.p95_load_time", row.Dimension.Fields[1]);
    }

    [Theory]
    [InlineData("event_metrics", "event")]
    [InlineData("performance_metrics", "performance")]
    [InlineData("EVENT_METRICS", null)]
    [InlineData("orders", null)]
    public void Topic_DeterminesTheType(string topic, string? type)
    {
        var row = _decoder.Decode(topic, """{"window_start":1735689600000,"event_type":"e","event_count":1,"device_category":"d","avg_load_time":1}"""u8);

        Assert.Equal(type, row.Dimension?.Type.Name);
        Assert.Equal(type is null ? RowKind.WithoutType : RowKind.Window, row.Kind);
    }

    [Fact]
    public void TypeThatHasTheTopicOfSessions_GetsItsRows()
    {
        var type = new MetricType { Name = "visits", Key = "visits", Topics = ["session_metrics"], DimensionFields = ["page"], Measures = [new("count", "count", MeasureKind.Count, Rollup.Sum)] };
        var decoder = new RowDecoder(new CacheOptions { MetricTypes = [type], Topics = type.Topics }, _time);

        Assert.Same(type, decoder.Decode("session_metrics", """{"window_start":1735689600000,"page":"a","count":1}"""u8).Dimension!.Type);
    }

    [Theory]
    [InlineData("1735689600123")]
    [InlineData("1735689600123.0")]
    [InlineData("1.735689600123e12")]
    [InlineData("\"2025-01-01T00:00:00.123Z\"")]
    [InlineData("\"2025-01-01T02:00:00.123+02:00\"")]
    [InlineData("\"2024-12-31T19:30:00.123-04:30\"")]
    [InlineData("\"2025-01-01T02:00:00.123+0200\"")]
    [InlineData("\"2025-01-01T02:00:00.123+02\"")]
    [InlineData("\"2025-01-01 00:00:00.123Z\"")]
    [InlineData("\"2025-01-01 00:00:00.123\"")]
    [InlineData("\"2025-01-01T00:00:00.123\"")]
    [InlineData("\"2025-01-01t00:00:00.123z\"")]
    [InlineData("\"2025-01-01T00:00:00,123Z\"")]
    [InlineData("\"2025-01-01 00:00:00.123 Z\"")]
    [InlineData("\"2025-01-01 02:00:00.123 +02:00\"")]
    [InlineData("\"2025-01-01T00:00:00.123+0000\"")]
    [InlineData("\"2025-01-01 00:00:00.123456789Z\"")]
    [InlineData("\"\\u0032025-01-01\\u0020\\u0030\\u0030:00:00.123\\u005a\"")]
    public void WindowStart_IsTheSameInEveryFormat(string time) => AssertAccepted(NewYear + 123, EventRow(time));

    [Theory]
    [InlineData("", 0)]
    [InlineData(".1", 100)]
    [InlineData(".12", 120)]
    [InlineData(".123", 123)]
    [InlineData(".1239", 123)]
    [InlineData(".12399", 123)]
    [InlineData(".123999", 123)]
    [InlineData(".1239999", 123)]
    [InlineData(".12399999", 123)]
    [InlineData(".123999999", 123)]
    [InlineData(".000999999", 0)]
    public void WindowStart_HasUpToNineFractionDigits_OfWhichThreeCount(string fraction, int milliseconds)
    {
        AssertAccepted(NewYear + milliseconds, EventRow($"\"2025-01-01 00:00:00{fraction}\""));
        AssertAccepted(NewYear + milliseconds, EventRow($"\"2025-01-01T00:00:00{fraction}Z\""));
    }

    [Theory]
    [InlineData("\"1970-01-01T00:00:00Z\"", 0)]
    [InlineData("\"1969-12-31T22:00:00-02:00\"", 0)]
    public void WindowStart_MayBeTheEpoch(string time, long start) => AssertAccepted(start, EventRow(time));

    [Theory]
    [InlineData("1735689600")]
    [InlineData("1735689600.0")]
    [InlineData("1735689600.123456789")]
    [InlineData("1.7356896E9")]
    [InlineData("0")]
    [InlineData("-0")]
    [InlineData("978307199999")]
    [InlineData("978307199999.9")]
    public void WindowStart_InSeconds_IsRejectedAsThat(string time) => AssertRejected(RejectReason.TimeInSeconds, EventRow(time));

    [Fact]
    public void WindowStart_AsANumber_IsInMillisecondsFrom2001On() => AssertAccepted(978_307_200_000, EventRow("978307200000"));

    [Theory]
    [InlineData("-1")]
    [InlineData("-1.5")]
    [InlineData("-1e3")]
    [InlineData("-9223372036854775808")]
    [InlineData("9223372036854775808")]
    [InlineData("1e400")]
    [InlineData("1735689600000.5")]
    [InlineData("true")]
    [InlineData("[1735689600000]")]
    [InlineData("{\"window_start\":1735689600000}")]
    [InlineData("\"\"")]
    [InlineData("\"1735689600000\"")]
    [InlineData("\"yesterday\"")]
    [InlineData("\"2025-01-01\"")]
    [InlineData("\"2025-01-01 00:00:00.\"")]
    [InlineData("\"2025-01-01 00:00:00.1234567890\"")]
    [InlineData("\"2025-13-01 00:00:00\"")]
    [InlineData("\"2025-02-29 00:00:00\"")]
    [InlineData("\"2025-01-01 24:00:00\"")]
    [InlineData("\"2025-01-01 00:60:00\"")]
    [InlineData("\"2025-01-01 00:00:60\"")]
    [InlineData("\"2025-01-01 00:00:00 \"")]
    [InlineData("\"2025-01-01 00:00:00  Z\"")]
    [InlineData("\"2025-01-01 00:00:00,\"")]
    [InlineData("\"2025-01-01T00:00:00+\"")]
    [InlineData("\"2025-01-01T00:00:00+02:\"")]
    [InlineData("\"2025-01-01T00:00:00+02:60\"")]
    [InlineData("\"2025-01-01T00:00:00+19:00\"")]
    [InlineData("\"0000-01-01T00:00:00Z\"")]
    [InlineData("\"1969-12-31T23:59:59.999Z\"")]
    [InlineData("\"2025-01-01T00:00:00Z\\ud800\"")]
    public void WindowStart_ThatIsNotATime_IsRejected(string time) => AssertRejected(RejectReason.BadWindowStart, EventRow(time));

    [Theory]
    [InlineData("null")]
    [InlineData(null)]
    public void WindowStart_ThatIsMissing_IsRejected(string? time) => AssertRejected(RejectReason.NoWindowStart, EventRow(time));

    [Fact]
    public void FutureWindow_IsRejectedFromOneMillisecondBeyondTheLimit_WhichMovesWithTheClock()
    {
        var limit = NewYear + 86_400_000;
        AssertAccepted(limit, EventRow($"{limit}"));
        AssertRejected(RejectReason.FutureWindow, EventRow($"{limit + 1}"));
        AssertRejected(RejectReason.FutureWindow, EventRow("\"9999-12-31T23:59:59Z\""));
        AssertRejected(RejectReason.FutureWindow, EventRow($"{long.MaxValue}"));

        _time.Advance(TimeSpan.FromMilliseconds(1));
        AssertAccepted(limit + 1, EventRow($"{limit + 1}"));
        AssertRejected(RejectReason.FutureWindow, EventRow($"{limit + 2}"));

        _time.Advance(TimeSpan.FromHours(1));
        AssertAccepted(limit + 3_600_001, EventRow($"{limit + 3_600_001}"));
        AssertRejected(RejectReason.FutureWindow, EventRow($"{limit + 3_600_002}"));
    }

    [Theory]
    [InlineData("page_view")]
    [InlineData("Größe")]
    [InlineData("事件")]
    [InlineData("🙂")]
    [InlineData(" ")]
    [InlineData("a.count")]
    [InlineData("quote \" and \\ backslash")]
    [InlineData("\u00A0")]
    [InlineData("\u2028")]
    public void Dimension_IsAnyTextWithoutControlCharacters_EscapedOrNot(string name)
    {
        var plain = name.Replace("\\", "\\\\", StringComparison.Ordinal).Replace("\"", "\\\"", StringComparison.Ordinal);
        var escaped = string.Concat(name.Select(c => $"\\u{(int)c:x4}"));
        foreach (var text in new[] { plain, escaped })
        {
            var row = Decode(EventRow(dimension: $"\"{text}\""));
            Assert.Equal(name, row.Dimension!.Name);
            Assert.Equal(Encoding.UTF8.GetBytes(name + ".count"), (byte[]?)row.Dimension.Fields[0]);
        }
    }

    [Theory]
    [InlineData("d", 128)]
    [InlineData("é", 64)]
    [InlineData("\\u00e9", 64)]
    [InlineData("\\ud83d\\ude42", 32)]
    public void Dimension_HasUpTo128BytesOfUtf8(string character, int most)
    {
        var longest = string.Concat(Enumerable.Repeat(character, most));
        Assert.Equal(RowKind.Window, Decode(EventRow(dimension: $"\"{longest}\"")).Kind);
        AssertRejected(RejectReason.BadDimension, EventRow(dimension: $"\"{longest}d\""));
        AssertRejected(RejectReason.BadDimension, EventRow(dimension: $"\"{longest}{longest}{longest}\""));
    }

    [Fact]
    public void Dimension_WithAnyControlCharacter_IsRejected()
    {
        int[] controls = [.. Enumerable.Range(0, 0x20), .. Enumerable.Range(0x7F, 0x21)];
        foreach (var control in controls)
        {
            AssertRejected(RejectReason.BadDimension, EventRow(dimension: $"\"page\\u{control:x4}view\""));
            if (control >= 0x20)
            {
                AssertRejected(RejectReason.BadDimension, EventRow(dimension: $"\"é{(char)control}\""));
            }
            else
            {
                // JSON does not allow them unescaped.
                AssertRejected(RejectReason.NotJson, EventRow(dimension: $"\"page{(char)control}view\""));
            }
        }
    }

    [Theory]
    [InlineData("\"\"")]
    [InlineData("7")]
    [InlineData("false")]
    [InlineData("[\"page_view\"]")]
    [InlineData("{\"name\":\"page_view\"}")]
    [InlineData("\"\\ud800\"")]
    [InlineData("\"\\udc00\\ud800\"")]
    [InlineData("\"\\ud83dx\"")]
    public void Dimension_ThatIsNotText_IsRejected(string dimension) =>
        AssertRejected(RejectReason.BadDimension, EventRow(dimension: dimension));

    [Theory]
    [InlineData("null")]
    [InlineData(null)]
    public void Dimension_ThatIsMissing_IsRejected(string? dimension) =>
        AssertRejected(RejectReason.NoDimension, EventRow(dimension: dimension));

    [Fact]
    public void Dimension_OfTheOtherTopic_IsIgnored()
    {
        const string Both = """{"window_start":1735689600000,"event_type":"e","event_count":1,"device_category":"d","avg_load_time":2}""";
        Assert.Equal("e", Decode(Both).Dimension!.Name);
        Assert.Equal("d", Decode(Both, MetricType.Performance).Dimension!.Name);
    }

    [Theory]
    [InlineData("0", 0)]
    [InlineData("-0", 0)]
    [InlineData("-0.0", 0)]
    [InlineData("2.0", 2)]
    [InlineData("1e3", 1000)]
    [InlineData("12.5E1", 125)]
    [InlineData("120e-1", 12)]
    [InlineData("0.000012e+6", 12)]
    [InlineData("0e999999999999", 0)]
    [InlineData("0.00e-999999999999", 0)]
    [InlineData("922337203685477580.7e1", long.MaxValue)]
    [InlineData("9223372036854775807", long.MaxValue)]
    [InlineData("9223372036854775807.0", long.MaxValue)]
    public void Count_IsAWholeNumber_HoweverItIsWritten(string number, long count) =>
        Assert.Equal(TestRows.Measures(count, null), Decode(EventRow(measures: $"\"event_count\":{number}")).Measures);

    [Theory]
    [InlineData("-1")]
    [InlineData("-0.5")]
    [InlineData("-1.0")]
    [InlineData("-2e3")]
    [InlineData("2.5")]
    [InlineData("1e-40")]
    [InlineData("1e-400")]
    [InlineData("1e-999999999999")]
    [InlineData("1e999999999999")]
    [InlineData("10.00000000000000000000000000000000000000001")]
    [InlineData("922337203685477580.8e1")]
    [InlineData("9223372036854775808")]
    [InlineData("1e19")]
    [InlineData("1e400")]
    [InlineData("\"2\"")]
    [InlineData("\"NaN\"")]
    [InlineData("true")]
    [InlineData("[2]")]
    [InlineData("{\"value\":2}")]
    public void Count_ThatIsNotAWholeNumberOfInt64_IsRejected(string number)
    {
        AssertRejected(RejectReason.BadMeasure, EventRow(measures: $"\"event_count\":{number}"));
        AssertRejected(RejectReason.BadMeasure, EventRow(measures: $"\"event_count\":1,\"user_count\":{number}"));
        AssertRejected(RejectReason.BadMeasure, EventRow(measures: $"\"event_count\":{number},\"user_count\":1"));
    }

    [Theory]
    [InlineData("0", 0)]
    [InlineData("-0", 0)]
    [InlineData("-0.0", 0)]
    [InlineData("0.1", 0.1)]
    [InlineData("1e308", 1e308)]
    [InlineData("5e-324", double.Epsilon)]
    [InlineData("12345678901234567890", 12345678901234567890d)]
    public void LoadTime_IsAnyFiniteNumber(string number, double time) =>
        Assert.Equal(TestRows.Measures(null, Bits(time)), Decode(PerformanceRow($"\"p95_load_time\":{number}"), MetricType.Performance).Measures);

    [Theory]
    [InlineData("-1")]
    [InlineData("-1e-9")]
    [InlineData("1e400")]
    [InlineData("-1e400")]
    [InlineData("\"12.5\"")]
    [InlineData("\"Infinity\"")]
    [InlineData("false")]
    [InlineData("[]")]
    public void LoadTime_ThatIsNotAFiniteNumber_IsRejected(string number)
    {
        AssertRejected(RejectReason.BadMeasure, PerformanceRow($"\"avg_load_time\":{number}"), MetricType.Performance);
        AssertRejected(RejectReason.BadMeasure, PerformanceRow($"\"avg_load_time\":1,\"p95_load_time\":{number}"), MetricType.Performance);
    }

    [Theory]
    [InlineData("NaN")]
    [InlineData("Infinity")]
    [InlineData("+1")]
    [InlineData("01")]
    [InlineData("1.")]
    [InlineData(".5")]
    [InlineData("0x10")]
    public void Number_ThatJsonDoesNotAllow_IsNotJson(string number)
    {
        AssertRejected(RejectReason.NotJson, EventRow(measures: $"\"event_count\":{number}"));
        AssertRejected(RejectReason.NotJson, PerformanceRow($"\"avg_load_time\":{number}"), MetricType.Performance);
    }

    [Theory]
    [InlineData("\"event_count\":2", true, false)]
    [InlineData("\"event_count\":2,\"user_count\":null", true, false)]
    [InlineData("\"user_count\":3", false, true)]
    [InlineData("\"event_count\":null,\"user_count\":3", false, true)]
    public void Measure_ThatIsMissingOrNull_IsLeftOut(string measures, bool first, bool second) =>
        Assert.Equal(TestRows.Measures(first ? 2 : null, second ? 3 : null), Decode(EventRow(measures: measures)).Measures);

    [Theory]
    [InlineData("\"event_count\":null,\"user_count\":null")]
    [InlineData("\"avg_load_time\":1")]
    [InlineData("\"Event_Count\":1")]
    public void Row_WithoutAnyMeasure_IsRejected(string measures) =>
        AssertRejected(RejectReason.NoMeasure, EventRow(measures: measures));

    [Fact]
    public void UnknownFields_AreIgnored_HoweverDeepTheyNest()
    {
        const int Levels = 10_000;
        var arrays = new string('[', Levels) + new string(']', Levels);
        var objects = string.Concat(Enumerable.Repeat("{\"window_start\":", Levels)) + "-1" + new string('}', Levels);
        AssertAccepted(NewYear, $$"""{"x":{{arrays}},"window_start":{{GoodTime}},"y":{{objects}},"event_type":"e",{{GoodMeasures}},"z":"\ud800"}""");
        AssertRejected(RejectReason.NotJson, $$"""{"x":{{arrays}}],"window_start":{{GoodTime}},"event_type":"e",{{GoodMeasures}}}""");
    }

    [Fact]
    public void RepeatedProperty_LastOneWins()
    {
        var row = Decode("""
            {"window_start":"junk","event_type":7,"event_count":-1,"user_count":5,
             "window_start":1735689600000,"event_type":"first","event_type":"last","event_count":4,"user_count":null}
            """);
        Assert.Equal(NewYear, row.WindowStart);
        Assert.Equal("last", row.Dimension!.Name);
        Assert.Equal(TestRows.Measures(4, null), row.Measures);

        AssertRejected(RejectReason.NoWindowStart, $$"""{"window_start":{{GoodTime}},"event_type":"e",{{GoodMeasures}},"window_start":null}""");
        AssertRejected(RejectReason.BadDimension, $$"""{"window_start":{{GoodTime}},"event_type":"e",{{GoodMeasures}},"event_type":""}""");
        AssertRejected(RejectReason.BadMeasure, $$"""{"window_start":{{GoodTime}},"event_type":"e",{{GoodMeasures}},"user_count":"1"}""");
    }

    [Fact]
    public void PropertyNames_MayBeEscaped()
    {
        var row = Decode("""
            {"w\u0069ndow_start":1735689600000,"\u0065vent_type":"e","event\u005fcount":4,"user_coun\u0074":5}
            """);
        Assert.Equal(NewYear, row.WindowStart);
        Assert.Equal(TestRows.Measures(4, 5), row.Measures);
    }

    [Theory]
    [InlineData("\\ud800")]
    [InlineData("\\ud800vent_type")]
    [InlineData("window_start\\udfff")]
    [InlineData("\\uD800vent_type")]
    [InlineData("event_typ\\udc00")]
    [InlineData("event_coun\\ud83dx")]
    public void PropertyName_WithALoneSurrogate_IsUnknown(string name)
    {
        AssertAccepted(NewYear, $$"""{"{{name}}":1,"window_start":{{GoodTime}},"event_type":"e",{{GoodMeasures}}}""");
        AssertAccepted(NewYear, $$"""{"window_start":{{GoodTime}},"{{name}}":{"window_start":1,"event_type":["x"]},"event_type":"e",{{GoodMeasures}}}""");
    }

    [Theory]
    [InlineData("")]
    [InlineData(" ")]
    [InlineData("{")]
    [InlineData("{}}")]
    [InlineData("{},")]
    [InlineData("{}{}")]
    [InlineData("nul")]
    [InlineData("[1,2")]
    [InlineData("\"text")]
    [InlineData("12 34")]
    [InlineData("<xml/>")]
    [InlineData("{'window_start':1}")]
    [InlineData("{window_start:1}")]
    [InlineData("{\"window_start\":1,}")]
    [InlineData("// comment\n{}")]
    public void Value_ThatIsNotJson_IsRejected(string value) => AssertRejected(RejectReason.NotJson, value);

    [Theory]
    [InlineData("x")]
    [InlineData("{}")]
    [InlineData("\0")]
    public void GoodRow_FollowedByGarbage_IsNotJson(string garbage) => AssertRejected(RejectReason.NotJson, EventRow() + garbage);

    [Theory]
    [InlineData(" \t\r\n")]
    public void GoodRow_MayBeSurroundedByWhiteSpace(string space) => AssertAccepted(NewYear, space + EventRow() + space);

    [Theory]
    [InlineData("null")]
    [InlineData("true")]
    [InlineData("17")]
    [InlineData("\"text\"")]
    [InlineData("[]")]
    [InlineData("[{\"window_start\":1}]")]
    public void Value_ThatIsNotAnObject_IsRejected(string value) => AssertRejected(RejectReason.NotAnObject, value);

    [Fact]
    public void EmptyObject_HasNoWindowStart() => AssertRejected(RejectReason.NoWindowStart, "{}");

    [Theory]
    [InlineData("event_type")]
    [InlineData("unknown")]
    public void InvalidUtf8_IsNotJson_EvenInAnUnknownField(string field)
    {
        byte[] row = [.. Encoding.UTF8.GetBytes($"{{{GoodMeasures},\"window_start\":0,\"event_type\":\"e\",\"{field}\":\"a"), 0xC3, 0x28, .. "\"}"u8];
        Assert.Equal(RejectReason.NotJson, _decoder.Decode(MetricType.Event, row).Reason);
    }

    [Fact]
    public void Value_OfOneMebibyte_IsAccepted_AndOneByteMoreIsTooLarge()
    {
        var row = EventRow();
        var largest = row + new string(' ', RowDecoder.MaxValueBytes - row.Length);
        Assert.Equal(1024 * 1024, largest.Length);
        AssertAccepted(NewYear, largest);
        AssertRejected(RejectReason.TooLarge, largest + " ");
    }

    /// <summary>A schema registry's frame is a zero and the id of the schema; a byte order mark is EF BB BF.</summary>
    [Theory]
    [InlineData("")]
    [InlineData("0000000007")]
    [InlineData("EFBBBF")]
    [InlineData("00FFFFFFFFEFBBBF")]
    public void Json_MayFollowAFrame(string frame)
    {
        var before = Convert.FromHexString(frame);
        foreach (var json in new[] { EventRow(), $" {EventRow()}" })
        {
            var row = _decoder.Decode(MetricType.Event, [.. before, .. Encoding.UTF8.GetBytes(json)]);
            Assert.Equal((RowKind.Window, NewYear), (row.Kind, row.WindowStart));
        }

        Assert.Equal(RejectReason.NotJson, _decoder.Decode(MetricType.Event, before).Reason);
        Assert.Equal(RejectReason.NotAnObject, _decoder.Decode(MetricType.Event, [.. before, .. "[]"u8]).Reason);
    }

    [Theory]
    [InlineData("00")]
    [InlineData("00000007")]
    [InlineData("0100000007")]
    [InlineData("EFBB")]
    [InlineData("EFBBBFEFBBBF")]
    [InlineData("EFBBBF0000000007")]
    [InlineData("00000000070000000007")]
    public void OtherBytesBeforeTheJson_AreNotAFrame(string bytes) =>
        Assert.Equal(RejectReason.NotJson, _decoder.Decode(MetricType.Event, [.. Convert.FromHexString(bytes), .. Encoding.UTF8.GetBytes(EventRow())]).Reason);

    [Fact]
    public void RejectReasons_HaveDistinctNames()
    {
        var names = Enum.GetValues<RejectReason>().Select(reason => reason.Name()).ToList();
        Assert.Equal(names.Distinct(), names);
        Assert.All(names, name => Assert.Matches("^[a-z0-9_]+$", name));
        Assert.All(Enum.GetValues<RejectReason>()[1..], reason => Assert.NotEqual(RejectReason.None.Name(), reason.Name()));
    }

    private static long Bits(double number) => BitConverter.DoubleToInt64Bits(number);

    /// <summary>An event row without the parts that are null.</summary>
    private static string EventRow(string? time = GoodTime, string? dimension = "\"page_view\"", string? measures = GoodMeasures)
    {
        string?[] parts = [time is null ? null : $"\"window_start\":{time}", dimension is null ? null : $"\"event_type\":{dimension}", measures];
        return $"{{{string.Join(',', parts.Where(part => part is not null))}}}";
    }

    private static string PerformanceRow(string measures) => $$"""{"window_start":{{GoodTime}},"device_category":"mobile",{{measures}}}""";

    private Row Decode(string json, MetricType? type = null) => _decoder.Decode(type ?? MetricType.Event, Encoding.UTF8.GetBytes(json));

    private void AssertAccepted(long windowStart, string json)
    {
        var row = Decode(json);
        Assert.Equal((RowKind.Window, RejectReason.None, windowStart), (row.Kind, row.Reason, row.WindowStart));
    }

    private void AssertRejected(RejectReason reason, string json, MetricType? type = null)
    {
        var row = Decode(json, type);
        Assert.Equal((RowKind.Rejected, reason), (row.Kind, row.Reason));
        Assert.Null(row.Dimension);
    }
}
