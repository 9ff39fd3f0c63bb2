using System.Text;
using Cache.Embedded;
using Cache.Service;
using Cache.Service.Decode;
using Cache.Service.Flush;
using Cache.Service.Persist;
using Cache.Service.Telemetry;
using Cache.Tests.EndToEnd;
using Cache.Tests.Simulation;
using Confluent.Kafka;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Persist;

/// <summary>What is sent, and sent again, by itself: on a producer that does as a test wants it to.</summary>
public sealed class DeadLetterProducerTests : IDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly LogCapture _log = new();
    private readonly List<Message<byte[]?, byte[]?>> _sent = [];
    private readonly Queue<ErrorCode> _answers = [];
    private readonly List<IDisposable> _owned = [];

    [Fact]
    public async Task Letters_ThatAreAcknowledged_AreTakenOffTheList_AndCounted()
    {
        var (letters, metrics) = Make();
        List<DeadLetter> list = [Letter(1), Letter(2, RejectReason.TooLarge), Letter(3)];

        await letters.SendAsync(list);

        Assert.Empty(list);
        Assert.Equal([1, 2, 3], Offsets());
        Assert.Equal(new() { [RejectReason.NotJson] = 2, [RejectReason.TooLarge] = 1 }, new Dictionary<RejectReason, long>(metrics.DeadLetterCounts));
    }

    [Fact]
    public async Task Letters_ThatAreNotAcknowledged_StayOnTheList_AndAreNotCountedYet()
    {
        var (letters, metrics) = Make();
        List<DeadLetter> list = [Letter(1), Letter(2), Letter(3), Letter(4)];
        Answer(ErrorCode.NoError, ErrorCode.Local_MsgTimedOut, ErrorCode.NoError, ErrorCode.TopicAuthorizationFailed);

        // The first failure is the one that is told.
        var failure = await Assert.ThrowsAsync<ProduceException<byte[]?, byte[]?>>(() => letters.SendAsync(list));

        Assert.Equal(ErrorCode.Local_MsgTimedOut, failure.Error.Code);
        Assert.Equal([2, 4], list.Select(letter => letter.Offset));
        Assert.Equal(2, metrics.DeadLetterCounts[RejectReason.NotJson]);

        _sent.Clear();
        await letters.SendAsync(list);
        Assert.Equal([2, 4], Offsets());
        Assert.Empty(list);
        Assert.Equal(4, metrics.DeadLetterCounts[RejectReason.NotJson]);
    }

    [Fact]
    public async Task LetterThatIsTooLarge_IsSentWithoutItsValue_AndTellsItsLength()
    {
        var (letters, _) = Make();
        Answer(ErrorCode.MsgSizeTooLarge);

        await letters.SendAsync([Letter(7)]);

        var message = Assert.Single(_sent);
        Assert.Null(message.Value);
        Assert.Equal("key"u8.ToArray(), message.Key);
        Assert.Equal(("7", "3"), (Header(message, DeadLetters.OffsetHeader), Header(message, DeadLetters.OmittedHeader)));
    }

    [Fact]
    public async Task Letter_TellsItsOrigin_BehindTheHeadersItCameWith()
    {
        var (letters, _) = Make();

        await letters.SendAsync([Letter(7)]);

        var message = Assert.Single(_sent);
        Assert.Equal("bad"u8.ToArray(), message.Value);
        Assert.Equal(
            [("mine", "1"), ("cache.reason", "not_json"), ("cache.topic", "event_metrics"), ("cache.partition", "3"), ("cache.offset", "7"), ("cache.timestamp", "500")],
            message.Headers.Select(header => (header.Key, Encoding.UTF8.GetString(header.GetValueBytes()))));
    }

    [Fact]
    public async Task WithoutLetters_OrWithoutATopic_NoProducerIsAskedFor()
    {
        var (letters, metrics) = Make(topic: "", hasProducer: false);
        List<DeadLetter> list = [Letter(1), Letter(2)];

        await letters.SendAsync(list);
        await Make(hasProducer: false).Letters.SendAsync([]);

        Assert.Empty(list);
        Assert.Equal(2, metrics.DeadLetterCounts[RejectReason.NotJson]);
        Assert.Contains("it went to nowhere", Assert.Single(_log.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Flood_OfOneReason_IsLoggedOnceInTenSeconds()
    {
        var (letters, _) = Make();
        for (var seconds = 0; seconds < 20; seconds++)
        {
            await letters.SendAsync([Letter(seconds), Letter(seconds)]);
            Assert.Equal(seconds < 10 ? 1 : 2, _log.Lines.Count);
            _time.Advance(TimeSpan.FromSeconds(1));
        }

        await letters.SendAsync([Letter(1, RejectReason.TooLarge)]);
        Assert.Contains("Row rejected (too_large) at event_metrics/3 offset 1; it went to cache_dead_letters", _log.Lines.Last(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task TopicThatCannotBeMade_IsTold_AndIsNotAskedForAgain()
    {
        await using var broker = await EmbeddedKafka.StartAsync(brokers: 1);
        broker.CreateTopic("cache_dead_letters", partitions: 1);
        broker.SetTopicError("cache_dead_letters", ErrorCode.UnknownTopicOrPart);
        using var producer = new ProducerBuilder<byte[]?, byte[]?>(new ProducerConfig { BootstrapServers = broker.BootstrapServers, MessageTimeoutMs = 500 })
            .SetKeySerializer(Serializers.ByteArray!).SetValueSerializer(Serializers.ByteArray!).SetLogHandler((_, _) => { }).SetErrorHandler((_, _) => { }).Build();
        var (letters, _) = Make(client: producer);
        List<DeadLetter> list = [Letter(1)];

        for (var attempts = 0; attempts < 2; attempts++)
        {
            await Assert.ThrowsAsync<ProduceException<byte[]?, byte[]?>>(() => letters.SendAsync(list));
            Assert.Contains("could not be created", Assert.Single(_log.Lines), StringComparison.Ordinal);
            Assert.Single(list);
        }
    }

    public void Dispose() => _owned.ForEach(owned => owned.Dispose());

    private (DeadLetters Letters, CacheMetrics Metrics) Make(string topic = "cache_dead_letters", bool hasProducer = true, IProducer<byte[]?, byte[]?>? client = null)
    {
        var options = new CacheOptions { DeadLetterTopic = topic };
        var services = new ServiceCollection().AddMetrics().AddSingleton<TimeProvider>(_time).AddSingleton(options)
            .AddSingleton<Service.Consume.Assignment>().AddSingleton<Service.Enqueue.RowQueue>().AddSingleton<CacheMetrics>();
        if (hasProducer)
        {
            services.AddSingleton(client ?? Proxy.Of<IProducer<byte[]?, byte[]?>>(OnProducer));
        }

        var provider = services.BuildServiceProvider();
        var loggers = new LoggerFactory([_log]);
        _owned.AddRange([provider, loggers]);
        var metrics = provider.GetRequiredService<CacheMetrics>();
        var logger = loggers.CreateLogger<DeadLetters>();
        return (client is null ? new OnAProducer(provider, options, metrics, _time, logger) : new DeadLetters(provider, options, metrics, _time, logger), metrics);
    }

    private object OnProducer(string method, object?[] arguments)
    {
        Assert.Equal((nameof(IProducer<,>.ProduceAsync), "cache_dead_letters"), (method, arguments[0]));
        var message = (Message<byte[]?, byte[]?>)arguments[1]!;
        if (_answers.TryDequeue(out var error) && error != ErrorCode.NoError)
        {
            return Task.FromException<DeliveryResult<byte[]?, byte[]?>>(new ProduceException<byte[]?, byte[]?>(new Error(error), null));
        }

        _sent.Add(message);
        return Task.FromResult(new DeliveryResult<byte[]?, byte[]?>());
    }

    private void Answer(params ErrorCode[] answers) => Array.ForEach(answers, _answers.Enqueue);

    private IEnumerable<int> Offsets() =>
        _sent.Select(message => int.Parse(Header(message, DeadLetters.OffsetHeader), System.Globalization.CultureInfo.InvariantCulture));

    private static string Header(Message<byte[]?, byte[]?> message, string name) => Encoding.UTF8.GetString(message.Headers.GetLastBytes(name));

    private static DeadLetter Letter(long offset, RejectReason reason = RejectReason.NotJson) => new(
        TestRows.Partition(3), offset, 500, reason, new("key"u8.ToArray(), "bad"u8.ToArray(), [new Header("mine", "1"u8.ToArray())]));

    /// <summary>The topic is there.</summary>
    private sealed class OnAProducer(IServiceProvider services, CacheOptions options, CacheMetrics metrics, TimeProvider time, ILogger<DeadLetters> logger)
        : DeadLetters(services, options, metrics, time, logger)
    {
        protected override Task EnsureTopicAsync(IProducer<byte[]?, byte[]?> producer) => Task.CompletedTask;
    }
}
