using Cache.Service.Options;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;

namespace Cache.Tests.Options;

/// <summary>The keys of the schema registry.</summary>
public sealed class SchemaRegistrySettingsTests
{
    private const string Secret = "S3cret";

    [Fact]
    public void Registry_IsOff_UnlessItHasAnAddress()
    {
        var options = Read();
        Assert.Equal(("", "", ""), (options.SchemaRegistryUrl, options.SchemaRegistryUser, options.SchemaRegistryPassword));
        Assert.Equal("", Read(("schema_registry_url", "")).SchemaRegistryUrl);
    }

    [Fact]
    public void Addresses_AndCredentials_AreRead()
    {
        var options = Read(("SCHEMA_REGISTRY_URL", "http://a:8081, https://b/registry"), ("schema_registry_user", "u"), ("schema_registry_password", "p:w@,/"));
        Assert.Equal(("http://a:8081,https://b/registry", "u", "p:w@,/"), (options.SchemaRegistryUrl, options.SchemaRegistryUser, options.SchemaRegistryPassword));
    }

    [Theory]
    [InlineData("registry:8081")]
    [InlineData("registry")]
    [InlineData("ftp://registry")]
    [InlineData("http://")]
    [InlineData("http://a:99999")]
    [InlineData("http://u:S3cret@registry:8081")]
    [InlineData("http://a,http://S3cret@registry:8081")]
    [InlineData("http://registry:8081?key=S3cret")]
    [InlineData("http://registry:8081/#S3cret")]
    public void Address_ThatCannotBeUsed_IsRefused_AndNotRepeated(string url)
    {
        var error = Assert.Single(Errors(("schema_registry_url", url)));
        Assert.StartsWith("schema_registry_url: address ", error, StringComparison.Ordinal);
        Assert.Contains("schema_registry_user", error, StringComparison.Ordinal);
        Assert.DoesNotContain(Secret, error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("schema_registry_user", "schema_registry_password")]
    [InlineData("schema_registry_password", "schema_registry_user")]
    public void OneCredentialAlone_IsRefused_AndNotRepeated(string set, string missing)
    {
        var error = Assert.Single(Errors(("schema_registry_url", "http://a"), (set, Secret)));
        Assert.StartsWith($"{set} is set, but {missing} is not", error, StringComparison.Ordinal);
        Assert.DoesNotContain(Secret, error, StringComparison.Ordinal);
    }

    [Fact]
    public void CredentialsWithoutAnAddress_AreRefused() =>
        Assert.StartsWith("schema_registry_user is set, but schema_registry_url is not", Assert.Single(Errors(("schema_registry_user", "u"), ("schema_registry_password", Secret))), StringComparison.Ordinal);

    [Fact]
    public void UserWithAColon_IsRefused_AndNotRepeated()
    {
        var error = Assert.Single(Errors(("schema_registry_url", "http://a"), ("schema_registry_user", "u:" + Secret), ("schema_registry_password", "p")));
        Assert.StartsWith("schema_registry_user cannot be used", error, StringComparison.Ordinal);
        Assert.DoesNotContain(Secret, error, StringComparison.Ordinal);
    }

    private static CacheOptions Read(params (string Key, string Value)[] settings) =>
        CacheOptionsReader.Read((IConfigurationRoot)new ConfigurationBuilder().AddInMemoryCollection(settings.Select(setting => KeyValuePair.Create(setting.Key, (string?)setting.Value))).Build());

    private static IReadOnlyList<string> Errors(params (string Key, string Value)[] settings) => Assert.Throws<ConfigurationException>(() => Read(settings)).Errors;
}
