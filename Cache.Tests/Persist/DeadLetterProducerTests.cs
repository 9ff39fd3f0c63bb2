using System.Text;
using Cache.Embedded;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Persist;
using Cache.Tests.EndToEnd;
using Cache.Tests.Simulation;
using Confluent.Kafka;
using Confluent.Kafka.Admin;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Time.Testing;

namespace Cache.Tests.Persist;

/// <summary>Sending and resending dead letters, with a producer that the test controls.</summary>
public sealed class DeadLetterProducerTests : IDisposable
{
    private readonly FakeTimeProvider _time = new();
    private readonly LogCapture _log = new();
    private readonly List<Message<byte[]?, byte[]?>> _sent = [];
    private readonly Queue<ErrorCode> _answers = [];
    private readonly List<IDisposable> _owned = [];
    private Action<Error>? _note;
    private Error? _dies;
    private int _made;

    [Fact]
    public async Task AcknowledgedLetters_AreRemovedFromTheList_AndCounted()
    {
        var (letters, metrics) = Make();
        List<DeadLetter> list = [Letter(1), Letter(2, RejectReason.TooLarge), Letter(3)];

        await letters.SendAsync(list);

        Assert.Empty(list);
        Assert.Equal([1, 2, 3], Offsets());
        Assert.Equal(new() { [RejectReason.NotJson] = 2, [RejectReason.TooLarge] = 1 }, new Dictionary<RejectReason, long>(metrics.DeadLetterCounts));
    }

    [Fact]
    public async Task UnacknowledgedLetters_StayOnTheList_AndAreNotCountedYet()
    {
        var (letters, metrics) = Make();
        List<DeadLetter> list = [Letter(1), Letter(2), Letter(3), Letter(4)];
        Answer(ErrorCode.NoError, ErrorCode.Local_MsgTimedOut, ErrorCode.NoError, ErrorCode.TopicAuthorizationFailed);

        // The first failure is the one thrown.
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
    public async Task TooLargeLetter_IsSentWithoutItsValue_WithTheLengthInAHeader()
    {
        var (letters, metrics) = Make();
        Answer(ErrorCode.MsgSizeTooLarge, ErrorCode.MsgSizeTooLarge);

        await letters.SendAsync([Letter(7)]);

        Assert.Equal(1, metrics.DeadLetterCounts[RejectReason.NotJson]);
        var message = Assert.Single(_sent);
        Assert.Null(message.Value);
        Assert.Equal("key"u8.ToArray(), message.Key);
        Assert.Equal(("7", "3"), (Header(message, DeadLetters.OffsetHeader), Header(message, DeadLetters.OmittedHeader)));
    }

    [Fact]
    public async Task LetterRefusedTogetherWithOthers_IsSentAlone_Unchanged()
    {
        var (letters, _) = Make();
        Answer(ErrorCode.MsgSizeTooLarge, ErrorCode.MsgSizeTooLarge);

        await letters.SendAsync([Letter(7), Letter(8)]);

        Assert.Equal([7, 8], Offsets());
        Assert.All(_sent, message => Assert.Equal("bad"u8.ToArray(), message.Value));
    }

    [Fact]
    public async Task LetterRefusedTogetherWithOthers_ThatFailsAlone_IsLeftForTheNextAttempt()
    {
        var (letters, metrics) = Make();
        List<DeadLetter> list = [Letter(7), Letter(8), Letter(9)];
        Answer(ErrorCode.MsgSizeTooLarge, ErrorCode.NoError, ErrorCode.MsgSizeTooLarge, ErrorCode.Local_MsgTimedOut, ErrorCode.NotEnoughReplicas);

        var failure = await Assert.ThrowsAnyAsync<KafkaException>(() => letters.SendAsync(list));

        Assert.Equal(ErrorCode.Local_MsgTimedOut, failure.Error.Code);
        Assert.Equal([7, 9], list.Select(letter => letter.Offset));
        await letters.SendAsync(list);
        Assert.Empty(list);
        Assert.Equal([8, 7, 9], Offsets());
        Assert.Equal(3, metrics.DeadLetterCounts[RejectReason.NotJson]);
    }

    [Fact]
    public async Task TooLargeLetter_OmitsItsValue_ThenItsHeaders_ThenItsKey_WithTheirLengthsInHeaders()
    {
        var (letters, _) = Make();
        Answer([.. Enumerable.Repeat(ErrorCode.MsgSizeTooLarge, 3)]);
        await letters.SendAsync([Letter(7)]);
        Answer([.. Enumerable.Repeat(ErrorCode.MsgSizeTooLarge, 4)]);
        await letters.SendAsync([Letter(8)]);

        Assert.Equal(["key", null], _sent.Select(message => message.Key is { } key ? Encoding.UTF8.GetString(key) : null));
        Assert.All(_sent, message =>
        {
            Assert.Null(message.Value);
            Assert.False(message.Headers.TryGetLastBytes("mine", out _));
            Assert.Equal(("3", "5"), (Header(message, DeadLetters.OmittedHeader), Header(message, DeadLetters.OmittedHeadersHeader)));
        });
        Assert.Equal("3", Header(_sent[1], DeadLetters.OmittedKeyHeader));
    }

    [Theory]
    [InlineData(ErrorCode.MsgSizeTooLarge)]
    [InlineData(ErrorCode.InvalidRecord)]
    public async Task LetterRefusedEvenWithoutItsParts_IsGivenUp_AndCounted_AndHoldsUpNoOther(ErrorCode error)
    {
        var (letters, metrics) = Make();
        List<DeadLetter> list = [Letter(7), Letter(8)];
        Answer(error, ErrorCode.NoError, error, error, error, error);

        await letters.SendAsync(list);

        Assert.Empty(list);
        Assert.Equal([8], Offsets());
        Assert.Equal(2, metrics.DeadLetterCounts[RejectReason.NotJson]);
        Assert.Equal(1, metrics.DeadLettersGivenUp);
        Assert.Contains("Dead letter given up: the row rejected as not_json at event_metrics/3 offset 7", _log.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task ProducerWithAFatalError_IsRecreated_AndThatErrorIsThrown()
    {
        var (letters, _) = Make();
        List<DeadLetter> list = [Letter(7)];
        await letters.SendAsync([Letter(6)]);
        Answer(ErrorCode.Local_PurgeQueue);
        _note!(new Error(ErrorCode.Local_Transport, "it comes back", isFatal: false));
        Assert.Equal(1, _made);
        _dies = new Error(ErrorCode.ClusterAuthorizationFailed, "no right to write idempotently", isFatal: true);

        var failure = await Assert.ThrowsAsync<KafkaException>(() => letters.SendAsync(list));
        Assert.Equal((ErrorCode.ClusterAuthorizationFailed, "no right to write idempotently"), (failure.Error.Code, failure.Error.Reason));
        await letters.SendAsync(list);

        Assert.Empty(list);
        Assert.Equal(2, _made);
        Assert.Equal([6, 7], Offsets());
    }

    [Fact]
    public async Task TopicCreatedByTheBroker_IsUsed()
    {
        var (letters, _) = Make(admin: (method, _) => method switch
        {
            nameof(IAdminClient.GetMetadata) => Metadata(ErrorCode.UnknownTopicOrPart),
            nameof(IAdminClient.CreateTopicsAsync) => Task.FromException(new CreateTopicsException([new() { Topic = "cache_dead_letters", Error = new Error(ErrorCode.TopicAlreadyExists) }])),
            _ => null,
        });

        await letters.SendAsync([Letter(7)]);

        Assert.Equal([7], Offsets());
        Assert.DoesNotContain("could not be created", _log.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task DeletedTopic_IsCreatedAgain()
    {
        var (asked, made) = (0, 0);
        var (letters, _) = Make(admin: (method, _) =>
        {
            asked += method == nameof(IAdminClient.GetMetadata) ? 1 : 0;
            made += method == nameof(IAdminClient.CreateTopicsAsync) ? 1 : 0;
            return method switch
            {
                nameof(IAdminClient.GetMetadata) => Metadata(asked == 1 ? ErrorCode.NoError : ErrorCode.UnknownTopicOrPart),
                nameof(IAdminClient.CreateTopicsAsync) => Task.CompletedTask,
                _ => null,
            };
        });
        await letters.SendAsync([Letter(6)]);
        await letters.SendAsync([Letter(7)]);
        Assert.Equal((1, 0), (asked, made));
        Answer(ErrorCode.Local_MsgTimedOut);
        List<DeadLetter> list = [Letter(8)];

        await Assert.ThrowsAsync<ProduceException<byte[]?, byte[]?>>(() => letters.SendAsync(list));
        await letters.SendAsync(list);

        Assert.Equal((2, 1), (asked, made));
        Assert.Equal([6, 7, 8], Offsets());
    }

    [Fact]
    public async Task Letter_HasItsOrigin_AfterItsOwnHeaders()
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
    public async Task WithoutLetters_OrWithoutATopic_NoProducerIsCreated()
    {
        var (letters, metrics) = Make(topic: "", hasProducer: false);
        List<DeadLetter> list = [Letter(1), Letter(2)];

        await letters.SendAsync(list);
        await Make(hasProducer: false).Letters.SendAsync([]);

        Assert.Empty(list);
        Assert.Equal(2, metrics.DeadLetterCounts[RejectReason.NotJson]);
        Assert.Contains("dead-letter topic: none", Assert.Single(_log.Lines), StringComparison.Ordinal);
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
        Assert.Contains("Row rejected (too_large) at event_metrics/3 offset 1; dead-letter topic: cache_dead_letters", _log.Lines.Last(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task TopicThatCannotBeCreated_IsLoggedOnce_AndRetried()
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
            var failure = await Assert.ThrowsAsync<KafkaException>(() => letters.SendAsync(list));
            Assert.StartsWith("cache_dead_letters does not exist and could not be created: ", failure.Error.Reason, StringComparison.Ordinal);
            Assert.Contains("could not be created", Assert.Single(_log.Lines), StringComparison.Ordinal);
            Assert.Single(list);
        }

        broker.SetTopicError("cache_dead_letters", ErrorCode.NoError);
        await letters.SendAsync(list);
        Assert.Empty(list);
    }

    public void Dispose() => _owned.ForEach(owned => owned.Dispose());

    private (DeadLetters Letters, PersistMetrics Metrics) Make(string topic = "cache_dead_letters", bool hasProducer = true, IProducer<byte[]?, byte[]?>? client = null,
        Func<string, object?[], object?>? admin = null)
    {
        var options = new CacheOptions { DeadLetterTopic = topic };
        var services = new ServiceCollection().AddMetrics().AddSingleton<TimeProvider>(_time).AddSingleton(options).AddPersist();
        var provider = services.BuildServiceProvider();
        var loggers = new LoggerFactory([_log]);
        _owned.AddRange([provider, loggers]);
        var metrics = provider.GetRequiredService<PersistMetrics>();
        var logger = loggers.CreateLogger<DeadLetters>();
        var producer = new DeadLetterProducer(note =>
        {
            (_note, _made) = (note, _made + 1);
            return !hasProducer ? throw new InvalidOperationException("No producer is needed.") : client ?? Proxy.Of<IProducer<byte[]?, byte[]?>>(OnProducer);
        });
        return (client is null ? new OnAProducer(producer, options, metrics, _time, logger, admin) : new DeadLetters(producer, options, metrics, _time, logger), metrics);
    }

    private object? OnProducer(string method, object?[] arguments)
    {
        if (method == nameof(IDisposable.Dispose))
        {
            return null;
        }

        Assert.Equal((nameof(IProducer<,>.ProduceAsync), "cache_dead_letters"), (method, arguments[0]));
        var message = (Message<byte[]?, byte[]?>)arguments[1]!;
        if (_answers.TryDequeue(out var error) && error != ErrorCode.NoError)
        {
            if (_dies is { } dies)
            {
                _dies = null;
                _note!(dies);
            }

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

    private static Metadata Metadata(ErrorCode error) => new([], [new("cache_dead_letters", [], new Error(error))], 0, "");

    /// <summary>The topic exists, unless the admin client says otherwise.</summary>
    private sealed class OnAProducer(
        DeadLetterProducer producer, CacheOptions options, PersistMetrics metrics, TimeProvider time, ILogger<DeadLetters> logger, Func<string, object?[], object?>? admin)
        : DeadLetters(producer, options, metrics, time, logger)
    {
        protected override IAdminClient Admin(IProducer<byte[]?, byte[]?> client) =>
            Proxy.Of<IAdminClient>(admin ?? ((method, _) => method == nameof(IAdminClient.GetMetadata) ? Metadata(ErrorCode.NoError) : null));
    }
}
