using System.Text.Json;
using Cache.Service.Model;
using Cache.Service.Persist;
using Confluent.Kafka;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.EndToEnd;

public sealed class ConnectionStringTests
{
    [Fact]
    public async Task KafkaProperties_InTheConnectionString_ReachTheClients_AndAreNeverLogged()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("Logging:LogLevel:Default", "Trace"), ("Logging:LogLevel:Aspire.Confluent.Kafka", "Trace"));

        // With several addresses, the client would find some of them even in the unparsed string.
        var broker = stack.KafkaAddress.Split(',')[0];
        stack.Set(
            "ConnectionStrings:kafka",
            $"BootstrapServers={broker};ClientId=mine;SocketTimeoutMs=7000;SecurityProtocol=Plaintext;SaslMechanism=Plain;SaslUsername=S3cr3t-user;SaslPassword=\"S3cr3t;mark\"");
        await stack.StartServiceAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1), "rejected");
        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(1)}},"a.count":1}""");
        await stack.EverythingIsCommittedAsync();
        await stack.ReadyAsync();

        Assert.StartsWith("mine#", stack.Service.Get<IConsumer<RowKey, Row>>().Name, StringComparison.Ordinal);
        Assert.StartsWith("mine#", stack.Service.Get<DeadLetterProducer>().Get().Name, StringComparison.Ordinal);
        Assert.Equal(broker, JsonElement.Parse((await stack.AskAsync("/pipeline")).Body).GetProperty("kafka").GetString());
        foreach (var route in new[] { "/", "/readyz", "/health", "/pipeline", "/metrics" })
        {
            Assert.DoesNotContain("S3cr3t", (await stack.AskAsync(route)).Body, StringComparison.Ordinal);
        }

        Assert.DoesNotContain("S3cr3t", string.Join('\n', stack.Service.Log), StringComparison.Ordinal);
    }

    [Fact]
    public async Task RedisUri_LeadsToTheServer_WithItsPasswordAndDatabase()
    {
        await using var redis = await RedisServer.StartAsync("p@ss=w:rd", "--databases", "4");
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString);
        stack.Set("ConnectionStrings:redis", $"redis://default:p%40ss%3Dw%3Ard@127.0.0.1:{redis.Port}/3");
        await stack.StartServiceAsync();

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));

        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(1)}},"a.count":1}""");
        Assert.True(await stack.Redis.GetDatabase(3).KeyExistsAsync($"metrics:event:{Window(1)}"));
    }

    [Fact]
    public async Task RedisThatIsDown_IsAwaited_WhateverTheConnectionStringSays()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString);
        stack.Set("ConnectionStrings:redis", $"{redis.ConnectionString},abortConnect=true,connectTimeout=500");
        redis.Kill();
        await stack.StartProcessAsync();
        await Eventually.HoldsAsync(async () => Assert.Contains("Redis does not answer", (await stack.AskAsync("/readyz")).Body));

        await redis.RestartAsync();
        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));

        await stack.EventuallyAnswersAsync("/metrics/event/latest", $$"""{"window_start":{{Window(1)}},"a.count":1}""");
        Assert.False(stack.Process.HasExited);
    }
}
