using System.Globalization;
using System.Text;
using Cache.Embedded;
using Cache.Service.Persist;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using StackExchange.Redis;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Persist;

public sealed class DeadLetterTests
{
    [Fact]
    public async Task RejectedRow_KeepsItsBytesAndHeaders_AndHasItsOrigin()
    {
        await using var stack = await InProcessStack.StartAsync();
        byte[] key = [0xFF, 0x00, 0x01];
        byte[] value = [0xC3, 0x28, 0x00];
        var bad = new Message<byte[]?, byte[]?>
        {
            Key = key,
            Value = value,
            Timestamp = new Timestamp(1_735_689_600_123, TimestampType.CreateTime),
            Headers = [new Header("traceparent", "00-aa"u8.ToArray()), new Header("twice", [1]), new Header("twice", [2]), new Header("none", null)],
        };

        await stack.Kafka.SendAsync(Events, 1, [Message(Event(Window(0), "a", 1)), bad, Message("[]"), Message(Event(Window(1), "a", 1))]);
        await stack.EverythingIsCommittedAsync();

        var letters = stack.Kafka.ReadAll(stack.DeadLetterTopic);
        Assert.Equal(2, letters.Count);
        var letter = letters[0].Message;
        Assert.Equal(key, letter.Key);
        Assert.Equal(value, letter.Value);
        Assert.Equal(
            [
                ("traceparent", "00-aa"), ("twice", "\u0001"), ("twice", "\u0002"), ("none", null), (DeadLetters.ReasonHeader, "not_json"),
                (DeadLetters.TopicHeader, Events), (DeadLetters.PartitionHeader, "1"), (DeadLetters.OffsetHeader, "1"),
                (DeadLetters.TimestampHeader, "1735689600123"),
            ],
            letter.Headers.Select(header => (header.Key, header.GetValueBytes() is { } bytes ? Encoding.UTF8.GetString(bytes) : null)));
        Assert.Null(letters[1].Message.Key);
        Assert.Equal("[]"u8.ToArray(), letters[1].Message.Value);
        Assert.Equal("not_an_object", KafkaSide.Header(letters[1], DeadLetters.ReasonHeader));
        Assert.Equal("2", KafkaSide.Header(letters[1], DeadLetters.OffsetHeader));
        await stack.AnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(1)}},"a.count":1}""");
    }

    [Fact]
    public async Task DeadLetters_WhenTheBrokerRefusesThem_AreSentAgain_AndNothingIsCommittedMeanwhile()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 20).SelectMany(n => new[] { Event(Window(n), "a", n), $"bad {n}" }));
        await stack.Kafka.SendAsync(Events, 0, Event(Window(20), "a", 20));

        stack.Broker.PushRequestErrors(KafkaRequest.Produce, [.. Enumerable.Repeat(ErrorCode.TopicAuthorizationFailed, 10_000)]);
        await stack.StartServiceAsync();
        await Eventually.HoldsAsync(() => Assert.Contains(stack.Service.Log, line => line.Contains("The dead-letter topic refuses a batch", StringComparison.Ordinal)));

        // The first rejected row has offset 1.
        await Eventually.KeepsHoldingAsync(
            () => Task.Run(() => Assert.InRange(stack.Kafka.Committed(Events)[0], -1001, 1)), TimeSpan.FromSeconds(1));

        stack.Broker.ClearRequestErrors(KafkaRequest.Produce);
        await stack.EverythingIsCommittedAsync();
        await stack.AssertWindowsAsync(21);
        Assert.Equal(
            Enumerable.Range(0, 20).Select(n => $"bad {n}").Order(),
            stack.Kafka.ReadAll(stack.DeadLetterTopic).Select(letter => Encoding.UTF8.GetString(letter.Message.Value!)).Distinct().Order());
    }

    [Fact]
    public async Task DeadLetter_TooLargeForItsTopic_IsSentWithoutItsValue()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        await stack.Kafka.SendAsync(Events, 0, "bad", Event(Window(0), "a", 0));

        // First together with others, then alone.
        stack.Broker.PushRequestErrors(KafkaRequest.Produce, ErrorCode.MsgSizeTooLarge, ErrorCode.MsgSizeTooLarge);
        await stack.StartServiceAsync();
        await stack.EverythingIsCommittedAsync();

        var letter = Assert.Single(stack.Kafka.ReadAll(stack.DeadLetterTopic));
        Assert.Null(letter.Message.Value);
        Assert.Equal("3", KafkaSide.Header(letter, DeadLetters.OmittedHeader));
        Assert.Equal("0", KafkaSide.Header(letter, DeadLetters.OffsetHeader));
    }

    [Fact]
    public async Task DeadLetter_TooLargeEvenWithoutItsValue_IsSentWithoutItsHeadersToo_AndHoldsUpNoOther()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("Kafka:message.max.bytes", "300000"), ("window_retention_count", "1000"));
        var bad = new Message<byte[]?, byte[]?> { Value = "x"u8.ToArray(), Headers = [new Header("large", new byte[299_900])] };

        await stack.Kafka.SendAsync(Events, 0, [bad, .. Enumerable.Range(0, 500).Select(n => Message(Event(Window(n), "a", n)))]);
        await stack.EverythingIsCommittedAsync();

        await stack.AssertWindowsAsync(500);
        var letter = Assert.Single(stack.Kafka.ReadAll(stack.DeadLetterTopic));
        Assert.Null(letter.Message.Value);
        Assert.Equal(("1", "299905"), (KafkaSide.Header(letter, DeadLetters.OmittedHeader), KafkaSide.Header(letter, DeadLetters.OmittedHeadersHeader)));
        Assert.Equal(("not_json", "0"), (KafkaSide.Header(letter, DeadLetters.ReasonHeader), KafkaSide.Header(letter, DeadLetters.OffsetHeader)));
    }

    [Fact]
    public async Task ProducerWithoutPermissionForIdempotentWrites_IsNotReady_UntilItIsGranted()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 0), "bad", Event(Window(1), "a", 1));
        stack.Broker.PushRequestErrors(KafkaRequest.InitProducerId, [.. Enumerable.Repeat(ErrorCode.ClusterAuthorizationFailed, 10_000)]);
        await stack.StartServiceAsync();
        await Eventually.HoldsAsync(async () =>
        {
            var (status, body, _) = await stack.AskAsync("/readyz");
            Assert.Equal(System.Net.HttpStatusCode.ServiceUnavailable, status);
            Assert.Contains("The dead-letter topic has not accepted a batch", body, StringComparison.Ordinal);
            Assert.Contains("authorization failed", body, StringComparison.OrdinalIgnoreCase);
        });

        stack.Broker.ClearRequestErrors(KafkaRequest.InitProducerId);
        await stack.EverythingIsCommittedAsync();
        await stack.AssertWindowsAsync(2);
        await stack.EventuallyAnswersAsync("/readyz", """{"status":"ready"}""");
    }

    [Fact]
    public async Task EmptyDeadLetterTopic_OnlyLogsAndCounts()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("cache_dead_letter_topic", ""));

        await stack.Kafka.SendAsync(Events, 0, "bad", Event(Window(0), "a", 0), "bad");
        await stack.EverythingIsCommittedAsync();

        Assert.Contains(stack.Service.Log, line => line.Contains("Row rejected (not_json) at event_metrics/0 offset 0; dead-letter topic: none", StringComparison.Ordinal));
        await stack.AssertWindowsAsync(1);
    }

    [Fact]
    public async Task ValueOverOneMebibyte_IsADeadLetter_WithAllItsBytes()
    {
        await using var stack = await InProcessStack.StartAsync();
        var large = $$"""{"window_start":{{Window(0)}},"event_type":"a","event_count":1,"padding":"{{new string('x', 2 * 1024 * 1024)}}"}""";

        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 0), large, Event(Window(1), "a", 1));
        await stack.EverythingIsCommittedAsync();

        var letter = Assert.Single(stack.Kafka.ReadAll(stack.DeadLetterTopic));
        Assert.Equal(Encoding.UTF8.GetBytes(large), letter.Message.Value);
        Assert.Equal("too_large", KafkaSide.Header(letter, DeadLetters.ReasonHeader));
        await stack.AssertWindowsAsync(2);
    }

    [Fact]
    public async Task KeyOfAnotherType_SendsAllRowsOfItsWindowToTheDeadLetters_AndHoldsUpNoOther()
    {
        await using var redis = await RedisServer.StartAsync("s3cret");
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString);
        await stack.Database.StringSetAsync($"metrics:event:{Window(1)}", "somebody else's");
        string[] rows =
        [
            Event(Window(0), "a", 0), Event(Window(1), "a", 1), Event(Window(2), "a", 7), Event(Window(1), "a", 2, 2), "bad",
            Event(Window(1), "b", users: 3), Event(Window(2), "a", 2),
        ];
        await stack.Kafka.SendAsync(Events, 0, rows.Select((row, n) => Message(row, $"key {n}")));

        await stack.StartServiceAsync();
        await stack.EverythingIsCommittedAsync();

        var letters = stack.Kafka.ReadAll(stack.DeadLetterTopic)
            .Select(letter => (
                Offset: int.Parse(KafkaSide.Header(letter, DeadLetters.OffsetHeader)!, CultureInfo.InvariantCulture),
                Reason: KafkaSide.Header(letter, DeadLetters.ReasonHeader),
                Key: Encoding.UTF8.GetString(letter.Message.Key!),
                Value: Encoding.UTF8.GetString(letter.Message.Value!)))
            .Order().ToList();
        Assert.Equal(
            [
                (1, "wrong_key_type", "key 1", rows[1]), (3, "wrong_key_type", "key 3", rows[3]), (4, "not_json", "key 4", rows[4]),
                (5, "wrong_key_type", "key 5", rows[5]),
            ],
            letters);
        await stack.AnswersAsync(
            "/metrics/event/windows",
            $$"""{"windows":[{"window_start":{{Window(2)}},"a.count":2},{"window_start":{{Window(0)}},"a.count":0}]}""");
        Assert.Equal("somebody else's", await stack.Database.StringGetAsync($"metrics:event:{Window(1)}"));
        Assert.Null(await stack.Database.SortedSetScoreAsync("metrics:event:windows", Window(1)));
    }

    [Fact]
    public async Task IndexOfAnotherType_SendsTheRowsOfThatKindToTheDeadLetters_AndHoldsUpNoOther()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString);
        await stack.Database.HashSetAsync("metrics:event:windows", [new HashEntry("not", "an index")]);

        await stack.StartServiceAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(0), "a", 0));
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(0), "tv", 0.5));
        await stack.EverythingIsCommittedAsync();

        Assert.Equal("wrong_key_type", KafkaSide.Header(Assert.Single(stack.Kafka.ReadAll(stack.DeadLetterTopic)), DeadLetters.ReasonHeader));
        await stack.AnswersAsync("/metrics/performance/latest", $$"""{"window_start":{{Window(0)}},"tv.avg_load_time":0.5}""");
    }
}
