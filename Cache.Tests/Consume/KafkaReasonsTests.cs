using System.Buffers.Binary;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Cache.Embedded;
using Cache.Service.Consume;
using Cache.Tests.EndToEnd;
using Confluent.Kafka;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Consume;

/// <summary>If nothing is consumed, the log and <c>/readyz</c> give the real reason.</summary>
public sealed class KafkaReasonsTests
{
    [Fact]
    public async Task TopicThatABootingBrokerDoesNotKnowYet_IsNotReadFromItsBeginning()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("cache_consume_from", "latest"));
        await stack.Kafka.SendAsync(Events, 0, Enumerable.Range(0, 50).Select(minute => Event(Window(minute), "before", 1)));
        stack.Broker.SetTopicError(Events, ErrorCode.UnknownTopicOrPart);
        stack.Broker.SetTopicError(Performance, ErrorCode.UnknownTopicOrPart);
        await stack.StartServiceAsync();

        // Without a request: on a busy machine its answer may take longer than the 5 s after which a topic counts as missing.
        var topics = stack.Service.Get<Topics>();
        Assert.True(SpinWait.SpinUntil(() => topics.WaitsFor.Contains(Events, StringComparison.Ordinal), Eventually.TestTimeout));

        stack.Broker.SetTopicError(Events, ErrorCode.NoError);
        stack.Broker.SetTopicError(Performance, ErrorCode.NoError);
        await stack.Kafka.SendAsync(Performance, 0, Load(Window(1), "made just now", 1));
        await stack.EverythingIsCommittedAsync();

        await stack.AnswersAsync("/metrics/event/latest", "{}");
        await stack.AnswersAsync("/metrics/performance/latest", $$"""{"window_start":{{Window(1)}},"made just now.avg_load_time":1}""");
        Assert.DoesNotContain(stack.Service.Log, line => line.Contains("does not exist", StringComparison.Ordinal));
        await stack.Kafka.SendAsync(Events, 0, Event(Window(90), "after", 1));
        await stack.EventuallyAnswersAsync("/metrics/event/windows", $$"""{"windows":[{"window_start":{{Window(90)}},"after.count":1}]}""");
    }

    [Fact]
    public async Task TopicsThatDoNotExist_AreNamed()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("Kafka:topic.metadata.refresh.interval.ms", "2000"));
        stack.Broker.SetTopicError(Events, ErrorCode.UnknownTopicOrPart);
        stack.Broker.SetTopicError(Performance, ErrorCode.UnknownTopicOrPart);
        await stack.StartServiceAsync();
        await ReadyzSaysAsync(stack, "no partitions assigned: the topic event_metrics does not exist yet; the topic performance_metrics does not exist yet");

        stack.Broker.SetTopicError(Events, ErrorCode.NoError);
        stack.Broker.SetTopicError(Performance, ErrorCode.NoError);
        await stack.ReadyAsync();
    }

    [Fact]
    public async Task MissingAclOfATopic_IsNamedAtOnce()
    {
        await using var stack = await InProcessStack.PrepareAsync(null, ("Kafka:topic.metadata.refresh.interval.ms", "2000"));
        stack.Broker.SetTopicError(Events, ErrorCode.TopicAuthorizationFailed);
        stack.Broker.SetTopicError(Performance, ErrorCode.TopicAuthorizationFailed);
        await stack.StartServiceAsync();
        await ReadyzSaysAsync(stack, "Kafka refuses the topic event_metrics: the client's user needs the ACL Read and Describe on it; Kafka refuses the topic performance_metrics");
        Assert.Contains(stack.Service.Log, line => line.Contains("Kafka refuses the topic performance_metrics", StringComparison.Ordinal));
        Assert.DoesNotContain(stack.Service.Log, line => line.Contains("does not exist", StringComparison.Ordinal));

        stack.Broker.SetTopicError(Events, ErrorCode.NoError);
        stack.Broker.SetTopicError(Performance, ErrorCode.NoError);
        await stack.ReadyAsync();
    }

    [Fact]
    public async Task MissingAclOfTheGroup_IsNamed()
    {
        await using var stack = await InProcessStack.PrepareAsync();
        stack.Broker.PushRequestErrors(KafkaRequest.JoinGroup, [.. Enumerable.Repeat(ErrorCode.GroupAuthorizationFailed, 10_000)]);
        await stack.StartServiceAsync();
        await ReadyzSaysAsync(stack, "Kafka refuses the consumer group cache-tests: the client's user needs the ACL Read on it");

        stack.Broker.ClearRequestErrors(KafkaRequest.JoinGroup);
        await stack.ReadyAsync();
    }

    [Fact]
    public async Task WrongPassword_IsNamed()
    {
        using var broker = new Listener(RefusePasswordAsync);
        await using var stack = await StartAsync(
            broker, ("Kafka:security.protocol", "sasl_plaintext"), ("Kafka:sasl.mechanism", "PLAIN"), ("Kafka:sasl.username", "cache"), ("Kafka:sasl.password", "pa55word"));

        await ReasonIsSaidAsync(stack, "Invalid username or password", "Kafka:sasl.password");
        Assert.DoesNotContain(stack.Service.Log, line => line.Contains("pa55word", StringComparison.Ordinal));
    }

    [Fact]
    public async Task UntrustedCertificate_IsNamed()
    {
        using var certificate = Certificate();
        using var broker = new Listener(stream => SpeakTlsAsync(stream, certificate));
        await using var stack = await StartAsync(broker, ("Kafka:security.protocol", "ssl"));
        await ReasonIsSaidAsync(stack, "certificate", "Kafka:ssl.ca.location");
    }

    [Fact]
    public async Task PlaintextToATlsPort_IsNamed()
    {
        using var certificate = Certificate();
        using var broker = new Listener(stream => SpeakTlsAsync(stream, certificate));
        await using var stack = await StartAsync(broker);
        await ReasonIsSaidAsync(stack, "security.protocol", "Kafka:security.protocol");
    }

    private static async Task<InProcessStack> StartAsync(Listener broker, params (string Key, string Value)[] settings)
    {
        var stack = await InProcessStack.PrepareAsync(null, settings);
        stack.Set("ConnectionStrings:kafka", $"127.0.0.1:{broker.Port}");
        await stack.StartServiceAsync();
        return stack;
    }

    private static async Task ReasonIsSaidAsync(InProcessStack stack, string reason, string advice)
    {
        await ReadyzSaysAsync(stack, reason);
        await Eventually.HoldsAsync(() => Assert.Contains(
            stack.Service.Log, line => line.Contains("Waiting for Kafka", StringComparison.Ordinal) && line.Contains(reason, StringComparison.Ordinal) && line.Contains(advice, StringComparison.Ordinal)));
    }

    private static Task ReadyzSaysAsync(InProcessStack stack, string reason) =>
        Eventually.HoldsAsync(async () => Assert.Contains(reason, WebUtility.HtmlDecode((await stack.AskAsync("/readyz")).Body).Replace("\\u0027", "'", StringComparison.Ordinal), StringComparison.Ordinal));

    private static async Task SpeakTlsAsync(NetworkStream stream, X509Certificate2 certificate)
    {
        await using var tls = new SslStream(stream);
        await tls.AuthenticateAsServerAsync(certificate);
        await tls.CopyToAsync(Stream.Null);
    }

    /// <summary>Speaks just enough of Kafka's protocol to reject a password.</summary>
    private static async Task RefusePasswordAsync(NetworkStream stream)
    {
        var size = new byte[4];
        while (true)
        {
            await stream.ReadExactlyAsync(size);
            var request = new byte[BinaryPrimitives.ReadInt32BigEndian(size)];
            await stream.ReadExactlyAsync(request);
            var (api, version) = (BinaryPrimitives.ReadInt16BigEndian(request), BinaryPrimitives.ReadInt16BigEndian(request.AsSpan(2)));
            byte[] body = api switch
            {
                // ApiVersions: offers version 0 of SaslHandshake, ApiVersions and SaslAuthenticate.
                18 => [.. Short(version == 0 ? 0 : 35), .. Int(3), .. Short(17), .. Short(0), .. Short(1), .. Short(18), .. Short(0), .. Short(0), .. Short(36), .. Short(0), .. Short(0)],
                17 => [.. Short(0), .. Int(1), .. Text("PLAIN")],
                _ => [.. Short(58), .. Text("Authentication failed: Invalid username or password"), .. Int(0)],
            };
            byte[] answer = [.. request[4..8], .. body];
            await stream.WriteAsync((byte[])[.. Int(answer.Length), .. answer]);
        }

        static byte[] Short(int value) => [(byte)(value >> 8), (byte)value];

        static byte[] Int(int value) => [.. Short(value >> 16), .. Short(value)];

        static byte[] Text(string value) => [.. Short(value.Length), .. Encoding.ASCII.GetBytes(value)];
    }

    private static X509Certificate2 Certificate()
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        var now = TimeProvider.System.GetUtcNow();
        using var certificate = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
        return X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null);
    }

    /// <summary>Serves each connection until its client disconnects.</summary>
    private sealed class Listener : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);

        public Listener(Func<NetworkStream, Task> serve)
        {
            _listener.Start();
            Port = ((IPEndPoint)_listener.LocalEndpoint).Port;
            _ = AcceptAsync(serve);
        }

        public int Port { get; }

        public void Dispose() => _listener.Dispose();

        private async Task AcceptAsync(Func<NetworkStream, Task> serve)
        {
            while (true)
            {
                TcpClient client;
                try
                {
                    client = await _listener.AcceptTcpClientAsync();
                }
                catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
                {
                    return;
                }

                _ = ServeAsync(client, serve);
            }
        }

        private static async Task ServeAsync(TcpClient client, Func<NetworkStream, Task> serve)
        {
            using (client)
            {
                try
                {
                    await serve(client.GetStream());
                }
                catch (Exception exception) when (exception is IOException or System.Security.Authentication.AuthenticationException or ObjectDisposedException)
                {
                    // The client has disconnected, or does not speak TLS.
                }
            }
        }
    }
}
