using System.Text;
using Cache.Metrics;
using Cache.Producer.Simulator;
using Cache.Service.Decode;
using Cache.Service.Model;

namespace Cache.Tests.Simulator;

public sealed class RowTimesTests
{
    private const long Hour = 3_600_000;

    [Theory]
    [InlineData("1710000000000", "1710003600000")]
    [InlineData("1710000000000.0", "1710003600000.0")]
    [InlineData("1.71e12", "1710003600000")]
    [InlineData("\"2024-03-09T16:00:00Z\"", "\"2024-03-09T17:00:00Z\"")]
    [InlineData("\"2024-03-09T16:00:00.123456789+05:30\"", "\"2024-03-09T17:00:00.123456789+05:30\"")]
    [InlineData("\"2024-03-09 16:00:00.5Z\"", "\"2024-03-09 17:00:00.5Z\"")]
    [InlineData("\"2024-03-09 23:30:00\"", "\"2024-03-10 00:30:00\"")]
    [InlineData("\"2024-12-31t23:30z\"", "\"2025-01-01t00:30z\"")]
    [InlineData("\"2024-03-09 16:00:00,123 -0800\"", "\"2024-03-09 17:00:00,123 -0800\"")]
    [InlineData("\"2024\\u002d03-09T16:00:00Z\"", "\"2024-03-09T17:00:00Z\"")]
    public void Time_IsMoved_InItsFormat(string time, string moved)
    {
        var row = Row($$"""{ "x": [1, {"window_start":5}], "window_start" : {{time}},"event_type":"é", "window_end":null }""");

        Assert.True(RowTimes.Of(MetricType.Event).TryRead(row, out _, out _));
        Assert.Equal(
            $$"""{ "x": [1, {"window_start":5}], "window_start" : {{moved}},"event_type":"é", "window_end":null }""",
            Encoding.UTF8.GetString(RowTimes.Of(MetricType.Event).Shift(row, Hour)));
    }

    [Theory]
    [InlineData(TimeUnit.Seconds, "1710000000", "1710003600")]
    [InlineData(TimeUnit.Seconds, "1710000000.25", "1710003600.25")]
    [InlineData(TimeUnit.Microseconds, "1710000000000001", "1710003600000001")]
    public void Number_IsMoved_InItsUnit(TimeUnit unit, string time, string moved)
    {
        var times = RowTimes.Of(new() { Name = "a", Key = "a", Topics = ["a"], DimensionFields = ["d"], Measures = MetricType.Event.Measures, TimeUnit = unit });
        var row = Row($$"""{"window_start":{{time}}}""");

        Assert.True(times.TryRead(row, out var read, out _));
        Assert.InRange(read, 1_710_000_000_000, 1_710_000_000_250);
        Assert.Equal($$"""{"window_start":{{moved}}}""", Encoding.UTF8.GetString(times.Shift(row, Hour)));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("{\"window_start\":null}")]
    [InlineData("{\"window_start\":\"yesterday\"}")]
    [InlineData("{\"window_start\":true}")]
    [InlineData("{\"window_start\":{}}")]
    [InlineData("{\"window_start\":1e300}")]
    [InlineData("{\"window_start\":\"2024-02-30T00:00:00Z\"}")]
    [InlineData("{\"window_start\":1710000000000,\"window_end\":\"soon\"}")]
    [InlineData("{\"window_start\":1710000000000")]
    public void RowWithoutATime_IsNotRead(string row) => Assert.False(RowTimes.Of(MetricType.Event).TryRead(Row(row), out _, out _));

    [Fact]
    public void WindowAndSession_AreReadWithTheirLengthAndEnd()
    {
        Assert.True(RowTimes.Of(MetricType.Event).TryRead(Row("""{"window_end":"2024-03-09T16:05:00Z","window_start":1,"window_start":1710000000000}"""), out var start, out var length));
        Assert.Equal((1_710_000_000_000, 300_000), (start, length));

        Assert.True(RowTimes.OfSessions.TryRead(Row("""{"start_time":1710000000000,"end_time":1710000005000}"""), out var end, out length));
        Assert.Equal((1_710_000_005_000, 0), (end, length));
        Assert.Equal("""{"start_time":1710000001000,"end_time":1710000006000}""", Encoding.UTF8.GetString(RowTimes.OfSessions.Shift(Row("""{"start_time":1710000000000,"end_time":1710000005000}"""), 1000)));
    }

    [Fact]
    public void AnyRowOfTheSimulator_IsMoved_SoThatTheServiceReadsTheMovedTime()
    {
        var options = new SimulatorOptions { Count = 3000, Sessions = false };
        var decoder = new RowDecoder(new(), TimeProvider.System);
        foreach (var row in new RowGenerator(options, 7, new(2025, 1, 1, 0, 0, 0, TimeSpan.Zero)).Rows())
        {
            var type = MetricType.Defaults.Single(type => type.Topics.Contains(row.Topic));
            var before = decoder.Decode(row.Topic, row.Value);
            var after = decoder.Decode(row.Topic, RowTimes.Of(type).Shift(row.Value, 90_061_000));

            Assert.Equal(RowKind.Window, after.Kind);
            Assert.Equal(before.WindowStart + 90_061_000, after.WindowStart);
            Assert.Equal($"{before.Dimension}", $"{after.Dimension}");
        }
    }

    private static byte[] Row(string text) => Encoding.UTF8.GetBytes(text);
}
