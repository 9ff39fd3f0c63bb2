using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Cache.Service.Options;
using Cache.Tests.EndToEnd;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Cache.Tests.Options;

/// <summary>Each configuration key with many values, through the check that <c>Program</c> runs before anything starts.</summary>
public sealed class StartCheckTests
{
    private const int Rounds = 50;

    // Stands for a password, in every value that may contain one.
    private const string Mark = "S3cr3t";

    private static readonly string[] Topics = ["event_metrics", "performance_metrics", "session_metrics"];

    private static readonly string[] Numbers = ["", " ", "x", "1.5", "1e3", "0x10", "NaN", "1_000", "--1", "٣", "12 34", "99999999999999999999", "tcp://10.0.0.1", "6379,password=" + Mark, "u:" + Mark + "@h"];

    private static readonly Dictionary<string, (Func<Random, string> Bad, Func<Random, string> Good)> Keys = new()
    {
        ["redis_port"] = Number(1, 65535),
        ["redis_db"] = Number(0, 1_000_000),
        ["window_retention_count"] = Number(1, 1_000_000),
        ["window_hash_ttl_seconds"] = Number(1, int.MaxValue),
        ["window_max_dimensions"] = Number(1, 1_000_000),
        ["window_max_future_seconds"] = Number(0, int.MaxValue),
        ["active_session_ttl_seconds"] = Number(1, int.MaxValue),
        ["kafka_consume_batches"] = (random => Pick(random, "", "yes", "1", "on", "truee"), random => Pick(random, "true", "False")),
        ["kafka_commit_batch_size"] = Number(1, int.MaxValue),
        ["kafka_consume_pace_ms"] = Number(0, 1000),
        ["kafka_commit_interval_ms"] = Number(10, 3_600_000),
        ["redis_write_batch_size"] = Number(1, 100_000),
        ["redis_queue_max_size"] = Number(2, 10_000_000),
        ["ready_lag_threshold"] = Number(0, long.MaxValue),
        ["redis_rebuild_lookback_seconds"] = Number(1, int.MaxValue),
        ["rate_limit_per_second"] = Number(0, 1_000_000),
        ["rate_limit_burst"] = Number(0, 1_000_000),
        ["http_max_connections"] = Number(1, 1_000_000),
        ["stream_max_clients"] = Number(0, 1_000_000),
        ["stream_max_clients_per_client"] = Number(1, 1_000_000),
        ["Kafka:session.timeout.ms"] = (random => Pick(random, "", "1.5", "10s", "many", "-1", "0", "99999999", "0x10"), random => Text(random.Next(1, 300_000))),
        ["Kafka:enable.metrics.push"] = (random => Pick(random, "", "yes", "on", "2", "no", "truee"), random => Pick(random, "true", "False", "1", "0")),
        ["Kafka:security.protocol"] = (random => Pick(random, "tls", "carrier_pigeon", "sasl", ""), random => Pick(random, "plaintext", "PLAINTEXT", "ssl")),
        ["kafka_bootstrap_servers"] = (BadServers, random => string.Join(Pick(random, ",", ", "), Some(random, "a:1", "b", "[::1]:9092", "SASL_SSL://c:9093", "d-e.f_g:65535"))),
        ["ConnectionStrings:kafka"] = (
            random => Pick(random, BadServers(random), $"BootstrapServers=a:1;SaslPasword={Mark}", $"BootstrapServers=a:1;SaslPassword=\"{Mark}", $"SaslPassword={Mark}", $"BootstrapServers=a:1;SessionTimeoutMs={Mark}", $"Endpoint=sb://n.servicebus.windows.net/;SharedAccessKeyName=k;SharedAccessKey={Mark}="),
            random => Pick(random, "a:1,b:2", $"BootstrapServers=a:1;SaslUsername=u;SaslPassword={Hex(random)}", "bootstrap.servers=a:1;client.id=me")),
        ["cache_kafka_topics"] = (
            random => Pick(random, "", "[]", ",", "[\"event_metrics\"", "[1]", "us-east.event_metrics", "Event_Metrics", "event_metrics,other", "event metrics", Hex(random), ".."),
            random => Pick(random, string.Join(',', Some(random, Topics)), $"[\"{string.Join("\",\"", Some(random, Topics))}\"]", $"[{string.Join(", ", Some(random, Topics))}]")),
        ["metric_types"] = (
            random => Pick(random, "x", "{}", "7", "[1]", "[{}]", "[", """[{"name":"event"}]""", DrawnTypes.Json(DrawnTypes.Draw(random, 0)), $"[{DrawnTypes.Json(DrawnTypes.Draw(random, 0))},{DrawnTypes.Json(DrawnTypes.Draw(random, 0))}]",
                $"[{DrawnTypes.Json(DrawnTypes.Draw(random, 0)).Replace("\"measures\"", "\"measure\"", StringComparison.Ordinal)}]"),
            random => Pick(random, "", "[]", $"[{DrawnTypes.Json(DrawnTypes.Draw(random, 0))}]", $"[{DrawnTypes.Json(DrawnTypes.Draw(random, 0))},{DrawnTypes.Json(DrawnTypes.Draw(random, 1))}]")),
        ["session_time_unit"] = (random => Pick(random, "", "min", "MS", "seconds", "1"), random => Pick(random, "ms", "s", "us")),
        ["cache_dead_letter_topic"] = (random => Pick(random, "dead/letters", "a b", "..", "event_metrics", "performance_metrics", new string('x', 250), "ü"), random => Pick(random, "", "letters", "a.b-c_d", Hex(random))),
        ["cache_kafka_consumer_group"] = (random => Pick(random, "", " ", "   "), random => Pick(random, "cache", "my group", Hex(random))),
        ["cache_consume_from"] = (random => Pick(random, "", "yesterday", "6", "6 h", "h", "0m", "-1h", "1.5h", "100001d", "latest,earliest"), random => Pick(random, "latest", "EARLIEST", $"{random.Next(1, 100_000)}{Pick(random, "s", "m", "h", "D")}")),
        ["redis_host"] = (
            random => Pick(random, "", " ", "a b", "127.0.0.1:6379", "a,b", "h,bogus=1", $"redis://:{Mark}@h", $"h,password={Mark}", $"u:{Mark}@h", "a/b", "h:", "ü"),
            random => Pick(random, "redis", "10.0.0.7", "::1", "[::1]", "a-b.c_d", "h" + Hex(random))),
        ["ConnectionStrings:redis"] = (
            random => Pick(random, "", ",", $",password={Mark}", $"h,password={Mark},bogus=1", $"redis://:{Mark},1@h", $"redis://u:{Mark}@h:99999", $"redis://:{Mark}@h/{Hex(random)}x", $"rediss://:{Mark}@", $"redis://{Mark}@h", $"redis://h?password={Mark}",
                $"http://:{Mark}@h", $"h:99999,password={Mark}", $"h h,password={Mark}", $"h,connectTimeout={Mark}", $"h,defaultDatabase=-3,password={Mark}", $"Endpoint=sb://h/;SharedAccessKey={Mark}="),
            random => Pick(random, "h", "h:1,i:2", $"h,password={Hex(random)},ssl=true", "[::1]:6379,abortConnect=true", "!/tmp/r.sock", $"redis://:{Hex(random)}@h:6380/{random.Next(16)}", $"rediss://u:{Hex(random)}%40%3D@h", "h,serviceName=mine")),
        ["redis_key_prefix"] = (null!, random => Pick(random, "", "team:", "ü ", Hex(random))),
        ["schema_registry_url"] = (
            random => Pick(random, "registry:8081", "ftp://registry", "http://", $"http://u:{Mark}@registry", $"https://registry?k={Mark}", $"http://a,http://{Mark}@b", "http://a:99999"),
            random => Pick(random, "", "http://registry:8081", "https://a,https://b:8081/path", "[\"http://a\"]")),
        ["api_keys"] = (
            random => Pick(random, "", "[]", " , ", ",", "[\"\"]", Mark, $"[\"{Mark}", $"{Mark} with blanks 0123456789", $"{Mark}-schlüssel-0123456789", $"0123456789abcdef,{Mark}", $"[\"{Mark}0123456789abc\",1]"),
            random => Pick(random, Hex(random), $"{Hex(random)},{Hex(random)}", $"[\"{Hex(random)}\"]", $"[{Hex(random)}, {Hex(random)}]")),
        ["cors_origins"] = (
            random => Pick(random, "example.com", $"https://u:{Mark}@h", $"https://h/?k={Mark}", "https://h/", "ftp://h", $"[\"https://u:{Mark}@h\"", "https://", "null", $"*,https://{Mark}@h"),
            random => Pick(random, "*", "", "https://h", "http://localhost:3000,https://h", "[\"https://h\"]")),
        ["urls"] = (
            random => Pick(random, ";", "nowhere", "http://", $"http://h:{random.Next(65536, 999999)}", "http://h:-1", "http://h:x", "ftp://h:1", "http://h/p", "http://h:1,http://i:1", $"http://u:{Mark}@h", "http://localhost:0", "http://h h:1"),
            random => Pick(random, "", $"http://*:{random.Next(1, 65536)}", "http://127.0.0.1:0;http://[::1]:0", "http://localhost:8080", "http://+:1", "http://unix:/tmp/c.sock", "http://h")),
        ["http_ports"] = (random => Pick(random, "x", "-1", "65536", "http://*:1", "80 81", "1.5", "8080;x"), random => Pick(random, "", "0", "8080", "8080;8081", " 8080 ")),
        ["https_ports"] = (random => Pick(random, "x", "-1", "65536", "8443;x"), random => Pick(random, "", "8443", "8443;9443")),
        ["Kestrel:Endpoints:A:Url"] = (random => Pick(random, "", "nowhere", "http://h:99999", "http://h/p", $"http://u:{Mark}@h"), random => Pick(random, "http://*:0", "http://localhost:8080", "https://*:8443")),
        ["Kestrel:EndpointDefaults:Protocols"] = (random => Pick(random, "", "Http4", "h2", "http/1.1", "17"), random => Pick(random, "Http1", "http2", "Http1AndHttp2")),
        ["AllowedHosts"] = (random => Pick(random, "", ";", "a,b", "http://a", "a:80", "a b", "a..b", "*.*", "a/b", $"u:{Mark}@h"), random => Pick(random, "*", "a", "a;*.b.c", "127.0.0.1;[::1]", "my_host.example")),
        ["Logging:LogLevel:Default"] = (random => Pick(random, "", "Verbose", "99", "-1", "Info", "warn", "Debug;Trace"), random => Pick(random, "Trace", "debug", "INFORMATION", "Warning", "Error", "Critical", "None")),
        ["Logging:Console:LogLevel:System"] = (random => Pick(random, "", "loud", "7"), random => Pick(random, "Trace", "None", "0")),
        ["Logging:Console:FormatterName"] = (random => Pick(random, "", "xml", "Simple "), random => Pick(random, "simple", "Json", "systemd")),
        ["ForwardedHeaders_Enabled"] = (random => Pick(random, "", "1", "yes", "on"), random => Pick(random, "true", "FALSE")),
        ["OTEL_EXPORTER_OTLP_ENDPOINT"] = (random => Pick(random, "collector", "collector:4317", "/v1", $"ftp://u:{Mark}@h"), random => Pick(random, "", "http://h:4317", "https://h/otlp")),
    };

    public static TheoryData<string> AllKeys => [.. Keys.Keys];

    public static TheoryData<string> KeysThatCanBeWrong => [.. Keys.Where(key => key.Value.Bad is not null).Select(key => key.Key)];

    [Theory]
    [MemberData(nameof(AllKeys))]
    public void Value_IsAccepted_OrRejectedWithItsKey(string key)
    {
        var random = new Random(key.Sum(c => c));
        for (var round = 0; round < Rounds; round++)
        {
            CacheOptionsReader.Read(Configured(key, Keys[key].Good(random)));
            if (Keys[key].Bad is not { } bad)
            {
                continue;
            }

            var value = bad(random);
            Exception? thrown = null;
            try
            {
                CacheOptionsReader.Read(Configured(key, value));
            }
            catch (ConfigurationException exception)
            {
                thrown = exception;
                Assert.All(exception.Errors, error => Assert.StartsWith(key.Split(":0")[0], error, StringComparison.OrdinalIgnoreCase));
                AssertBlock(exception.Message, key);
            }

            Assert.True(thrown is not null, $"{key} took '{value}'.");
        }
    }

    /// <summary>All keys at once.</summary>
    [Fact]
    public async Task InvalidValues_EndTheProcessWithExitCodeOne_AndOneBlockOfErrors()
    {
        var random = new Random(1);
        var settings = Keys.Where(key => key.Value.Bad is not null && !key.Key.StartsWith("ConnectionStrings", StringComparison.Ordinal))
            .Select(key => KeyValuePair.Create(key.Key, key.Value.Bad(random))).ToList();

        var errors = await RefusedAsync(settings, "");

        Assert.All(settings, setting => Assert.Contains(setting.Key, errors, StringComparison.OrdinalIgnoreCase));
    }

    [Theory]
    [Trait("Category", "Long")]
    [MemberData(nameof(KeysThatCanBeWrong))]
    public async Task InvalidValue_EndsTheProcessWithExitCodeOne_AndOneBlockOfErrors(string key) =>
        await RefusedAsync([new(key, Keys[key].Bad(new Random(2)))], key);

    /// <summary>Errors that only a component can find: Kestrel in its certificate, the host in its files and its command line.</summary>
    [Theory]
    [InlineData("Kestrel: there is no certificate for an https:// address. Set Kestrel:Certificates:Default:Path", "--urls", "https://127.0.0.1:0")]
    [InlineData("Kestrel: a certificate cannot be read", "--Kestrel:Endpoints:A:Url", "https://127.0.0.1:0", "--Kestrel:Endpoints:A:Certificate:Path", "appsettings.json")]
    [InlineData("-password: no such option", "-password=" + Mark)]
    [InlineData("--port: no such option; did you mean --health_port, --http_ports, --https_ports or --redis_port?", "--port", Mark)]
    [InlineData("Aspire:Confluent:Kafka:Consumer:Config:SessionTimeoutMs", "--Aspire:Confluent:Kafka:Consumer:Config:SessionTimeoutMs", "soon")]
    public async Task ErrorsThatOnlyTheComponentsFind_EndTheProcessWithExitCodeOne(string expected, params string[] arguments)
    {
        await using var service = ServiceProcess.Run(["--ConnectionStrings:redis", "127.0.0.1:9", .. arguments], ("HOME", Path.GetTempPath()), ("DOTNET_CLI_HOME", Path.GetTempPath()));

        Assert.Equal(1, await service.ExitAsync(Eventually.TestTimeout));
        AssertBlock(service.Errors, expected);
        Assert.Empty(service.Output);
    }

    [Fact]
    public async Task ExistingCertificate_IsAccepted()
    {
        var folder = Directory.CreateTempSubdirectory("certificate-");
        try
        {
            using var key = RSA.Create(2048);
            using var certificate = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
                .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
            var (path, keyPath) = (Path.Combine(folder.FullName, "tls.crt"), Path.Combine(folder.FullName, "tls.key"));
            await File.WriteAllTextAsync(path, certificate.ExportCertificatePem(), TestContext.Current.CancellationToken);
            await File.WriteAllTextAsync(keyPath, key.ExportPkcs8PrivateKeyPem(), TestContext.Current.CancellationToken);
            await using var app = Service.Program.Build(
            [
                "--Logging:Console:LogLevel:Default", "None", "--ConnectionStrings:kafka", "127.0.0.1:9", "--ConnectionStrings:redis", "127.0.0.1:9",
                "--Kestrel:Endpoints:A:Url", "https://127.0.0.1:0", "--Kestrel:Endpoints:A:Certificate:Path", path, "--Kestrel:Endpoints:A:Certificate:KeyPath", keyPath,
            ]);
            await app.StartAsync(TestContext.Current.CancellationToken);

            using var handler = new HttpClientHandler { ServerCertificateCustomValidationCallback = (_, shown, _, _) => shown?.Thumbprint == certificate.Thumbprint };
            using var http = new HttpClient(handler);
            using var answer = await http.GetAsync(new Uri($"{app.Urls.Single()}/"), TestContext.Current.CancellationToken);
            Assert.Equal(HttpStatusCode.OK, answer.StatusCode);
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public async Task UnreadableFile_EndsTheProcessWithExitCodeOne_AndIsReported()
    {
        // Read from the program's folder, by the name of the environment.
        var environment = $"Broken{Guid.NewGuid():N}";
        var file = Path.Combine(AppContext.BaseDirectory, $"appsettings.{environment}.json");
        await File.WriteAllTextAsync(file, $$"""{ "api_keys": {{Mark}} }""", TestContext.Current.CancellationToken);
        try
        {
            Assert.Contains("Line", await RefusedAsync([new("environment", environment)], Path.GetFileName(file)), StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static async Task<string> RefusedAsync(IEnumerable<KeyValuePair<string, string>> settings, string key)
    {
        await using var service = ServiceProcess.Launch(settings);

        Assert.Equal(1, await service.ExitAsync(Eventually.TestTimeout));
        AssertBlock(service.Errors, key);
        Assert.Empty(service.Output);
        return service.Errors;
    }

    private static void AssertBlock(string output, string key)
    {
        var lines = output.TrimEnd().Split('\n');
        Assert.Equal("The configuration cannot be used:", lines[0].TrimEnd());
        Assert.All(lines.Skip(1), line => Assert.StartsWith("  - ", line, StringComparison.Ordinal));
        Assert.Contains(key.Split(":0")[0], output, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain(Mark, output, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("   at ", output, StringComparison.Ordinal);
    }

    private static IConfigurationRoot Configured(string key, string value) =>
        new ConfigurationBuilder().AddInMemoryCollection([new(key, value)]).Build();

    private static (Func<Random, string> Bad, Func<Random, string> Good) Number(long least, long most) => (
        random => Pick(random, Pick(random, Numbers), Text(least - 1 - random.Next(10)), most == long.MaxValue ? "9223372036854775808" : Text(most + 1 + random.Next(10))),
        random => Pick(random, Text(random.NextInt64(least, most)), Text(least), $" {Text(most)} ", $"+{Text(most)}"));

    private static string BadServers(Random random) => Pick(
        random, "", " ", "a:0", "a:65536", "a:x", ",", "a b", "a/b", $"u:{Mark}@h", $"SASL_SSL://u:{Mark}@h", $"h:9092,u:{Mark}@h", $"Endpoint=sb://h.servicebus.windows.net/;SharedAccessKey={Mark}=", "a\nb");

    private static string Text(long number) => number.ToString(CultureInfo.InvariantCulture);

    private static string Hex(Random random) => Convert.ToHexStringLower(BitConverter.GetBytes(random.NextInt64(1L << 60, long.MaxValue)));

    private static string Pick(Random random, params string[] values) => values[random.Next(values.Length)];

    private static string[] Some(Random random, params string[] values)
    {
        random.Shuffle(values = [.. values]);
        return values[..random.Next(1, values.Length + 1)];
    }
}
