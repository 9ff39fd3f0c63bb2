using System.Diagnostics.Metrics;
using Cache.Service;
using Cache.Service.Consume;
using Cache.Service.Enqueue;
using Cache.Service.Persist;
using Cache.Service.Streaming;
using Cache.Service.Telemetry;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;

namespace Cache.Tests.Streaming;

public sealed class UpdateHubTests
{
    private readonly UpdateHub _hub = Hub();

    [Fact]
    public void Open_ForANewClient_AsksItToReadEverything()
    {
        Send(1, 3);

        var client = _hub.Open(null);

        Assert.True(client.TryTakeResync(out var reason, out var number));
        Assert.Equal(("start", 3), (reason, number));
        Assert.Empty(Taken(client));
    }

    [Fact]
    public void Open_WithTheLastEventId_ReplaysWhatWasMissed()
    {
        Send(1, 5);

        var client = _hub.Open(_hub.IdOf(2));
        Send(6, 6);

        Assert.False(client.TryTakeResync(out _, out _));
        Assert.Equal([3, 4, 5, 6], Taken(client));
    }

    [Fact]
    public void Open_WithTheLatestEventId_HasNothingToReplay()
    {
        Send(1, 5);

        var client = _hub.Open(_hub.IdOf(5));

        Assert.False(client.TryTakeResync(out _, out _));
        Assert.Empty(Taken(client));
    }

    [Theory]
    [InlineData("00000000-3")]
    [InlineData("nonsense")]
    [InlineData("")]
    public void Open_WithAnIdOfAnotherProcess_AsksToReadEverything(string id)
    {
        Send(1, 5);

        Assert.True(_hub.Open(id).TryTakeResync(out var reason, out _));
        Assert.Equal("gap", reason);
    }

    [Fact]
    public void Open_WithAnIdThatIsNoLongerKept_AsksToReadEverything()
    {
        Send(1, UpdateHub.ReplayedUpdates + 10);

        Assert.True(_hub.Open(_hub.IdOf(9)).TryTakeResync(out _, out _));
        var client = _hub.Open(_hub.IdOf(10));
        Assert.False(client.TryTakeResync(out _, out _));
        Assert.Equal(UpdateHub.ReplayedUpdates, Taken(client).Count);
    }

    [Fact]
    public void Open_WithAnIdFromTheFuture_AsksToReadEverything()
    {
        Send(1, 5);

        Assert.True(_hub.Open(_hub.IdOf(6)).TryTakeResync(out _, out _));
    }

    [Fact]
    public void ASlowClient_IsToldToReadEverything_AndGoesOnFromThere()
    {
        var client = _hub.Open(null);
        client.TryTakeResync(out _, out _);

        Send(1, StreamClient.MostWaiting + 50);

        Assert.True(client.TryTakeResync(out var reason, out var number));
        Assert.Equal(("slow", StreamClient.MostWaiting + 50), (reason, number));
        Assert.Empty(Taken(client));
        Send(1000, 1000);
        Assert.Equal([StreamClient.MostWaiting + 51], Taken(client));
    }

    [Fact]
    public void AGap_ReachesEveryClient_AndIsNeverReplayedOver()
    {
        Send(1, 5);
        var client = _hub.Open(_hub.IdOf(5));

        _hub.Gap();
        Send(6, 6);

        Assert.True(client.TryTakeResync(out var reason, out _));
        Assert.Equal("gap", reason);
        Assert.True(_hub.Open(_hub.IdOf(5)).TryTakeResync(out _, out _));
    }

    [Fact]
    public void Close_EndsTheHandingOut()
    {
        var client = _hub.Open(null);
        client.TryTakeResync(out _, out _);
        Assert.Equal(1, _hub.Clients);

        _hub.Close(client);
        Send(1, 1);

        Assert.Equal(0, _hub.Clients);
        Assert.Empty(Taken(client));
    }

    [Theory]
    [InlineData("not json")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("""{"type":"event","fields":3}""")]
    public void AMessageThatIsNoUpdate_IsIgnored(string message)
    {
        var client = _hub.Open(null);
        client.TryTakeResync(out _, out _);

        _hub.Receive(message);

        Assert.Empty(Taken(client));
    }

    [Theory]
    [InlineData("", "", """{"type":"event","window_start":1,"fields":{"a.count":1,"a.b.users":2}}""")]
    [InlineData("event", "", """{"type":"event","window_start":1,"fields":{"a.count":1,"a.b.users":2}}""")]
    [InlineData("performance", "", null)]
    [InlineData("", "a.b", """{"type":"event","window_start":1,"fields":{"a.b.users":2}}""")]
    [InlineData("event,performance", "a,x", """{"type":"event","window_start":1,"fields":{"a.count":1}}""")]
    [InlineData("", "x", null)]
    public void AFilter_PicksTypesAndDimensions(string types, string dimensions, string? expected)
    {
        var filter = new StreamFilter(List(types), List(dimensions));
        var update = new Update(1, "event", ["a.count", "a.b.users"],
            """{"type":"event","window_start":1,"fields":{"a.count":1,"a.b.users":2}}""");

        Assert.Equal(expected, filter.Apply(update));
    }

    [Theory]
    [InlineData("", "", true)]
    [InlineData("session", "Mobile,TV", true)]
    [InlineData("event,performance", "", false)]
    [InlineData("", "TV", false)]
    [InlineData("", "s", false)]
    [InlineData("", "device_category", false)]
    public void ASession_GoesAsAWhole_ByItsDevice(string types, string dimensions, bool wanted)
    {
        const string Message = """{"type":"session","session_id":"s","fields":{"end_time":1,"device_category":"Mobile"}}""";
        var client = _hub.Open(null);
        client.TryTakeResync(out _, out _);

        _hub.Receive(Message);

        Assert.True(client.TryTake(out var update));
        Assert.Equal(wanted ? Message : null, new StreamFilter(List(types), List(dimensions)).Apply(update));
    }

    [Theory]
    [InlineData("""{"type":"session","session_id":"s","fields":{"end_time":1}}""")]
    [InlineData("""{"type":"session","session_id":"s","fields":{"end_time":1,"device_category":null}}""")]
    public void ASessionThatDoesNotTellItsDevice_IsLeftOutOfDimensions(string message)
    {
        var client = _hub.Open(null);
        client.TryTakeResync(out _, out _);

        _hub.Receive(message);

        Assert.True(client.TryTake(out var update));
        Assert.Null(new StreamFilter([], ["Mobile"]).Apply(update));
        Assert.Equal(message, new StreamFilter(["session"], []).Apply(update));
    }

    private static string[] List(string text) => text.Split(',', StringSplitOptions.RemoveEmptyEntries);

    private static UpdateHub Hub()
    {
        var services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        var options = new CacheOptions();
        var metrics = new CacheMetrics(services.GetRequiredService<IMeterFactory>(), new RowQueue(options), new Assignment(), TimeProvider.System);
        return new(new RedisLink(services, options), new RedisKeys(options), metrics, TimeProvider.System, NullLogger<UpdateHub>.Instance);
    }

    private void Send(int from, int to)
    {
        for (var number = from; number <= to; number++)
        {
            _hub.Receive($$$"""{"type":"event","window_start":{{{number}}},"fields":{"a.count":{{{number}}}}}""");
        }
    }

    private static List<long> Taken(StreamClient client)
    {
        var numbers = new List<long>();
        while (client.TryTake(out var update))
        {
            numbers.Add(update.Number);
        }

        return numbers;
    }
}
