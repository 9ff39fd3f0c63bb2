using Cache.Producer.Simulator;
using Cache.Service.Options;
using CsCheck;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Cache.Tests.Options;

/// <summary>No error of either program repeats any part of <c>ConnectionStrings:kafka</c>, whatever it contains.</summary>
public sealed class KafkaConnectionStringProperties
{
    // No text of ours, and no property name, contains these letters in this order.
    private static readonly Gen<string> Secret = Gen.OneOf("zq", "ZQ.ZQ", "zq_zq", "zq-zq:zq", "zq@zq:9092", "\"zq;zq=zq\"", "'zq\"\"zq'", "zq=zq;zq", "Zq\u0000zq", "zq\r\nzq", "дЖzq");

    private static readonly Gen<string> Name = Gen.OneOf(
        "BootstrapServers", "bootstrap.servers", "metadata_broker_list", "SaslUsername", "SaslPassword", "sasl.password", "SASL_MECHANISM", "SecurityProtocol",
        "SocketTimeoutMs", "SslKeyPem", "GroupId", "Acks", "PluginLibraryPaths", "sasl.oauthbearer.config", "log_level", "dotnet.producer.enable.background.poll", "EnableDeliveryReports",
        "Endpoint", "SharedAccessKeyName", "SharedAccessKey", "user", "zq");

    private static readonly Gen<string> Value = Gen.OneOf(Secret, Secret, Gen.OneOf("a:1", "SASL_PLAINTEXT", "Plaintext", "1000", "Plain", "sb://zq.servicebus.windows.net/", ""));

    private static readonly Gen<string> Properties =
        Gen.Select(Name, Value, (name, value) => $"{name}={value}").Array[1, 5].Select(properties => string.Join(';', properties));

    private static readonly Gen<string> Text = Gen.OneOf(
        Properties, Properties.Select(properties => "BootstrapServers=a:1;" + properties), Gen.Select(Secret, secret => $"SASL_SSL://{secret}"), Secret.Array[1, 3].Select(secrets => string.Join(',', secrets)));

    // Inserted anywhere, replacing up to that many characters; a secret that is cut in two may only be detected in part.
    private static readonly Gen<(int At, int Cut, string Splinter)[]> Mutations =
        Gen.Select(Gen.Int[0, 200], Gen.Int[0, 3], Gen.OneOf("", ";", "=", "==", "\"", "'", "\"\"", ",", ".", "_", " ", "\0", "[", "://", ";zqzq=", "\u0130")).Array[0, 3];

    [Fact]
    public void NoErrorOfTheService_RepeatsAnyPartOfAValue() => AssertSilent(configuration => CacheOptionsReader.Read(configuration));

    [Fact]
    public void NoErrorOfTheSimulator_RepeatsAnyPartOfAValue() => AssertSilent(configuration => SimulatorOptions.Read(configuration));

    private static void AssertSilent(Action<IConfigurationRoot> read)
    {
        var wrong = 0;
        Gen.Select(Text, Mutations).Sample(
            (text, mutations) =>
            {
                foreach (var (at, cut, splinter) in mutations)
                {
                    var from = Math.Min(at, text.Length);
                    text = text[..from] + splinter + text[Math.Min(text.Length, from + cut)..];
                }

                try
                {
                    read(new ConfigurationBuilder().AddInMemoryCollection([new("ConnectionStrings:kafka", text)]).Build());
                }
                catch (ConfigurationException exception)
                {
                    Interlocked.Increment(ref wrong);
                    var told = exception.ToString();
                    Assert.Contains("ConnectionStrings:kafka", told, StringComparison.Ordinal);
                    Assert.DoesNotContain("zq", told, StringComparison.OrdinalIgnoreCase);
                    Assert.DoesNotContain("ж", told, StringComparison.OrdinalIgnoreCase);
                    Assert.DoesNotContain("servicebus.windows.net/", told, StringComparison.Ordinal);
                }
            },
            iter: 500);

        // Otherwise the test could not detect them.
        Assert.InRange(wrong, 100, 500);
    }
}
