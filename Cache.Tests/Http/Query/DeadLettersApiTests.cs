using System.Diagnostics;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Cache.Embedded;
using Cache.Service.Options;
using Cache.Service.Persist;
using Cache.Tests.EndToEnd;
using Cache.Tests.Persist;
using Confluent.Kafka;
using Microsoft.Extensions.Time.Testing;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Http.Query;

public sealed class DeadLettersApiTests
{
    private const string Negative = """{"window_start":1710000000000,"event_type":"a","event_count":-1}""";

    [Fact]
    public async Task Letters_AreListed_NewestFirst_WithReasonOriginAndBytes()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, Events, 1, new Message<byte[]?, byte[]?> { Value = Utf8("not \"json\" \u0007é"), Key = Utf8("k"), Timestamp = new(1_710_000_000_123, TimestampType.CreateTime) });
        var pretending = new Message<byte[]?, byte[]?>
        {
            Value = [0xC3, 0x28],
            Key = [0xFF],

            // A producer cannot pretend another reason or origin.
            Headers = [new Header(DeadLetters.ReasonHeader, Utf8("mine")), new Header(DeadLetters.TopicHeader, Utf8("mine"))],
        };
        await SendAsync(stack, Events, 1, Message(Negative), pretending);

        var answer = await stack.GetAsync("/dead-letters");

        Assert.Equal((stack.DeadLetterTopic, 3, true), (answer.GetProperty("topic").GetString(), answer.GetProperty("scanned").GetInt32(), answer.GetProperty("complete").GetBoolean()));
        var letters = answer.GetProperty("letters").EnumerateArray().ToArray();
        Assert.Equal(3, letters.Length);
        AssertLetter(letters[2], """{"reason":"not_json","topic":"event_metrics","partition":1,"offset":0,"timestamp":1710000000123,"dead_letter":{"partition":0,"offset":0},"key":"k","value":"not \"json\" \u0007é","bytes":14,"truncated":false}""");
        Assert.Equal(("bad_measure", Negative, JsonValueKind.Null), (letters[1].GetProperty("reason").GetString(), letters[1].GetProperty("value").GetString(), letters[1].GetProperty("key").ValueKind));
        Assert.Equal(("not_json", Events), (letters[0].GetProperty("reason").GetString(), letters[0].GetProperty("topic").GetString()));
        Assert.Equal((JsonValueKind.Null, "wyg=", "/w=="), (letters[0].GetProperty("value").ValueKind, letters[0].GetProperty("value_base64").GetString(), letters[0].GetProperty("key_base64").GetString()));
        Assert.InRange(letters[0].GetProperty("rejected").GetInt64(), letters[2].GetProperty("rejected").GetInt64(), TimeProvider.System.GetUtcNow().ToUnixTimeMilliseconds() + 1000);
    }

    [Fact]
    public async Task Letters_CanBeFiltered_ByReasonAndTopic_AndLimited()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, Events, 0, Message(Negative));
        await SendAsync(stack, Performance, 0, Message("[]"));
        await SendAsync(stack, Events, 0, Enumerable.Range(0, 200).Select(number => Message($"bad {number}")));

        Assert.Equal([Negative], Values(await stack.GetAsync("/dead-letters?reason=bad_measure")));
        Assert.Equal(["[]"], Values(await stack.GetAsync("/dead-letters?topic=performance_metrics")));
        Assert.Empty(Values(await stack.GetAsync("/dead-letters?topic=performance_metrics&reason=bad_measure")));
        Assert.Equal(["bad 199", "bad 198"], Values(await stack.GetAsync("/dead-letters?limit=2")));
        var all = await stack.GetAsync("/dead-letters?limit=1000");
        Assert.Equal((202, 202, true), (Values(all).Count, all.GetProperty("scanned").GetInt32(), all.GetProperty("complete").GetBoolean()));
        Assert.Equal(50, Values(await stack.GetAsync("/dead-letters")).Count);
    }

    [Theory]
    [InlineData("limit=0", "limit must be a whole number from 1 to 1000.")]
    [InlineData("limit=1001", "limit must be a whole number from 1 to 1000.")]
    [InlineData("limit=x", "limit must be a whole number from 1 to 1000.")]
    [InlineData("reason=bad_mesure", "reason must be one of too_large, not_json,")]
    [InlineData("reason=none", "reason must be one of too_large, not_json,")]
    [InlineData("format=xml", "format must be json or ndjson.")]
    public async Task BadParameter_Is400_AndNamed(string query, string error)
    {
        await using var stack = await InProcessStack.StartAsync();

        var (status, body, type) = await stack.AskAsync($"/dead-letters?{query}");

        Assert.Equal((HttpStatusCode.BadRequest, "application/problem+json"), (status, type));
        Assert.StartsWith(error, JsonElement.Parse(body).GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Lines_HaveWholeBytes_OldestFirst_AndAreAFile()
    {
        await using var stack = await InProcessStack.StartAsync();
        var large = $$"""{"window_start":1710000000000,"event_type":"a","event_count":-1,"padding":"{{new string('é', 40_000)}}"}""";
        await SendAsync(stack, Events, 1, new Message<byte[]?, byte[]?> { Value = Utf8(large), Key = Utf8("k"), Headers = [new Header("twice", [0xFF]), new Header("twice", null)] }, Message(Negative));

        using var answer = await LinesAsync(stack, "/dead-letters");

        Assert.Equal("application/x-ndjson", answer.Content.Headers.ContentType?.MediaType);
        Assert.Equal(("attachment", "cache_dead_letters.ndjson"), (answer.Content.Headers.ContentDisposition?.DispositionType, answer.Content.Headers.ContentDisposition?.FileName));
        var text = await answer.Content.ReadAsStringAsync();
        Assert.EndsWith("}\n", text, StringComparison.Ordinal);
        var lines = text.TrimEnd('\n').Split('\n').Select(line => JsonElement.Parse(line)).ToArray();
        Assert.Equal([large, Negative], lines.Select(line => line.GetProperty("value").GetString()));
        Assert.Equal(
            ("event_metrics", 1, 0, "bad_measure", "k"),
            (lines[0].GetProperty("topic").GetString(), lines[0].GetProperty("partition").GetInt32(), lines[0].GetProperty("offset").GetInt32(),
                lines[0].GetProperty("reason").GetString(), lines[0].GetProperty("key").GetString()));
        Assert.Equal("""[{"name":"twice","value":null,"value_base64":"/w=="},{"name":"twice","value":null}]""", lines[0].GetProperty("headers").GetRawText());
        Assert.Contains("\\\"event_count\\\":-1", text, StringComparison.Ordinal);

        Assert.Equal(text, (await stack.AskAsync("/dead-letters?format=ndjson")).Body);
        Assert.Equal("application/json", (await LinesAsync(stack, "/dead-letters?format=json")).Content.Headers.ContentType?.MediaType);
        var shown = (await stack.GetAsync("/dead-letters")).GetProperty("letters")[1];
        Assert.Equal((System.Text.Encoding.UTF8.GetByteCount(large), true), (shown.GetProperty("bytes").GetInt32(), shown.GetProperty("truncated").GetBoolean()));
        Assert.InRange(System.Text.Encoding.UTF8.GetByteCount(shown.GetProperty("value").GetString()!), 4090, 4096);
        using var head = await stack.Http.SendAsync(new(HttpMethod.Head, "/dead-letters?format=ndjson"));
        Assert.Equal((HttpStatusCode.OK, "application/x-ndjson"), (head.StatusCode, head.Content.Headers.ContentType?.MediaType));
    }

    [Fact]
    public async Task Lines_WithoutAValueThatIsTooLarge_SaySo()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, Events, 0, new Message<byte[]?, byte[]?> { Value = new byte[3_000_000] });

        using var answer = await LinesAsync(stack, "/dead-letters");

        var line = JsonElement.Parse(await answer.Content.ReadAsStringAsync());
        Assert.Equal((JsonValueKind.Null, 3_000_000, "too_large"), (line.GetProperty("value").ValueKind, line.GetProperty("omitted_bytes").GetInt32(), line.GetProperty("reason").GetString()));
    }

    [Fact]
    public async Task AnyRecordOfTheTopic_IsShown_AndExported()
    {
        await using var stack = await InProcessStack.StartAsync();
        var random = new Random(7);
        var records = Enumerable.Range(0, 400).Select(_ => HostileLetters.Draw(random)).ToList();

        // The client library ends names at a null, and takes no empty one.
        records.ForEach(record => record.Headers.Where(header => header.Key.TrimStart('\0').Length == 0).ToList().ForEach(header => record.Headers.Remove(header.Key)));
        await stack.Kafka.SendAsync(stack.DeadLetterTopic, 0, records);

        var letters = (await stack.GetAsync("/dead-letters?limit=1000")).GetProperty("letters").EnumerateArray().Reverse().ToArray();
        using var answer = await LinesAsync(stack, "/dead-letters?limit=1000");

        // Ordered by their times, which are drawn.
        var byTime = records.Select((record, offset) => (record, offset)).OrderBy(sent => sent.record.Timestamp.UnixTimestampMs).ToArray();
        Assert.Equal(byTime.Select(sent => sent.offset), letters.Select(letter => letter.GetProperty("dead_letter").GetProperty("offset").GetInt32()));
        var lines = (await answer.Content.ReadAsStringAsync()).TrimEnd('\n').Split('\n');
        Assert.Equal(records.Count, lines.Length);
        foreach (var (line, (record, _)) in lines.Zip(byTime))
        {
            HostileLetters.AssertSame(record, JsonElement.Parse(line));
        }
    }

    [Fact]
    public async Task WithoutADeadLetterTopic_Is404_ThatSaysWhy()
    {
        await using var stack = await InProcessStack.StartAsync(null, ("cache_dead_letter_topic", ""));

        var (status, body, _) = await stack.AskAsync("/dead-letters");

        Assert.Equal(HttpStatusCode.NotFound, status);
        Assert.Contains("cache_dead_letter_topic is empty", body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TopicThatDoesNotExist_HasNoLetters_AndIsNotCreated()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        stack.Set("cache_dead_letter_topic", "later");
        stack.Set("Kafka:allow.auto.create.topics", "true");
        await stack.StartServiceAsync();

        await stack.AnswersAsync("/dead-letters", """{"topic":"later","letters":[],"scanned":0,"complete":true}""");
        await stack.AnswersAsync("/dead-letters?reason=not_json", """{"topic":"later","letters":[],"scanned":0,"complete":true}""");

        // Fails if it exists.
        stack.Broker.CreateTopic("later", partitions: 1);
    }

    [Fact]
    public async Task TopicsThatArePatterns_DoNotHideTheLetters()
    {
        const string Type = """[{"name":"shop","topics":["^shop\\..*"],"dimension":["country"],"measures":[{"name":"orders","kind":"count"}]}]""";
        await using var stack = await InProcessStack.StartAsync(null, ("metric_types", Type));
        await SendAsync(stack, Events, 0, Message("bad"));

        Assert.Equal(["bad"], Values(await stack.GetAsync("/dead-letters")));
    }

    [Fact]
    public async Task TopicThatKafkaRefuses_Is503_ThatNamesThePermission()
    {
        await using var stack = await InProcessStack.StartAsync();
        stack.Broker.SetTopicError(stack.DeadLetterTopic, ErrorCode.TopicAuthorizationFailed);

        var (status, body, _) = await stack.AskAsync("/dead-letters");

        Assert.Equal(HttpStatusCode.ServiceUnavailable, status);
        Assert.Contains($"Grant it the operation READ on this topic", body, StringComparison.Ordinal);
        stack.Broker.SetTopicError(stack.DeadLetterTopic, ErrorCode.NoError);
        await stack.EventuallyAnswersAsync("/dead-letters", $$"""{"topic":"{{stack.DeadLetterTopic}}","letters":[],"scanned":0,"complete":true}""");
    }

    [Fact]
    public async Task KafkaThatRefusesTheFetch_Is503_ThatNamesThePermission()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.Kafka.SendAsync(stack.DeadLetterTopic, 0, "x");
        await stack.ReadyAsync();
        stack.Broker.BreakBroker(1);
        stack.Broker.MendBroker(1);
        await stack.StopServiceAsync();
        using var reader = Reader(stack, TimeProvider.System);
        stack.Broker.PushRequestErrors(KafkaRequest.Fetch, [.. Enumerable.Repeat(ErrorCode.TopicAuthorizationFailed, 20)]);

        var failure = await Assert.ThrowsAsync<NoDeadLettersException>(() => reader.FindAsync(new(1)));

        Assert.True(failure.IsRefused, failure.Message);
        stack.Broker.ClearRequestErrors(KafkaRequest.Fetch);
    }

    [Fact]
    public async Task KafkaThatIsAway_Is503_InAFewSeconds_AndWorksAgainAfterwards()
    {
        await using var stack = await InProcessStack.StartAsync();
        await SendAsync(stack, Events, 0, Message("bad"));
        stack.Broker.BreakAllBrokers();

        var began = Stopwatch.GetTimestamp();
        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => stack.AskAsync("/dead-letters")));

        Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 0, 30);
        Assert.All(answers, answer => Assert.Equal(HttpStatusCode.ServiceUnavailable, answer.Status));
        Assert.Contains("Kafka does not answer", answers[0].Body, StringComparison.Ordinal);

        stack.Broker.MendAllBrokers();
        await Eventually.HoldsAsync(async () => Assert.Equal(["bad"], Values(await stack.GetAsync("/dead-letters"))));
    }

    [Fact]
    public async Task ManyReaders_ShareOneRead_ForASecond()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        await stack.Kafka.SendAsync(stack.DeadLetterTopic, 0, "0");
        var time = new FakeTimeProvider();
        using var reader = Reader(stack, time);

        var found = new List<LettersFound>();
        for (var number = 1; number <= 5; number++)
        {
            found.AddRange(await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => reader.FindAsync(new(50)))));
            await stack.Kafka.SendAsync(stack.DeadLetterTopic, 0, $"{number}");
        }

        Assert.All(found, answer => Assert.Equal(0, Assert.Single(answer.Letters).Offset));
        time.Advance(DeadLetterReader.Kept);
        Assert.Equal(6, (await reader.FindAsync(new(50))).Letters.Count);
    }

    [Fact]
    public async Task Service_StopsInTime_WhileKafkaHoldsUpARead()
    {
        var stack = await InProcessStack.StartAsync();
        await using (stack)
        {
            await stack.Kafka.SendAsync(stack.DeadLetterTopic, 0, "x");
            stack.Broker.SetRoundTrip(TimeSpan.FromMinutes(2));
            var asking = stack.AskAsync("/dead-letters");
            await Task.Delay(200, TestContext.Current.CancellationToken);

            var began = Stopwatch.GetTimestamp();
            var stopping = stack.StopServiceAsync();
            var answer = await Record.ExceptionAsync(() => asking);
            Assert.InRange(Stopwatch.GetElapsedTime(began).TotalSeconds, 0, 30);
            Assert.True(answer is not null || (await asking).Status == HttpStatusCode.ServiceUnavailable);
            stack.Broker.SetRoundTrip(TimeSpan.Zero);
            await stopping;
        }
    }

    private static DeadLetterReader Reader(InProcessStack stack, TimeProvider time) =>
        new(new CacheOptions { KafkaBootstrapServers = stack.KafkaAddress, DeadLetterTopic = stack.DeadLetterTopic }, time);

    private static Task SendAsync(InProcessStack stack, string topic, int partition, params IEnumerable<Message<byte[]?, byte[]?>> messages) =>
        SendAndWaitAsync(stack, topic, partition, messages);

    private static async Task SendAndWaitAsync(InProcessStack stack, string topic, int partition, IEnumerable<Message<byte[]?, byte[]?>> messages)
    {
        await stack.Kafka.SendAsync(topic, partition, messages);
        await stack.EverythingIsCommittedAsync(topic);
    }

    private static async Task<HttpResponseMessage> LinesAsync(RunningStack stack, string route)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, route);
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/x-ndjson"));
        return await stack.Http.SendAsync(request);
    }

    private static void AssertLetter(JsonElement letter, string json)
    {
        var expected = JsonElement.Parse(json);
        foreach (var property in expected.EnumerateObject())
        {
            Assert.True(JsonElement.DeepEquals(property.Value, letter.GetProperty(property.Name)), $"{property.Name}: {letter}");
        }

        Assert.Equal(expected.EnumerateObject().Count() + 1, letter.EnumerateObject().Count());
    }

    private static List<string?> Values(JsonElement answer) => [.. answer.GetProperty("letters").EnumerateArray().Select(letter => letter.GetProperty("value").GetString())];

    private static byte[] Utf8(string text) => System.Text.Encoding.UTF8.GetBytes(text);
}
