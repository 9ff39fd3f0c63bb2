using System.Net;
using System.Net.ServerSentEvents;
using System.Text;
using System.Text.Json;
using Cache.Service.Http.Streaming;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Http.Streaming;

/// <summary>The events <c>pipeline</c> and <c>fleet</c> of a stream that asks for them.</summary>
public sealed class StateTests
{
    [Fact]
    public async Task State_IsSentRightAway_AndAgain_WithoutIds_AsTheRoutesAnswer()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await using var stream = await OpenStream.OpenAsync(stack, "?state=true&types=performance&dimensions=tv");

        var first = new Dictionary<string, SseItem<string>>();
        while (first.Count < 4)
        {
            var item = await stream.UntilAsync(_ => true);
            first[item.EventType] = item;
        }

        var (pipeline, fleet) = (first["pipeline"], first["fleet"]);
        Assert.Equal(["fleet", "heartbeat", "pipeline", "resync"], first.Keys.Order(StringComparer.Ordinal));
        Assert.Equal(Names(await stack.GetAsync("/fleet")), Names(JsonElement.Parse(fleet.Data)));
        Assert.Equal(Names(await stack.GetAsync("/pipeline")), Names(JsonElement.Parse(pipeline.Data)));
        Assert.Null(fleet.EventId ?? pipeline.EventId);

        // What is filtered out makes no difference.
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        await stream.UntilAsync(item => item.EventType == "pipeline" && JsonElement.Parse(item.Data).GetProperty("rows").GetProperty(Events).GetInt64() == 1);
        var next = await stream.UntilAsync(item => item.EventType is not ("pipeline" or "heartbeat"));
        Assert.Equal("fleet", next.EventType);
        Assert.True(JsonElement.Parse(next.Data).GetProperty("time").GetInt64() > JsonElement.Parse(fleet.Data).GetProperty("time").GetInt64());
    }

    [Theory]
    [InlineData("")]
    [InlineData("?state=false")]
    public async Task StreamThatDoesNotAsk_GetsNone_AndNoneIsBuilt(string query)
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await using var stream = await OpenStream.OpenAsync(stack, query);
        await stream.TakeAsync(2);

        await Eventually.KeepsHoldingAsync(
            () => Task.Run(() => Assert.All(stack.Service.Get<StateFeed>().Events, sent => Assert.Null(sent.Newest))), TimeSpan.FromSeconds(2.5));
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
        Assert.Contains($"{Window(1)}", (await stream.TakeAsync(1))[0].Data);
    }

    [Fact]
    public async Task StateOfATick_IsTheSameForAllStreams_AndNoneIsBuiltAfterTheLastHasClosed()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await using (var one = await OpenStream.OpenAsync(stack, "?state=true"))
        await using (var other = await OpenStream.OpenAsync(stack, "?state=true"))
        {
            var states = new List<string>();
            while (states.Count < 3)
            {
                states.Add((await one.UntilAsync(item => item.EventType == "pipeline")).Data);
            }

            // Their numbers change all the time.
            Assert.Equal(states[1], (await other.UntilAsync(item => item.Data == states[1])).Data);
            Assert.Equal(states[2], (await other.UntilAsync(item => item.EventType == "pipeline")).Data);
        }

        await Eventually.HoldsAsync(() => Assert.All(stack.Service.Get<StateFeed>().Events, sent => Assert.Null(sent.Newest)));
    }

    [Fact]
    public async Task State_DoesNotDisturbTheResumption()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        string? seen;
        await using (var stream = await OpenStream.OpenAsync(stack, "?state=true"))
        {
            await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));
            seen = (await stream.UntilAsync(item => item.EventType == "message")).EventId;
            await stream.UntilAsync(item => item.EventType == "pipeline");
        }

        await stack.Kafka.SendAsync(Events, 0, Event(Window(2), "a", 2));
        await stack.EverythingIsCommittedAsync();

        await using var again = await OpenStream.OpenAsync(stack, "?state=true", seen);
        var next = await again.UntilAsync(item => item.EventType is "message" or "resync");
        Assert.Contains($"{Window(2)}", next.Data);
    }

    [Theory]
    [InlineData("?state=")]
    [InlineData("?state=1")]
    [InlineData("?state=true,false")]
    public async Task ValueThatIsNeitherTrueNorFalse_IsABadRequest(string query)
    {
        await using var stack = await InProcessStack.StartAsync();

        var (status, body, type) = await stack.AskAsync("/stream" + query);

        Assert.Equal((HttpStatusCode.BadRequest, "application/problem+json"), (status, type));
        Assert.Equal(["state must be true or false"], JsonElement.Parse(body).GetProperty("errors").GetProperty("state").EnumerateArray().Select(error => error.GetString()));
    }

    [Fact]
    public async Task WithKeysConfigured_StateNeedsOne()
    {
        const string Key = "0123456789abcdef";
        await using var stack = await InProcessStack.StartAsync(null, ("api_keys", Key));
        await Eventually.HoldsAsync(() => stack.GetAsync("/readyz"));

        foreach (var refused in new[] { "/fleet", "/pipeline", "/stream?state=true", $"/stream?state=true&api_key={Key}x", $"/fleet?api_key={Key}" })
        {
            var (status, body, _) = await stack.AskAsync(refused);
            Assert.Equal(HttpStatusCode.Unauthorized, status);
            Assert.DoesNotContain("instance", body);
        }

        await using var stream = await OpenStream.OpenAsync(stack, $"?state=true&api_key={Key}");
        Assert.NotNull((await stream.UntilAsync(item => item.EventType == "pipeline")).Data);
    }

    [Fact]
    public async Task RedisDown_IsInTheState_Soon()
    {
        await using var stack = await InProcessStack.StartAsync();
        await stack.ReadyAsync();
        await using var stream = await OpenStream.OpenAsync(stack, "?state=true");
        await stream.UntilAsync(item => item.EventType == "pipeline" && JsonElement.Parse(item.Data).GetProperty("ready").GetBoolean());

        stack.OwnRedis.Break();
        await stream.UntilAsync(item => item.EventType == "pipeline" && !JsonElement.Parse(item.Data).GetProperty("ready").GetBoolean());
        var fleet = JsonElement.Parse((await stream.UntilAsync(item => item.EventType == "fleet" && !JsonElement.Parse(item.Data).GetProperty("complete").GetBoolean())).Data);
        Assert.Equal(fleet.GetProperty("self").GetString(), Assert.Single(fleet.GetProperty("replicas").EnumerateArray()).GetProperty("id").GetString());

        // A stream that opens now, too.
        await using var other = await OpenStream.OpenAsync(stack, "?state=true");
        await other.UntilAsync(item => item.EventType == "fleet");

        stack.OwnRedis.Mend();
        await stream.UntilAsync(item => item.EventType == "pipeline" && JsonElement.Parse(item.Data).GetProperty("ready").GetBoolean());
    }

    [Fact]
    public async Task ClientThatIsSlow_GetsOnlyTheNewest_AndAllShareItsBytes()
    {
        var built = 0;
        StateEvent[] events = [new("pipeline", TimeSpan.FromSeconds(2), () => Task.FromResult(Encoding.ASCII.GetBytes($"{{\"n\":{++built}}}")))];
        var (slow, other) = (new StateView(events), new StateView(events));
        Assert.False(slow.TryTake(out _));

        await events[0].BuildAsync();
        Assert.True(other.TryTake(out var first));
        Assert.False(other.TryTake(out _));
        await events[0].BuildAsync();
        await events[0].BuildAsync();

        Assert.True(slow.TryTake(out var newest));
        Assert.Equal("event: pipeline\ndata: {\"n\":3}\n\n", Encoding.ASCII.GetString(newest.Span));
        Assert.False(slow.TryTake(out _));
        Assert.True(other.TryTake(out var same));
        Assert.Equal("event: pipeline\ndata: {\"n\":1}\n\n", Encoding.ASCII.GetString(first.Span));
        Assert.True(newest.Equals(same));

        events[0].Clear();
        Assert.False(slow.TryTake(out _));
    }

    private static IEnumerable<string> Names(JsonElement answer) => answer.ValueKind switch
    {
        JsonValueKind.Object => answer.EnumerateObject().SelectMany(property => Names(property.Value).Prepend(property.Name)),
        JsonValueKind.Array => answer.EnumerateArray().SelectMany(Names),
        _ => [],
    };

    private sealed class OpenStream(HttpResponseMessage response, IAsyncEnumerator<SseItem<string>> items) : IAsyncDisposable
    {
        public static async Task<OpenStream> OpenAsync(RunningStack stack, string query, string? lastEventId = null)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, "/stream" + query);
            if (lastEventId is not null)
            {
                request.Headers.Add("Last-Event-ID", lastEventId);
            }

            var response = await stack.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
            Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
            return new(response, SseParser.Create(await response.Content.ReadAsStreamAsync()).EnumerateAsync().GetAsyncEnumerator());
        }

        public async Task<SseItem<string>> UntilAsync(Func<SseItem<string>, bool> isWanted)
        {
            using var timeout = new CancellationTokenSource(Eventually.TestTimeout);
            while (await items.MoveNextAsync().AsTask().WaitAsync(timeout.Token))
            {
                if (isWanted(items.Current))
                {
                    return items.Current;
                }
            }

            throw new EndOfStreamException();
        }

        public async Task<List<SseItem<string>>> TakeAsync(int count)
        {
            var taken = new List<SseItem<string>>();
            while (taken.Count < count)
            {
                taken.Add(await UntilAsync(_ => true));
            }

            return taken;
        }

        public ValueTask DisposeAsync()
        {
            // Ends the enumerator's pending read.
            response.Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
