using StackExchange.Redis;

namespace Cache.Tests;

public sealed class RedisServerTests
{
    [Fact]
    public async Task Restart_AfterKillOrStop_IsEmptyOnTheSamePort()
    {
        await using var server = await RedisServer.StartAsync("pa55word");
        var port = server.Port;

        foreach (var end in new Action[] { server.Kill, server.Stop, () => { } })
        {
            await using (var redis = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString))
            {
                await redis.GetDatabase().StringSetAsync("key", 1);
            }

            end();
            await server.RestartAsync();
            await using (var redis = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString))
            {
                Assert.False(await redis.GetDatabase().KeyExistsAsync("key"));
            }
        }

        Assert.Equal(port, server.Port);
    }

    [Fact]
    public async Task Freeze_AnswersNothing_UntilThaw()
    {
        await using var server = await RedisServer.StartAsync();
        await using var redis = await ConnectionMultiplexer.ConnectAsync(server.ConnectionString);
        server.Freeze();
        var ping = redis.GetDatabase().PingAsync();
        Assert.NotSame(ping, await Task.WhenAny(ping, Task.Delay(200)));
        server.Thaw();
        await ping;
    }

    [Fact]
    public async Task Start_WithBadArguments_QuotesTheServer()
    {
        RedisServer.Require();
        var error = await Assert.ThrowsAsync<InvalidOperationException>(
            () => RedisServer.StartAsync(null, "--no-such-option", "1"));
        Assert.Contains("no-such-option", error.Message, StringComparison.Ordinal);
    }
}
