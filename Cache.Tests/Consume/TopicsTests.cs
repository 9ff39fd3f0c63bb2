using System.Diagnostics.Metrics;
using Cache.Service.Consume;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Consume;

/// <summary>How the service interprets Kafka's answers before it subscribes.</summary>
public sealed class TopicsTests : IDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly FakeLookups _kafka = new();
    private readonly LogCapture _log = new();
    private readonly ServiceProvider _services = new ServiceCollection().AddMetrics().BuildServiceProvider();
    private readonly LoggerFactory _loggers;
    private readonly KafkaErrors _errors;
    private readonly StartPositions _positions;
    private readonly Topics _topics;
    private readonly DateTimeOffset _start;

    public TopicsTests()
    {
        var options = new CacheOptions { KafkaBootstrapServers = "kafka:9092" };
        _start = _time.GetUtcNow();
        _loggers = new([_log]);
        _errors = new(_time, NullLogger<KafkaErrors>.Instance);
        _positions = new(_kafka, options, Rebalance.Block, _time, NullLogger<StartPositions>.Instance);
        _topics = new(_kafka, _positions, options, new ConsumeMetrics(_services.GetRequiredService<IMeterFactory>(), new Assignment(), _time), _errors, _time, _loggers.CreateLogger<Topics>());
    }

    public void Dispose()
    {
        _loggers.Dispose();
        _services.Dispose();
    }

    [Fact]
    public async Task TopicsOfAPattern_ThatExist_AreKnown_AndAllOthersAreNew()
    {
        var (topics, positions) = With("^shop\\..*$");
        _kafka.Matching["^shop\\..*$"] = [new("shop.a", 2, ErrorCode.NoError)];

        await topics.FindAsync(TestContext.Current.CancellationToken);

        Assert.Equal("partitions are being assigned", topics.WaitsFor);
        var starts = await positions.FindAsync([new("shop.a", 1), new("shop.a", 2), new("shop.b", 0)]);
        Assert.Equal([9, 3, 3], starts.Select(start => start.Start.Offset.Value));
    }

    [Fact]
    public async Task PatternThatMatchesNothing_IsSaidOnce_UntilSomethingDoes()
    {
        var (topics, _) = With("^shop\\..*$");
        _kafka.Matching["^shop\\..*$"] = [];
        var finding = topics.FindAsync(TestContext.Current.CancellationToken);
        await Eventually.HoldsAsync(() =>
        {
            _time.Advance(TimeSpan.FromSeconds(1));
            Assert.True(finding.IsCompleted);
        });
        await finding;

        Assert.Contains(@"no topic matches ^shop\..*$ yet", topics.WaitsFor, StringComparison.Ordinal);
        topics.NoteRead("other");
        Assert.Contains("no topic matches", topics.WaitsFor, StringComparison.Ordinal);
        topics.NoteRead("shop.a");
        Assert.Equal("partitions are being assigned", topics.WaitsFor);
    }

    [Fact]
    public void RowsOfATopicWithoutAType_AreCounted_AndSaidOncePerTopic()
    {
        _topics.NoteWithoutType("orders");
        _topics.NoteWithoutType("orders");
        _topics.NoteWithoutType("bills");

        Assert.Equal(2, _log.Lines.Count(line => line.Contains("are skipped", StringComparison.Ordinal)));
        Assert.Single(_log.Lines, line => line.Contains("Rows of the topic orders are skipped: the metric types that have it are none", StringComparison.Ordinal));
    }

    private (Topics Topics, StartPositions Positions) With(string pattern)
    {
        var type = DrawnTypes.Draw(new Random(1), 0);
        var options = new CacheOptions { KafkaBootstrapServers = "kafka:9092", MetricTypes = [type], Topics = [pattern] };
        var positions = new StartPositions(_kafka, options, Rebalance.Block, _time, NullLogger<StartPositions>.Instance);
        return (new(_kafka, positions, options, new ConsumeMetrics(_services.GetRequiredService<IMeterFactory>(), new Assignment(), _time), _errors, _time, _loggers.CreateLogger<Topics>()), positions);
    }

    [Fact]
    public async Task TopicsThatAreThere_AreAskedForOnce()
    {
        await _topics.FindAsync(TestContext.Current.CancellationToken);

        Assert.Equal(["topics event_metrics performance_metrics"], _kafka.Asked);
        Assert.Equal("partitions are being assigned", _topics.WaitsFor);
        Assert.Empty(_log.Lines);
        Assert.Equal("end event_metrics/0", await HowItStartsAsync(Rows.Events));
    }

    [Fact]
    public async Task TopicThatABootingBrokerDoesNotKnowYet_IsNotMissing()
    {
        Say(Rows.Events, ErrorCode.UnknownTopicOrPart);
        var finding = _topics.FindAsync(TestContext.Current.CancellationToken);
        await PassAsync(TimeSpan.FromSeconds(3));
        Assert.False(finding.IsCompleted);
        Assert.Contains("event_metrics", _topics.WaitsFor, StringComparison.Ordinal);

        _kafka.Topics.Clear();
        await PassAsync(TimeSpan.FromSeconds(1));
        await finding;

        // Rows older than the start are skipped; those of a topic created just now are not.
        Assert.Empty(_log.Lines);
        Assert.Equal("partitions are being assigned", _topics.WaitsFor);
        Assert.Equal($"since {_start.ToUnixTimeMilliseconds()} event_metrics/0", await HowItStartsAsync(Rows.Events));
        Assert.Equal("end performance_metrics/0", await HowItStartsAsync(Rows.Performance));
    }

    [Fact]
    public async Task TopicThatNeverAppears_IsMissing_AndReadFromItsBeginningOnceItDoes()
    {
        Say(Rows.Events, ErrorCode.UnknownTopicOrPart);
        var finding = _topics.FindAsync(TestContext.Current.CancellationToken);
        await PassAsync(TimeSpan.FromSeconds(6));
        await finding;

        Assert.Contains("The topic event_metrics does not exist yet", Assert.Single(_log.Lines), StringComparison.Ordinal);
        Assert.Equal("partitions are being assigned; the topic event_metrics does not exist yet", _topics.WaitsFor);
        Assert.Equal("oldest event_metrics/0", await HowItStartsAsync(Rows.Events));

        _topics.NoteRead(Rows.Events);
        Assert.Equal("partitions are being assigned", _topics.WaitsFor);
    }

    [Fact]
    public async Task BrokerThatGoesInBetween_IsGivenTimeAgain()
    {
        Say(Rows.Events, ErrorCode.UnknownTopicOrPart);
        var finding = _topics.FindAsync(TestContext.Current.CancellationToken);
        await PassAsync(TimeSpan.FromSeconds(4));
        _kafka.Failures = 1;
        await PassAsync(TimeSpan.FromSeconds(4));
        Assert.False(finding.IsCompleted);
        await PassAsync(TimeSpan.FromSeconds(3));
        await finding;
    }

    [Fact]
    public async Task TopicThatTheUserMayNotRead_IsNamedAtOnce_WithTheMissingAcl()
    {
        Say(Rows.Events, ErrorCode.TopicAuthorizationFailed);
        await _topics.FindAsync(TestContext.Current.CancellationToken);

        Assert.Contains("Kafka refuses the topic event_metrics: the client's user needs the ACL Read and Describe on it", Assert.Single(_log.Lines), StringComparison.Ordinal);
        Assert.DoesNotContain("does not exist", _log.ToString(), StringComparison.Ordinal);
        Assert.Contains("Kafka refuses the topic event_metrics", _topics.WaitsFor, StringComparison.Ordinal);

        // It may have existed all along.
        Assert.Equal($"since {_start.ToUnixTimeMilliseconds()} event_metrics/0", await HowItStartsAsync(Rows.Events));
    }

    [Fact]
    public async Task TopicsThatAreAllMissing_AreAllThereIsToWaitFor()
    {
        Say(Rows.Events, ErrorCode.TopicAuthorizationFailed);
        Say(Rows.Performance, ErrorCode.UnknownTopicOrPart);
        var finding = _topics.FindAsync(TestContext.Current.CancellationToken);
        await PassAsync(TimeSpan.FromSeconds(6));
        await finding;

        Assert.Equal(
            "Kafka refuses the topic event_metrics: the client's user needs the ACL Read and Describe on it; the topic performance_metrics does not exist yet",
            _topics.WaitsFor);
    }

    [Fact]
    public async Task OtherError_ThatLasts_IsLogged_AndHoldsUpNoOther()
    {
        Say(Rows.Events, ErrorCode.LeaderNotAvailable);
        var finding = _topics.FindAsync(TestContext.Current.CancellationToken);
        await PassAsync(TimeSpan.FromSeconds(6));
        await finding;
        Assert.Contains("Kafka does not report on the topic event_metrics (Broker: Leader not available)", Assert.Single(_log.Lines), StringComparison.Ordinal);
        Assert.StartsWith("since", await HowItStartsAsync(Rows.Events), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(ErrorCode.Local_Authentication, "SASL authentication error: wrong password", "Kafka:sasl.password")]
    [InlineData(ErrorCode.Local_Ssl, "SSL handshake failed: certificate verify failed", "Kafka:ssl.ca.location")]
    [InlineData(ErrorCode.Local_Transport, "Disconnected: verify that security.protocol is correctly configured", "Kafka:security.protocol")]
    [InlineData(ErrorCode.Local_Transport, "Connect failed: Connection refused", "kafka_bootstrap_servers")]
    public async Task KafkaThatDoesNotAnswer_IsAwaited_AndTheLogSaysWhyAndWhatToCheck(ErrorCode code, string reason, string advice)
    {
        _kafka.Failures = 2;
        Assert.Equal("Kafka at kafka:9092 does not answer yet", _topics.WaitsFor);
        _errors.Note(new Error(code, reason));
        var finding = _topics.FindAsync(TestContext.Current.CancellationToken);

        Assert.Equal($"Kafka at kafka:9092 does not answer yet: {reason}", _topics.WaitsFor);
        await PassAsync(TimeSpan.FromSeconds(2));
        await finding;

        var line = Assert.Single(_log.Lines);
        Assert.Contains($"Waiting for Kafka at kafka:9092: {reason}.", line, StringComparison.Ordinal);
        Assert.Contains(advice, line, StringComparison.Ordinal);
        Assert.Equal("partitions are being assigned", _topics.WaitsFor);
    }

    [Fact]
    public async Task KafkaThatDoesNotAnswerForLong_IsLoggedEverMoreSeldom()
    {
        _kafka.Failures = int.MaxValue;
        using var stop = new CancellationTokenSource();
        var finding = _topics.FindAsync(stop.Token);

        await PassAsync(TimeSpan.FromSeconds(60));

        // At once, and after about 5, 15 and 35 s; it has asked some fifteen times.
        Assert.Equal(4, _log.Lines.Count);
        Assert.All(_log.Lines.Skip(1), line => Assert.Matches(@" \([0-9]+ s so far\)", line));
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => finding);
    }

    [Fact]
    public async Task Stop_EndsTheWait()
    {
        _kafka.Gate = new TaskCompletionSource().Task;
        using var stop = new CancellationTokenSource();
        var finding = _topics.FindAsync(stop.Token);
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => finding);
    }

    private void Say(string topic, ErrorCode error) => _kafka.Topics[topic] = new(topic, 0, error);

    private async Task PassAsync(TimeSpan time)
    {
        for (var passed = TimeSpan.Zero; passed < time; passed += TimeSpan.FromMilliseconds(100))
        {
            _time.Advance(TimeSpan.FromMilliseconds(100));

            // Continuations that waited for the clock run on other threads.
            await Task.Delay(5, TestContext.Current.CancellationToken);
        }
    }

    /// <summary>The lookup that decides the start of a partition without a committed offset.</summary>
    private async Task<string> HowItStartsAsync(string topic)
    {
        await _positions.FindAsync([new(topic, 0)]);
        return _kafka.Asked.Last(question => !question.StartsWith("timestamps", StringComparison.Ordinal));
    }
}
