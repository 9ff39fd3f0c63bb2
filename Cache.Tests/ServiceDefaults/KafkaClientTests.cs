using Confluent.Kafka;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace Cache.Tests.ServiceDefaults;

/// <summary>What callers rely on, with Aspire's package as well as with its stand-in.</summary>
public sealed class KafkaClientTests
{
    private const string Consumer = "Aspire:Confluent:Kafka:Consumer";
    private const string Producer = "Aspire:Confluent:Kafka:Producer";

    [Fact]
    public void Consumer_TakesTheLaterOf_Section_NamedSection_ConnectionString_Delegate()
    {
        var builder = Hosts.Builder(
            ($"{Consumer}:ConnectionString", "section:1"),
            ($"{Consumer}:Config:GroupId", "section"),
            ($"{Consumer}:Config:ClientId", "section"),
            ($"{Consumer}:Config:AutoOffsetReset", "Earliest"),
            ($"{Consumer}:kafka:ConnectionString", "named:1"),
            ($"{Consumer}:kafka:Config:GroupId", "named"),
            ($"{Consumer}:kafka:Config:ClientId", "named"),
            ("ConnectionStrings:kafka", "string:1"));

        builder.AddKafkaConsumer<string, string>("kafka", settings =>
        {
            Assert.Equal("string:1", settings.ConnectionString);
            Assert.Equal(AutoOffsetReset.Earliest, settings.Config.AutoOffsetReset);
            Assert.Equal("named", settings.Config.GroupId);
            Assert.Equal("named", settings.Config.ClientId);
            settings.Config.ClientId = "delegate";
        }, (_, _) => { });

        using var host = builder.Build();
        var consumer = host.Services.GetRequiredService<IConsumer<string, string>>();
        Assert.StartsWith("delegate#", consumer.Name, StringComparison.Ordinal);
        Assert.Same(consumer, host.Services.GetRequiredService<IConsumer<string, string>>());
    }

    [Fact]
    public void Producer_TakesTheLaterOf_Section_NamedSection_ConnectionString_Delegate()
    {
        var builder = Hosts.Builder(
            ($"{Producer}:Config:ClientId", "section"),
            ($"{Producer}:kafka:Config:ClientId", "named"),
            ($"{Producer}:kafka:ConnectionString", "named:1"),
            ("ConnectionStrings:kafka", "string:1"));

        builder.AddKafkaProducer<string, string>("kafka", settings =>
        {
            Assert.Equal("string:1", settings.ConnectionString);
            Assert.Equal("named", settings.Config.ClientId);
            settings.Config.ClientId = "delegate";
        }, (_, _) => { });

        using var host = builder.Build();
        var producer = host.Services.GetRequiredService<IProducer<string, string>>();
        Assert.StartsWith("delegate#", producer.Name, StringComparison.Ordinal);
    }

    [Fact]
    public void Consumer_WithoutGroupId_ReportsIt()
    {
        var builder = Hosts.Builder(("ConnectionStrings:kafka", "localhost:1"));
        builder.AddKafkaConsumer<string, string>("kafka", null, (_, _) => { });
        using var host = builder.Build();

        var error = Assert.Throws<InvalidOperationException>(host.Services.GetRequiredService<IConsumer<string, string>>);
        Assert.Equal("No group id configured.", error.Message);
    }

    [Fact]
    public void BootstrapServers_MayComeFromConfig()
    {
        var builder = Hosts.Builder(($"{Producer}:Config:BootstrapServers", "localhost:1"));
        builder.AddKafkaProducer<string, string>("kafka", null, (_, _) => { });
        using var host = builder.Build();

        Assert.NotNull(host.Services.GetRequiredService<IProducer<string, string>>());
    }

    [Fact]
    public void WithoutBootstrapServers_ReportsIt()
    {
        var builder = Hosts.Builder();
        builder.AddKafkaConsumer<string, string>("kafka", settings => settings.Config.GroupId = "g", (_, _) => { });
        builder.AddKafkaProducer<string, string>("kafka", null, (_, _) => { });
        using var host = builder.Build();

        var consumer = Assert.Throws<InvalidOperationException>(host.Services.GetRequiredService<IConsumer<string, string>>);
        var producer = Assert.Throws<InvalidOperationException>(host.Services.GetRequiredService<IProducer<string, string>>);
        Assert.StartsWith("No bootstrap servers configured.", consumer.Message, StringComparison.Ordinal);
        Assert.StartsWith("No bootstrap servers configured.", producer.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void ConfigureBuilder_SetsDeserializersAndHandlers()
    {
        var builder = Hosts.Builder(("ConnectionStrings:kafka", "localhost:1"));
        builder.AddKafkaConsumer<string, byte[]>(
            "kafka",
            settings => settings.Config.GroupId = "g",
            (_, consumer) => consumer.SetValueDeserializer(Deserializers.ByteArray).SetErrorHandler((_, _) => { }));
        builder.AddKafkaProducer<string, byte[]>("kafka", null, (_, producer) => producer.SetErrorHandler((_, _) => { }));
        using var host = builder.Build();

        Assert.NotNull(host.Services.GetRequiredService<IConsumer<string, byte[]>>());
        Assert.NotNull(host.Services.GetRequiredService<IProducer<string, byte[]>>());
    }
}
