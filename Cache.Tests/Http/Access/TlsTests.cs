using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Cache.Tests.EndToEnd;
using static Cache.Tests.EndToEnd.Rows;

namespace Cache.Tests.Http.Access;

/// <summary>Redis over TLS, configured only through the connection string.</summary>
public sealed class TlsTests : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("tls-");

    public void Dispose() => _folder.Delete(recursive: true);

    [Fact]
    public async Task RedisOverTls_WithATrustedCertificate_StoresAndServesWindows()
    {
        await using var redis = await StartRedisAsync();
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString);
        await using var service = await ServiceProcess.StartAsync(stack.Settings, ("SSL_CERT_FILE", Certificate));

        await stack.Kafka.SendAsync(Events, 0, Event(Window(1), "a", 1));

        await Eventually.HoldsAsync(async () => Assert.Contains("\"a.count\":1", await service.Http.GetStringAsync("/metrics/event/latest")));
        Assert.Contains("\"redis\":true", await service.Http.GetStringAsync("/healthz"));
    }

    [Fact]
    public async Task RedisOverTls_WithAnUntrustedCertificate_IsNotUsed()
    {
        await using var redis = await StartRedisAsync();
        await using var stack = await InProcessStack.PrepareAsync(redis.ConnectionString);
        await using var service = await ServiceProcess.StartAsync(stack.Settings);

        await Eventually.HoldsAsync(() => Assert.Contains("Waiting for Redis", service.Output));
        Assert.Equal(HttpStatusCode.ServiceUnavailable, (await service.Http.GetAsync("/healthz")).StatusCode);
        Assert.DoesNotContain("pa55word", service.Output + service.Errors);
    }

    private string Certificate => Path.Combine(_folder.FullName, "cert.pem");

    private async Task<RedisServer> StartRedisAsync()
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=127.0.0.1", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, false, 0, critical: true));
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        var keyFile = Path.Combine(_folder.FullName, "key.pem");
        await File.WriteAllTextAsync(Certificate, certificate.ExportCertificatePem());
        await File.WriteAllTextAsync(keyFile, key.ExportPkcs8PrivateKeyPem());
        return await RedisServer.StartAsync(
            "pa55word", "--tls-cert-file", Certificate, "--tls-key-file", keyFile, "--tls-ca-cert-file", Certificate, "--tls-auth-clients", "no");
    }
}
