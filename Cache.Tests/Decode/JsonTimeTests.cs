using System.Text;
using System.Text.Json;
using Cache.Metrics;
using Cache.Service.Decode;
using Cache.Service.Model;

namespace Cache.Tests.Decode;

/// <summary>Numbers as times, at the edges of what can be one.</summary>
public sealed class JsonTimeTests
{
    private const long MostSeconds = long.MaxValue / 1000;

    [Theory]
    [InlineData(TimeUnit.Seconds, 1L, 1000L)]
    [InlineData(TimeUnit.Seconds, 0L, 0L)]
    [InlineData(TimeUnit.Seconds, -2L, -2000L)]
    [InlineData(TimeUnit.Seconds, MostSeconds - 1, (MostSeconds - 1) * 1000)]
    [InlineData(TimeUnit.Seconds, MostSeconds, null)]
    [InlineData(TimeUnit.Seconds, -MostSeconds + 1, (-MostSeconds + 1) * 1000)]
    [InlineData(TimeUnit.Seconds, -MostSeconds, null)]
    [InlineData(TimeUnit.Seconds, long.MinValue, null)]
    [InlineData(TimeUnit.Milliseconds, -1L, -1L)]
    [InlineData(TimeUnit.Microseconds, -1L, -1L)]
    [InlineData(TimeUnit.Microseconds, 1999L, 1L)]
    public void Number_IsConverted_IfItFits(TimeUnit unit, long number, long? milliseconds) =>
        Assert.Equal(milliseconds, JsonTime.TryConvert(number, unit, out var converted) ? converted : null);

    [Theory]
    [InlineData(TimeUnit.Milliseconds, "978307200000", 978_307_200_000)]
    [InlineData(TimeUnit.Milliseconds, "978307199999", RejectReason.TimeInSeconds)]
    [InlineData(TimeUnit.Milliseconds, "0", RejectReason.TimeInSeconds)]
    [InlineData(TimeUnit.Milliseconds, "0.5", RejectReason.TimeInSeconds)]
    [InlineData(TimeUnit.Milliseconds, "-1", RejectReason.BadWindowStart)]
    [InlineData(TimeUnit.Milliseconds, "-0.5", RejectReason.BadWindowStart)]
    [InlineData(TimeUnit.Seconds, "978307200", 978_307_200_000)]
    [InlineData(TimeUnit.Seconds, "978307200.0004", 978_307_200_000)]
    [InlineData(TimeUnit.Seconds, "978307200.25", 978_307_200_250)]
    [InlineData(TimeUnit.Seconds, "978307199", RejectReason.BadWindowStart)]
    [InlineData(TimeUnit.Seconds, "978307199.999", RejectReason.BadWindowStart)]
    [InlineData(TimeUnit.Seconds, "9223372036854775.807", 9_223_372_036_854_775_807)]
    [InlineData(TimeUnit.Seconds, "9223372036854775.808", RejectReason.BadWindowStart)]
    [InlineData(TimeUnit.Seconds, "1e40", RejectReason.BadWindowStart)]
    [InlineData(TimeUnit.Microseconds, "978307200000000", 978_307_200_000)]
    [InlineData(TimeUnit.Microseconds, "978307200000000.5", RejectReason.BadWindowStart)]
    [InlineData(TimeUnit.Milliseconds, "\"1970-01-01T00:00:00Z\"", 0L)]
    public void Time_IsRead_OrRejected(TimeUnit unit, string json, object expected)
    {
        var reader = new Utf8JsonReader(Encoding.UTF8.GetBytes(json));
        reader.Read();
        var reason = JsonTime.Read(ref reader, unit, RejectReason.NoWindowStart, RejectReason.BadWindowStart, out var milliseconds);
        Assert.Equal(expected, reason == RejectReason.None ? milliseconds : reason);
    }
}
