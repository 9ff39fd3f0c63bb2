using System.Diagnostics;
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
