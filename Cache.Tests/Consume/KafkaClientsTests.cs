using Cache.Service;
using Cache.Service.Consume;
using Confluent.Kafka;
using Microsoft.Extensions.Configuration;

namespace Cache.Tests.Consume;

public sealed class KafkaClientsTests
{
    // As a broker with SASL over TLS asks for; no embedded one can ask.
    private static readonly Dictionary<string, string?> Secured = new()
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
        var options = CacheOptionsReader.Read(new ConfigurationBuilder().AddInMemoryCollection(Secured).Build());
        var consumer = new ConsumerConfig();
        var producer = new ProducerConfig();

        KafkaClients.Configure(consumer, options);
        KafkaClients.Configure(producer, options);

        foreach (var client in new ClientConfig[] { consumer, producer, KafkaClients.ForReading(options) })
        {
            Assert.Equal(SecurityProtocol.SaslSsl, client.SecurityProtocol);
            Assert.Equal(SaslMechanism.ScramSha512, client.SaslMechanism);
            Assert.Equal(("cache", "secret"), (client.SaslUsername, client.SaslPassword));
            Assert.Equal(SslEndpointIdentificationAlgorithm.Https, client.SslEndpointIdentificationAlgorithm);
        }
    }
}
