using Cache.Service.Consume;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

public sealed class KafkaErrorsTests : IDisposable
{
    private static readonly Error BrokersDown = new(ErrorCode.Local_AllBrokersDown, "all brokers are down");
    private static readonly Error Refused = new(ErrorCode.Local_Transport, "connection refused");

    private readonly FakeTimeProvider _time = new();
    private readonly LogCapture _log = new();
    private readonly LoggerFactory _loggers;
    private readonly KafkaErrors _errors;

    public KafkaErrorsTests()
    {
        _loggers = new([_log]);
        _errors = new(_time, _loggers.CreateLogger<KafkaErrors>());
    }

    [Fact]
    public void Cause_IsWhatWasReportedLast_ButNotThatAllBrokersAreDown()
    {
        Assert.Null(_errors.Cause);
        _errors.Note(BrokersDown);
        Assert.Null(_errors.Cause);
        _errors.Note(Refused);
        _errors.Note(BrokersDown);
        Assert.Equal("connection refused", _errors.Cause?.Reason);
    }

    [Fact]
    public void Flood_OfOneKind_IsLoggedEverMoreSeldom_AndAtOnceWhenItComesBack()
    {
        var loggedAt = new List<int>();
        for (var seconds = 0; seconds <= 1200; seconds++)
        {
            var before = _log.Lines.Count;
            _errors.Note(BrokersDown);
            if (_log.Lines.Count > before)
            {
                loggedAt.Add(seconds);
            }

            _time.Advance(TimeSpan.FromSeconds(1));
        }

        Assert.Equal([0, 30, 90, 210, 450, 750, 1050], loggedAt);
        Assert.All(_log.Lines, line => Assert.Contains("all brokers are down", line, StringComparison.Ordinal));

        // It was over for more than a minute.
        _time.Advance(TimeSpan.FromSeconds(61));
        _errors.Note(BrokersDown);
        Assert.Equal(loggedAt.Count + 1, _log.Lines.Count);
        _time.Advance(TimeSpan.FromSeconds(30));
        _errors.Note(BrokersDown);
        Assert.Equal(loggedAt.Count + 2, _log.Lines.Count);
    }

    [Fact]
    public void EachKind_IsLogged()
    {
        _errors.Note(BrokersDown);
        _errors.Note(Refused);
        Assert.Equal(2, _log.Lines.Count);
    }

    public void Dispose() => _loggers.Dispose();
}
