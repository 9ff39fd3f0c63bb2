using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using StackExchange.Redis;

namespace Cache.Tests.ServiceDefaults;

/// <summary>What the service relies on in Aspire's Redis integration.</summary>
public sealed class RedisClientTests
{
    private const string Section = "Aspire:StackExchange:Redis";

    [Fact]
    public void Settings_TakeTheLaterOf_Section_NamedSection_ConnectionString()
    {
        var builder = Hosts.Builder(
            ($"{Section}:ConnectionString", "section:1"),
            ($"{Section}:DisableTracing", "true"),
            ($"{Section}:DisableHealthChecks", "true"),
            ($"{Section}:redis:ConnectionString", "named:1"),
            ($"{Section}:redis:DisableTracing", "false"),
            ("ConnectionStrings:redis", "string:1"));

        builder.AddRedisClient("redis", settings =>
        {
            Assert.Equal("string:1", settings.ConnectionString);
            Assert.False(settings.DisableTracing);
            Assert.True(settings.DisableHealthChecks);
            Assert.True(settings.DisableAutoActivation);
        });
    }

    [Fact]
    public void Options_KeepThePassword_AndDoNotAbort()
    {
        var options = Options(("ConnectionStrings:redis", "localhost:1,password=p4$$=w{o}r*d-!ä\\,ssl=true"));

        Assert.Equal("p4$$=w{o}r*d-!ä\\", options.Password);
        Assert.True(options.Ssl);
        Assert.False(options.AbortOnConnectFail);
    }

    [Fact]
    public void Options_WithAbortConnect_Abort() =>
        Assert.True(Options(("ConnectionStrings:redis", "localhost:1,abortConnect=true")).AbortOnConnectFail);

    [Fact]
    public void Options_TakeTheLaterOf_ConnectionString_Section_NamedSection_Delegate()
    {
        var options = Options(
            ("ConnectionStrings:redis", "localhost:1,connectTimeout=1,syncTimeout=1,asyncTimeout=1,connectRetry=1"),
            ($"{Section}:ConfigurationOptions:SyncTimeout", "2"),
            ($"{Section}:ConfigurationOptions:AsyncTimeout", "2"),
            ($"{Section}:redis:ConfigurationOptions:AsyncTimeout", "3"));

        Assert.Equal((1, 2, 3), (options.ConnectTimeout, options.SyncTimeout, options.AsyncTimeout));
    }

    [Fact]
    public void WithoutConnectionString_NamesTheKey()
    {
        var builder = Hosts.Builder();
        builder.AddRedisClient("redis");
        using var host = builder.Build();

        var error = Assert.Throws<InvalidOperationException>(host.Services.GetRequiredService<IConnectionMultiplexer>);
        Assert.Contains("ConnectionStrings:redis", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Client_WithPassword_ReadsAndWrites()
    {
        await using var server = await RedisServer.StartAsync("s3cret-Pa55word!{}()");
        var builder = Hosts.Builder(("ConnectionStrings:redis", server.ConnectionString));
        builder.AddRedisClient("redis");
        using var host = builder.Build();

        var database = host.Services.GetRequiredService<IConnectionMultiplexer>().GetDatabase();
        await database.StringSetAsync("key", "value");
        Assert.Equal("value", await database.StringGetAsync("key"));
    }

    [Fact]
    public async Task Client_WithTlsAndPassword_ReadsAndWrites()
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        var folder = Directory.CreateTempSubdirectory();
        var (certificateFile, keyFile) = (Path.Combine(folder.FullName, "cert.pem"), Path.Combine(folder.FullName, "key.pem"));
        await File.WriteAllTextAsync(certificateFile, certificate.ExportCertificatePem());
        await File.WriteAllTextAsync(keyFile, key.ExportPkcs8PrivateKeyPem());
        await using var server = await RedisServer.StartAsync(
            "pa55word", "--tls-cert-file", certificateFile, "--tls-key-file", keyFile, "--tls-auth-clients", "no",
            "--tls-ca-cert-file", certificateFile);

        var builder = Hosts.Builder(("ConnectionStrings:redis", server.ConnectionString));
        builder.AddRedisClient("redis", configureOptions: options => options.CertificateValidation +=
            (_, shown, _, _) => shown?.GetCertHashString() == certificate.GetCertHashString());
        using var host = builder.Build();

        var database = host.Services.GetRequiredService<IConnectionMultiplexer>().GetDatabase();
        await database.StringSetAsync("key", "value");
        Assert.Equal("value", await database.StringGetAsync("key"));
        folder.Delete(recursive: true);
    }

    // The delegate sees the options last; throwing saves the test from waiting for a connection.
    private static ConfigurationOptions Options(params (string, string?)[] configuration)
    {
        ConfigurationOptions? seen = null;
        var builder = Hosts.Builder(configuration);
        builder.AddRedisClient("redis", configureOptions: options =>
        {
            seen = options.Clone();
            throw new OperationCanceledException();
        });
        using var host = builder.Build();
        Assert.Throws<OperationCanceledException>(host.Services.GetRequiredService<IConnectionMultiplexer>);
        return seen!;
    }
}
