using Cache.Tests.EndToEnd;

namespace Cache.Tests.AppHost;

/// <summary>The shared scenarios, on the AppHost's containers.</summary>
[Trait("needs", "containers")]
public sealed class HttpOnContainersTests : HttpTests
{
    public HttpOnContainersTests()
    {
        Engine.Require(Engine.BrokerImage, "broker");
        Engine.Require(Engine.RedisImage, "podman");
    }

    protected override async Task<RunningStack> StartAsync(params (string Key, string Value)[] settings) =>
        await AppHostStack.StartAsync(["--kafka", "container", "--redis", "container", "--simulator", "false"], settings: settings);
}

/// <summary>Redis in a container, with the password that Aspire generates; Kafka embedded.</summary>
[Collection(EmbeddedAppHost.Collection)]
[Trait("needs", "containers")]
public sealed class RedisContainerTests
{
    public RedisContainerTests() => Engine.Require(Engine.RedisImage, "podman");

    [Fact]
    public async Task Redis_InAContainer_IsReachedWithItsPassword()
    {
        await using var stack = await AppHostStack.StartAsync(["--kafka", "embedded", "--redis", "container", "--simulator", "false"]);

        await stack.Kafka.SendAsync(Rows.Events, 0, Rows.Event(Rows.Window(1), "a", 1));

        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Rows.Window(1)}},"a.count":1}""");
        Assert.Contains(",password=", stack.RedisAddress);
        Assert.Equal("1", (await stack.HashAsync("event", Rows.Window(1)))["a.count"]);
    }
}
