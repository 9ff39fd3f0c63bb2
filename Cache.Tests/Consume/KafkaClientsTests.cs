using Cache.Service.Consume;
using Cache.Service.Options;
using Confluent.Kafka;
using Microsoft.Extensions.Configuration;

namespace Cache.Tests.Consume;

public sealed class KafkaClientsTests
{
    // As a broker with SASL over TLS requires, which the embedded one does not support.
    private static readonly Dictionary<string, string> Secured = new()
    {
        ["Kafka:security.protocol"] = "sasl_ssl",
        ["Kafka:sasl.mechanism"] = "SCRAM-SHA-512",
        ["Kafka:sasl.username"] = "cache",
        ["Kafka:sasl.password"] = "secret",
        ["Kafka:ssl.endpoint.identification.algorithm"] = "https",
    };

    [Fact]
    public void TlsAndSasl_ReachEveryClient()
    {
        var options = Options(Secured.Select(setting => (setting.Key, setting.Value)));
        var consumer = new ConsumerConfig();

        KafkaClients.Configure(consumer, options);

        foreach (var client in new ClientConfig[] { consumer, KafkaClients.ForDeadLetters(options), KafkaClients.ForReading(options), KafkaClients.ForReadingDeadLetters(options) })
        {
            Assert.Equal(SecurityProtocol.SaslSsl, client.SecurityProtocol);
            Assert.Equal(SaslMechanism.ScramSha512, client.SaslMechanism);
            Assert.Equal(("cache", "secret"), (client.SaslUsername, client.SaslPassword));
            Assert.Equal(SslEndpointIdentificationAlgorithm.Https, client.SslEndpointIdentificationAlgorithm);
        }
    }

    [Fact]
    public void SettingsThatGuaranteesDependOn_OverrideTheConfiguration()
    {
        var options = Options(("cache_kafka_consumer_group", "group"));
        var consumer = new ConsumerConfig
        {
            GroupId = "other",
            PartitionAssignmentStrategy = PartitionAssignmentStrategy.Range,
            EnableAutoCommit = true,
            EnableAutoOffsetStore = true,
            EnablePartitionEof = false,
            IsolationLevel = IsolationLevel.ReadUncommitted,
            AutoOffsetReset = AutoOffsetReset.Latest,
        };

        KafkaClients.Configure(consumer, options);

        Assert.Equal("group", consumer.GroupId);
        Assert.Equal(PartitionAssignmentStrategy.CooperativeSticky, consumer.PartitionAssignmentStrategy);
        Assert.Equal((false, false, true), (consumer.EnableAutoCommit, consumer.EnableAutoOffsetStore, consumer.EnablePartitionEof));
        Assert.Equal((IsolationLevel.ReadCommitted, AutoOffsetReset.Error), (consumer.IsolationLevel, consumer.AutoOffsetReset));
        Assert.True(KafkaClients.ForDeadLetters(options).EnableIdempotence);
    }

    [Fact]
    public void Defaults_AreOnlyDefaults()
    {
        var consumer = new ConsumerConfig();
        KafkaClients.Configure(consumer, Options());
        var producer = KafkaClients.ForDeadLetters(Options());

        Assert.Equal((32 * 1024, 20, 5000, "cache-service"), (consumer.QueuedMaxMessagesKbytes, consumer.FetchQueueBackoffMs, consumer.TopicMetadataRefreshIntervalMs, consumer.ClientId));
        Assert.Equal(TimeSpan.FromSeconds(10), KafkaClients.SessionTimeout(consumer));
        Assert.Equal((5, 100_000_000, 15_000, "cache-service-dead-letters"), (producer.LingerMs, producer.MessageMaxBytes, producer.MessageTimeoutMs, producer.ClientId));

        KafkaClients.Configure(consumer, Options(
            ("Kafka:queued.max.messages.kbytes", "64"), ("Kafka:fetch.queue.backoff.ms", "1"), ("Kafka:topic.metadata.refresh.interval.ms", "100"), ("Kafka:client.id", "mine")));
        producer = KafkaClients.ForDeadLetters(Options(("Kafka:message.max.bytes", "1000"), ("Kafka:client.id", "mine")));

        Assert.Equal((64, 1, 100, "mine"), (consumer.QueuedMaxMessagesKbytes, consumer.FetchQueueBackoffMs, consumer.TopicMetadataRefreshIntervalMs, consumer.ClientId));
        Assert.Equal((1000, "mine"), (producer.MessageMaxBytes, producer.ClientId));
    }

    [Fact]
    public void Rows_AreReread_OutsideTheGroup()
    {
        var config = KafkaClients.ForReading(Options(("cache_kafka_consumer_group", "group"), ("ConnectionStrings:kafka", "broker:9092"), ("Kafka:client.id", "mine")));

        Assert.Equal(("broker:9092", "group-reader", "cache-service-reader"), (config.BootstrapServers, config.GroupId, config.ClientId));
        Assert.False(config.EnableAutoCommit);
    }

    [Theory]
    [InlineData(null, null, 10)]
    [InlineData("6000", null, 6)]
    [InlineData(null, 7000, 7)]
    [InlineData("6000", 7000, 6)]
    public void SessionTimeout_IsTheConfiguredOne_OrTenSeconds(string? ours, int? aspires, int seconds)
    {
        var config = new ConsumerConfig { SessionTimeoutMs = aspires };
        KafkaClients.Configure(config, Options(ours is null ? [] : [("Kafka:session.timeout.ms", ours)]));

        Assert.Equal(TimeSpan.FromSeconds(seconds), KafkaClients.SessionTimeout(config));
    }

    private static CacheOptions Options(params IEnumerable<(string Key, string Value)> settings) => CacheOptionsReader.Read(
        new ConfigurationBuilder().AddInMemoryCollection(settings.Select(setting => KeyValuePair.Create(setting.Key, (string?)setting.Value))).Build());
}
