using System.Diagnostics;
using Cache.Tests.Simulation;
using Confluent.Kafka;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;

namespace Cache.Tests.ServiceDefaults.Portable;

public sealed class KafkaHealthTests
{
    private const string ConsumerCheck = "Aspire.Confluent.Kafka.Consumer";
    private const string ProducerCheck = "Aspire.Confluent.Kafka.Producer";

    [Fact]
    public async Task Checks_FollowTheBroker_WithinABound()
    {
        using var kafka = new MockKafka();
        using var host = Build(kafka.Address);

        foreach (var check in new[] { ConsumerCheck, ProducerCheck })
        {
            Assert.Equal(HealthStatus.Healthy, (await host.Services.CheckAsync(check)).Status);
        }

        kafka.Dispose();
        foreach (var check in new[] { ConsumerCheck, ProducerCheck })
        {
            var began = Stopwatch.StartNew();
            Assert.Equal(HealthStatus.Unhealthy, (await host.Services.CheckAsync(check)).Status);
            Assert.InRange(began.Elapsed, TimeSpan.Zero, TimeSpan.FromSeconds(3));
        }
    }

    [Fact]
    public async Task Checks_SendNoMessage_AndMakeNoTopic()
    {
        using var kafka = new MockKafka();
        using var host = Build(kafka.Address);
        await host.Services.CheckAsync(ConsumerCheck);
        await host.Services.CheckAsync(ProducerCheck);

        using var admin = new AdminClientBuilder(new AdminClientConfig { BootstrapServers = kafka.Address }).Build();
        Assert.Empty(admin.GetMetadata(TimeSpan.FromSeconds(10)).Topics);
    }

    [Fact]
    public async Task Host_LetsAQuestionEnd_BeforeItDisposesTheClient()
    {
        using var client = new ProducerBuilder<string, string>(new ProducerConfig { BootstrapServers = "127.0.0.1:1" }).SetLogHandler((_, _) => { }).Build();
        var asks = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var asking = Task.FromResult<HealthCheckResult>(default);
        var hadEnded = false;
        await using var host = new ServiceCollection().AddSingleton(_ => Proxy.Of<IClient>((method, _) =>
        {
            if (method == nameof(IDisposable.Dispose))
            {
                hadEnded = SpinWait.SpinUntil(() => asking.IsCompleted, TimeSpan.FromSeconds(0.5));
                return null;
            }

            asks.SetResult();
            return client.Handle;
        })).AddSingleton<KafkaProbe<IClient>>().BuildServiceProvider();
        var probe = host.GetRequiredService<KafkaProbe<IClient>>();
        asking = Task.Run(() => probe.Ask(TimeSpan.FromSeconds(2)));
        await asks.Task;

        await host.DisposeAsync();

        Assert.True(hadEnded);
        await Assert.ThrowsAsync<KafkaException>(() => asking);
        Assert.Throws<ObjectDisposedException>(() => probe.Ask(TimeSpan.FromSeconds(1)));
    }

    [Fact]
    public async Task Check_OfAClientThatCannotBeMade_IsUnhealthy()
    {
        var builder = Hosts.Builder();
        builder.Services.AddLogging();
        builder.AddKafkaProducer<string, string>("kafka");
        using var host = builder.Build();

        var entry = await host.Services.CheckAsync(ProducerCheck);
        Assert.Equal(HealthStatus.Unhealthy, entry.Status);
        Assert.Contains("ConnectionStrings:kafka", entry.Exception!.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void DisableHealthChecks_AddsNone()
    {
        var builder = Hosts.Builder(("Aspire:Confluent:Kafka:Producer:DisableHealthChecks", "true"));
        builder.AddKafkaConsumer<string, string>("kafka", settings => settings.DisableHealthChecks = true);
        builder.AddKafkaProducer<string, string>("kafka");
        using var host = builder.Build();

        Assert.Empty(host.Services.GetRequiredService<IOptions<HealthCheckServiceOptions>>().Value.Registrations);
    }

    private static IHost Build(string address)
    {
        var builder = Hosts.Builder(("ConnectionStrings:kafka", address));
        builder.AddKafkaConsumer<string, string>("kafka", settings => settings.Config.GroupId = "g");
        builder.AddKafkaProducer<string, string>("kafka");
        return builder.Build();
    }
}
