using System.Text;
using Cache.Metrics;
using Cache.Service.Decode;
using Cache.Service.Model;
using Cache.Service.Options;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Decode;

/// <summary>Which session rows are accepted and which are rejected, and why.</summary>
public sealed class SessionDecoderTests
{
    private const long NewYear = 1735689600000;

    private readonly RowDecoder _decoder = Decoders.New(new FakeTimeProvider(DateTimeOffset.FromUnixTimeMilliseconds(NewYear)));

    [Fact]
    public void SessionRow_BecomesASession()
    {
        var row = Decode("""
            {"session_id":"s-1","user_id":"u-7","start_time":"2024-12-31 23:59:00","end_time":1735689600000,"duration":60000,
             "page_count":3,"device_category":"Mobile","unknown":{"session_id":7}}
            """);

        Assert.Equal((RowKind.Session, RejectReason.None), (row.Kind, row.Reason));
        Assert.Equal(new Session("s-1", NewYear, "u-7", NewYear - 60_000, 60_000, 3, "Mobile"), row.Session);
        Assert.Null(row.Rejected);
        Assert.Null(row.Dimension);
    }

    [Theory]
    [InlineData("")]
    [InlineData(",\"user_id\":null,\"start_time\":null,\"duration\":null,\"page_count\":null,\"device_category\":null")]
    public void PartialRow_CarriesWhatIsThere(string absent) =>
        Assert.Equal(new Session("s", NewYear), Decode($$"""{"session_id":"s","end_time":1735689600000{{absent}}}""").Session);

    [Theory]
    [InlineData("1735689600123")]
    [InlineData("\"2025-01-01T00:00:00.123Z\"")]
    [InlineData("\"2025-01-01T02:00:00.123+02:00\"")]
    [InlineData("\"2025-01-01 00:00:00.123Z\"")]
    [InlineData("\"2025-01-01 00:00:00.123456\"")]
    public void Times_AreTheSameInEveryFormat(string time)
    {
        var session = Decode($$"""{"session_id":"s","start_time":{{time}},"end_time":{{time}}}""").Session;

        Assert.Equal((NewYear + 123, NewYear + 123), (session!.Start, session.End));
    }

    [Theory]
    [InlineData(RejectReason.NoSessionId, "\"end_time\":1735689600000")]
    [InlineData(RejectReason.NoSessionId, "\"session_id\":null,\"end_time\":1735689600000")]
    [InlineData(RejectReason.BadSessionId, "\"session_id\":\"\",\"end_time\":1735689600000")]
    [InlineData(RejectReason.BadSessionId, "\"session_id\":7,\"end_time\":1735689600000")]
    [InlineData(RejectReason.BadSessionId, "\"session_id\":[\"s\"],\"end_time\":1735689600000")]
    [InlineData(RejectReason.BadSessionId, "\"session_id\":\"a\\nb\",\"end_time\":1735689600000")]
    [InlineData(RejectReason.BadSessionId, "\"session_id\":\"a\\u0085b\",\"end_time\":1735689600000")]
    [InlineData(RejectReason.BadSessionId, "\"session_id\":\"\\ud800\",\"end_time\":1735689600000")]
    [InlineData(RejectReason.NoEndTime, "\"session_id\":\"s\"")]
    [InlineData(RejectReason.NoEndTime, "\"session_id\":\"s\",\"end_time\":null")]
    [InlineData(RejectReason.NoEndTime, "\"session_id\":\"s\",\"start_time\":1735689600000")]
    [InlineData(RejectReason.BadEndTime, "\"session_id\":\"s\",\"end_time\":-1")]
    [InlineData(RejectReason.BadEndTime, "\"session_id\":\"s\",\"end_time\":\"soon\"")]
    [InlineData(RejectReason.BadEndTime, "\"session_id\":\"s\",\"end_time\":{}")]
    [InlineData(RejectReason.TimeInSeconds, "\"session_id\":\"s\",\"end_time\":1735689600")]
    [InlineData(RejectReason.TimeInSeconds, "\"session_id\":\"s\",\"end_time\":1735689600.5")]
    [InlineData(RejectReason.TimeInSeconds, "\"session_id\":\"s\",\"end_time\":1735689600000,\"start_time\":1735689600")]
    [InlineData(RejectReason.BadStartTime, "\"session_id\":\"s\",\"end_time\":1735689600000,\"start_time\":\"\"")]
    [InlineData(RejectReason.BadStartTime, "\"session_id\":\"s\",\"end_time\":1735689600000,\"start_time\":-5")]
    [InlineData(RejectReason.BadStartTime, "\"session_id\":\"s\",\"end_time\":1735689600000,\"start_time\":1735689600001")]
    [InlineData(RejectReason.BadStartTime, "\"session_id\":\"s\",\"start_time\":1735689600001,\"end_time\":1735689600000")]
    [InlineData(RejectReason.BadUserId, "\"session_id\":\"s\",\"end_time\":1735689600000,\"user_id\":\"\"")]
    [InlineData(RejectReason.BadUserId, "\"session_id\":\"s\",\"end_time\":1735689600000,\"user_id\":12")]
    [InlineData(RejectReason.BadDimension, "\"session_id\":\"s\",\"end_time\":1735689600000,\"device_category\":\"\"")]
    [InlineData(RejectReason.BadDimension, "\"session_id\":\"s\",\"end_time\":1735689600000,\"device_category\":true")]
    [InlineData(RejectReason.BadMeasure, "\"session_id\":\"s\",\"end_time\":1735689600000,\"duration\":-1")]
    [InlineData(RejectReason.BadMeasure, "\"session_id\":\"s\",\"end_time\":1735689600000,\"duration\":1.5")]
    [InlineData(RejectReason.BadMeasure, "\"session_id\":\"s\",\"end_time\":1735689600000,\"duration\":\"1\"")]
    [InlineData(RejectReason.BadMeasure, "\"session_id\":\"s\",\"end_time\":1735689600000,\"page_count\":9223372036854775808")]
    [InlineData(RejectReason.BadMeasure, "\"session_id\":\"s\",\"end_time\":1735689600000,\"page_count\":[1]")]
    [InlineData(RejectReason.NotJson, "\"session_id\":\"s\",\"end_time\":1735689600000,")]
    public void Row_ThatBreaksARule_IsRejected(RejectReason reason, string fields) => AssertRejected(reason, $"{{{fields}}}");

    [Theory]
    [InlineData(RejectReason.BadSessionId, "session_id")]
    [InlineData(RejectReason.BadUserId, "user_id")]
    [InlineData(RejectReason.BadDimension, "device_category")]
    public void Names_HaveUpTo128BytesOfUtf8(RejectReason reason, string field)
    {
        var longest = new string('é', 64);
        var session = Decode($$"""{"session_id":"s","end_time":1735689600000,"{{field}}":"{{longest}}"}""").Session!;

        Assert.Contains(longest, new[] { session.Id, session.User, session.Device });
        AssertRejected(reason, $$"""{"session_id":"s","end_time":1735689600000,"{{field}}":"{{longest}}x"}""");
    }

    [Fact]
    public void FutureSession_IsRejectedFromOneMillisecondBeyondTheLimit()
    {
        const long Limit = NewYear + 86_400_000;
        Assert.Equal(Limit, Decode($$"""{"session_id":"s","end_time":{{Limit}}}""").Session!.End);
        AssertRejected(RejectReason.FutureSession, $$"""{"session_id":"s","end_time":{{Limit + 1}}}""");
    }

    [Theory]
    [InlineData(TimeUnit.Seconds, "1735689600")]
    [InlineData(TimeUnit.Seconds, "1735689600.000999")]
    [InlineData(TimeUnit.Microseconds, "1735689600000999")]
    public void Times_CountInTheUnitOfSessions(TimeUnit unit, string time)
    {
        var clock = new FakeTimeProvider(DateTimeOffset.FromUnixTimeMilliseconds(NewYear));
        var decoder = new RowDecoder(new CacheOptions { Topics = ["session_metrics"], SessionTimeUnit = unit }, clock);

        Assert.Equal(new Session("s", NewYear), decoder.Decode("session_metrics", Encoding.UTF8.GetBytes($$"""{"session_id":"s","end_time":{{time}}}""")).Session);
    }

    [Fact]
    public void RepeatedProperty_LastOneWins()
    {
        Assert.Equal(
            new Session("s", NewYear + 9, null, NewYear + 8, null, 2),
            Decode("""
                {"session_id":7,"end_time":"junk","start_time":99,"user_id":"u","duration":5,"page_count":-1,"device_category":"x",
                 "session_id":"s","end_time":1735689600009,"start_time":1735689600008,"user_id":null,"duration":null,"page_count":2,"device_category":null}
                """).Session);
        AssertRejected(RejectReason.NoEndTime, """{"session_id":"s","end_time":1735689600000,"end_time":null}""");
    }

    [Fact]
    public void PropertyNames_MayBeEscaped_ButNotWithALoneSurrogate() =>
        Assert.Equal(new Session("s", NewYear), Decode("""{"\u0073ession_id":"s","\ud800":{"end_time":1},"end_tim\u0065":1735689600000}""").Session);

    [Fact]
    public void ValueThatIsNotAnObject_IsRejected() => Assert.Equal(RejectReason.NotAnObject, Decode("[]").Reason);

    private Row Decode(string json) => _decoder.Decode("session_metrics", Encoding.UTF8.GetBytes(json));

    private void AssertRejected(RejectReason reason, string json)
    {
        var row = Decode(json);
        Assert.Equal((RowKind.Rejected, reason), (row.Kind, row.Reason));
        Assert.Null(row.Session);
    }
}
