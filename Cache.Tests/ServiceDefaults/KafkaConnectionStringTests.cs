using Confluent.Kafka;
using Microsoft.Extensions.Hosting;

namespace Cache.Tests.ServiceDefaults;

public sealed class KafkaConnectionStringTests
{
    [Theory]
    [InlineData("broker:9092", "broker:9092")]
    [InlineData(" a:1, [::1]:2 ,SASL_SSL://c_1.example-x:3,other,", "a:1,[::1]:2,SASL_SSL://c_1.example-x:3,other")]
    [InlineData("BootstrapServers=a:1", "a:1")]
    [InlineData(";; bootstrapservers = a:1, b:2 ;", "a:1,b:2")]
    [InlineData("bootstrap.servers=a:1", "a:1")]
    [InlineData("BOOTSTRAP_SERVERS=a:1", "a:1")]
    [InlineData("metadata.broker.list=a:1", "a:1")]
    [InlineData("BootstrapServers=a:1;SecurityProtocol=SaslPlaintext;SaslMechanism=Plain;SaslUsername=u;SaslPassword=\"p;with \"\" or '' quotes\"", "a:1",
        "security.protocol", "sasl_plaintext", "sasl.mechanism", "PLAIN", "sasl.username", "u", "sasl.password", "p;with \" or '' quotes")]
    [InlineData("BootstrapServers=a:1;security.protocol=SASL_PLAINTEXT;sasl_mechanism=SCRAM-SHA-512", "a:1", "security.protocol", "sasl_plaintext", "sasl.mechanism", "SCRAM-SHA-512")]
    [InlineData("BootstrapServers=a:1;SECURITYPROTOCOL=saslssl;saslmechanism=scramsha512", "a:1", "security.protocol", "sasl_ssl", "sasl.mechanism", "SCRAM-SHA-512")]
    [InlineData("BootstrapServers=a:1;SaslUsername=$ConnectionString;SaslPassword='Endpoint=sb://n/;SharedAccessKeyName=k;SharedAccessKey=x='", "a:1",
        "sasl.username", "$ConnectionString", "sasl.password", "Endpoint=sb://n/;SharedAccessKeyName=k;SharedAccessKey=x=")]
    [InlineData("BootstrapServers=a:1;SaslPassword=x==", "a:1", "sasl.password", "x==")]
    [InlineData("BootstrapServers=a:1;SaslUsername=first;saslusername=last", "a:1", "sasl.username", "last")]
    [InlineData("BootstrapServers=a:1;SaslUsername=;SaslPassword=\"\";ClientId= x ", "a:1", "client.id", "x")]
    [InlineData("BootstrapServers=a:1;SocketKeepaliveEnable=True;SocketTimeoutMs=7000;FetchMinBytes=7;LingerMs=2.5", "a:1",
        "socket.keepalive.enable", "True", "socket.timeout.ms", "7000", "fetch.min.bytes", "7", "linger.ms", "2.5")]
    [InlineData("BootstrapServers=a:1;sasl.mechanisms=PLAIN;Acks=1", "a:1", "sasl.mechanism", "PLAIN", "acks", "1")]
    [InlineData("BootstrapServers=a:1;partitioner=fnv1a;log.connection.close=false;topic.blacklist=x", "a:1", "partitioner", "fnv1a", "log.connection.close", "false", "topic.blacklist", "x")]
    public void BothForms_AreRead(string text, string servers, params string[] properties)
    {
        List<string> errors = [];
        var read = KafkaConnectionString.Read(text, errors);

        Assert.Empty(errors);
        Assert.Equal(servers, read.Servers);
        Assert.Equal(properties.Chunk(2).Select(pair => KeyValuePair.Create(pair[0], pair[1])), read.Properties);
    }

    [Theory]
    [InlineData("", "is empty; it must be host:port")]
    [InlineData(" , ", "has a broker address that cannot be used")]
    [InlineData("broker:port", "has a broker address that cannot be used")]
    [InlineData("broker:0", "has a broker address that cannot be used")]
    [InlineData("broker:65536", "has a broker address that cannot be used")]
    [InlineData("broker:9092\nS3cr3t", "has a broker address that cannot be used")]
    [InlineData("broker:9092/S3cr3t", "has a broker address that cannot be used")]
    [InlineData("user:S3cr3t:9092", "has a broker address that cannot be used")]
    [InlineData("user:S3cr3t@broker:9092", "has a broker address that cannot be used")]
    [InlineData("SASL_SSL://user:S3cr3t@broker:9092", "has a broker address that cannot be used")]
    [InlineData("BootstrapServers=user:S3cr3t@broker:9092", "has a broker address that cannot be used")]
    [InlineData("a:1;b:2", "cannot be read")]
    [InlineData("BootstrapServers=a:1;SaslPassword=\"S3cr3t", "cannot be read")]
    [InlineData("BootstrapServers=a:1;SaslPassword=S3;cr3t", "cannot be read")]
    [InlineData("SecurityProtocol=SaslSsl", "has no BootstrapServers")]
    [InlineData("BootstrapServers=;SaslPassword=S3cr3t", "has no BootstrapServers")]
    [InlineData("BootstrapServers=a:1;SaslPasword=S3cr3t;SaslUsername=u", "has a property that the client library does not know, besides bootstrap.servers, sasl.username;")]
    [InlineData("BootstrapServers=a:1;SaslPassword=x;S3cr3t=y", "has a property that the client library does not know, besides bootstrap.servers, sasl.password;")]
    [InlineData("BootstrapServers=a:1;EnableBackgroundPoll=false", "does not know, besides bootstrap.servers;")]
    [InlineData("BootstrapServers=a:1;dotnet.producer.enable.background.poll=S3cr3t", "does not know, besides bootstrap.servers;")]
    [InlineData("BootstrapServers=a:1;SecurityProtocol=S3cr3t", "the value of security.protocol cannot be used; it must be one of Plaintext, Ssl, SaslPlaintext, SaslSsl.")]
    [InlineData("BootstrapServers=a:1;SecurityProtocol=1", "the value of security.protocol cannot be used; it must be one of Plaintext, Ssl, SaslPlaintext, SaslSsl.")]
    [InlineData("BootstrapServers=a:1;SecurityProtocol=SaslSsl;SaslMechanism=S3cr3t", "the value of sasl.mechanism cannot be used; it must be one of Gssapi, Plain, ScramSha256, ScramSha512, OAuthBearer.")]
    [InlineData("BootstrapServers=a:1;SocketTimeoutMs=S3cr3t", "the value of socket.timeout.ms cannot be used; it must be a whole number.")]
    [InlineData("BootstrapServers=a:1;SessionTimeoutMs=1.5", "the value of session.timeout.ms cannot be used; it must be a whole number.")]
    [InlineData("BootstrapServers=a:1;SocketTimeoutMs=1", "the value of socket.timeout.ms cannot be used; see librdkafka's list of properties.")]
    [InlineData("BootstrapServers=a:1;PluginLibraryPaths=/S3cr3t", "the value of plugin.library.paths cannot be used")]
    [InlineData("BootstrapServers=a:1;SaslPassword=S3cr3t;sasl.password=cr3t", "has sasl.password twice")]
    [InlineData("Endpoint=sb://demo.servicebus.windows.net/;SharedAccessKeyName=Root;SharedAccessKey=S3cr3t=",
        "is an Event Hubs connection string; it must be NAME.servicebus.windows.net:9093, with Kafka:security.protocol=SASL_SSL, "
        + "Kafka:sasl.mechanism=PLAIN, Kafka:sasl.username=$ConnectionString (literally) and that connection string as Kafka:sasl.password.")]
    public void Error_IsReported_WithoutTheValue(string text, string expected)
    {
        List<string> errors = [];
        KafkaConnectionString.Read(text, errors);

        var error = Assert.Single(errors);
        Assert.StartsWith("ConnectionStrings:kafka", error, StringComparison.Ordinal);
        Assert.Contains(expected, error, StringComparison.Ordinal);
        Assert.DoesNotContain("cr3t", error, StringComparison.Ordinal);
    }

    [Fact]
    public void AllErrors_AreReportedAtOnce()
    {
        List<string> errors = [];
        KafkaConnectionString.Read("SecurityProtocol=x;SocketTimeoutMs=y;nothing=z", errors);
        Assert.Equal(4, errors.Count);
    }

    [Fact]
    public void EveryPropertyOfTheClients_IsKnown_InEverySpelling()
    {
        foreach (var property in new[] { typeof(ConsumerConfig), typeof(ProducerConfig) }.SelectMany(config => config.GetProperties()))
        {
            var dotted = string.Concat(property.Name.Select((c, at) => (at > 0 && char.IsUpper(c) ? "." : "") + char.ToLowerInvariant(c)));
            string[] dotnet = ["bootstrap.servers", "enable.background.poll", "enable.delivery.reports", "delivery.report.fields", "consume.result.fields"];
            var type = Nullable.GetUnderlyingType(property.PropertyType);
            if (!property.CanWrite || dotnet.Contains(dotted) || (type is null && property.PropertyType != typeof(string)))
            {
                continue;
            }

            // No value is valid for all of them, but an error about the value shows that the property is known.
            foreach (var name in new[] { property.Name, dotted, dotted.ToUpperInvariant().Replace('.', '_') })
            {
                List<string> errors = [];
                var read = KafkaConnectionString.Read($"BootstrapServers=a:1;{name}=1", errors);
                Assert.True(read.Properties.ContainsKey(dotted) || Assert.Single(errors).Contains($" {dotted} ", StringComparison.Ordinal), name);
            }
        }
    }

    [Theory]
    [InlineData("SecurityProtocol", typeof(SecurityProtocol))]
    [InlineData("SaslMechanism", typeof(SaslMechanism))]
    [InlineData("SslEndpointIdentificationAlgorithm", typeof(SslEndpointIdentificationAlgorithm))]
    [InlineData("SaslOauthbearerMethod", typeof(SaslOauthbearerMethod))]
    [InlineData("BrokerAddressFamily", typeof(BrokerAddressFamily))]
    [InlineData("ClientDnsLookup", typeof(ClientDnsLookup))]
    [InlineData("MetadataRecoveryStrategy", typeof(MetadataRecoveryStrategy))]
    [InlineData("CompressionType", typeof(CompressionType))]
    [InlineData("Partitioner", typeof(Partitioner))]
    [InlineData("Acks", typeof(Acks))]
    public void EveryNameOfAValue_IsAccepted(string property, Type values)
    {
        foreach (var value in Enum.GetNames(values))
        {
            List<string> errors = [];
            var read = KafkaConnectionString.Read($"BootstrapServers=a:1;{property}={value.ToLowerInvariant()}", errors);
            Assert.Empty(errors);
            Assert.Single(read.Properties);
        }
    }
}
