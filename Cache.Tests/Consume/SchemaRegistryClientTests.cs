using Avro;
using Cache.Service.Consume;
using Cache.Service.Decode;
using Cache.Service.Options;
using Cache.Tests.Decode;
using Cache.Tests.EndToEnd;

namespace Cache.Tests.Consume;

/// <summary>What the answers of a registry mean.</summary>
public sealed class SchemaRegistryClientTests
{
    private const string Secret = "S3cret-0123456789";

    [Fact]
    public async Task Schemas_AreReadByTheirType()
    {
        await using var registry = await FakeSchemaRegistry.StartAsync();
        registry.Add(1, AvroRows.Events);
        registry.Add(2, AvroRows.Events, "AVRO");
        registry.Add(3, """{"type":"object"}""", "JSON");
        registry.Add(4, """syntax = "proto3"; message M {}""", "PROTOBUF");
        registry.Add(5, "<xs:schema/>", "XML");
        registry.Add(6, """{"type":"record"}""");
        registry.Add(7, "not even JSON");
        registry.Add(9, """{"type":"record","name":"R","fields":[{"name":"id","type":{"type":"fixed","name":"U","size":16,"logicalType":"uuid"}}]}""");
        using var client = Client(registry.Url);

        Assert.Equal("shop.EventMetrics", (await client.FetchAsync(1)).Avro!.Fullname);
        Assert.NotNull((await client.FetchAsync(2)).Avro);
        Assert.Same(RowSchema.Json, await client.FetchAsync(3));
        Assert.Same(RowSchema.Unsupported, await client.FetchAsync(4));
        Assert.Same(RowSchema.Unsupported, await client.FetchAsync(5));
        Assert.Same(RowSchema.Unsupported, await client.FetchAsync(6));
        Assert.Same(RowSchema.Unsupported, await client.FetchAsync(7));
        Assert.Same(RowSchema.Unknown, await client.FetchAsync(8));
        Assert.NotNull((await client.FetchAsync(9)).Avro);
    }

    [Fact]
    public async Task UnknownSchema_IsAskedForAgain_EachTime()
    {
        await using var registry = await FakeSchemaRegistry.StartAsync();
        using var client = Client(registry.Url);
        Assert.Same(RowSchema.Unknown, await client.FetchAsync(1));

        registry.Add(1, AvroRows.Events);

        Assert.NotNull((await client.FetchAsync(1)).Avro);
    }

    [Fact]
    public async Task References_AreFetchedToo()
    {
        await using var registry = await FakeSchemaRegistry.StartAsync();
        registry.Add("type", """{"type":"enum","name":"shop.Type","symbols":["click"]}""");
        registry.Add("money", """{"type":"record","name":"shop.Money","fields":[{"name":"of","type":"shop.Type"}]}""", ("shop.Type", "type"));
        registry.Add(1, """{"type":"record","name":"R","fields":[{"name":"a","type":"shop.Type"},{"name":"b","type":"shop.Money"}]}""", null, ("shop.Money", "money"), ("shop.Type", "type"));
        registry.Add(2, """{"type":"record","name":"R","fields":[{"name":"a","type":"shop.Gone"}]}""", null, ("shop.Gone", "gone"));
        using var client = Client(registry.Url);

        Assert.Equal(["shop.Type", "shop.Money"], ((RecordSchema)(await client.FetchAsync(1)).Avro!).Fields.Select(field => field.Schema.Fullname));
        Assert.Same(RowSchema.Unknown, await client.FetchAsync(2));
    }

    [Theory]
    [InlineData(500, """{"error_code":50001,"message":"broken store"}""", "broken store")]
    [InlineData(503, "", "503")]
    [InlineData(401, """{"error_code":40101,"message":"User cannot access the resource"}""", "schema_registry_password")]
    [InlineData(401, "<html>", "schema_registry_password")]
    [InlineData(403, """{"error_code":40301,"message":"denied"}""", "schema_registry_password")]
    [InlineData(404, """{"error_code":404,"message":"HTTP 404 Not Found"}""", "schema_registry_url")]
    [InlineData(404, "<html>no such page</html>", "schema_registry_url")]
    [InlineData(200, "<html>welcome</html>", "schema_registry_url")]
    [InlineData(200, "{}", "schema_registry_url")]
    [InlineData(418, "", "418")]
    public async Task AnswerThatIsNotARegistrys_SaysNothingOfTheSchema(int status, string body, string says)
    {
        await using var registry = await FakeSchemaRegistry.StartAsync();
        registry.Failure = (status, body);
        using var client = Client(registry.Url);

        var error = await Assert.ThrowsAsync<IOException>(() => client.FetchAsync(1));

        Assert.Contains(says, error.Message, StringComparison.Ordinal);
        Assert.DoesNotContain(Secret, error.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task RegistryThatIsDown_IsNoAnswer_AndAnotherAddressIsTried()
    {
        var (down, _) = await FakeSchemaRegistry.DownAsync();
        using (var client = Client(down))
        {
            Assert.Contains("refused", (await Assert.ThrowsAsync<IOException>(() => client.FetchAsync(1))).Message, StringComparison.OrdinalIgnoreCase);
        }

        await using var registry = await FakeSchemaRegistry.StartAsync();
        registry.Add(1, AvroRows.Events);
        using var both = Client($"{down},{registry.Url}");
        Assert.NotNull((await both.FetchAsync(1)).Avro);
        Assert.Equal($"/schemas/ids/1 Basic {Convert.ToBase64String(System.Text.Encoding.UTF8.GetBytes($"cache:{Secret}"))}", Assert.Single(registry.Requests));
    }

    private static SchemaClient Client(string url) => new(new CacheOptions { SchemaRegistryUrl = url, SchemaRegistryUser = "cache", SchemaRegistryPassword = Secret });
}
