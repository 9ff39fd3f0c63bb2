using System.Net;
using Cache.Service.Decode;
using Cache.Service.Options;
using Confluent.SchemaRegistry;
using Confluent.SchemaRegistry.Serdes;

namespace Cache.Service.Consume;

/// <summary>Asks the schema registry for schemas, once per call.</summary>
internal sealed class SchemaClient : IDisposable
{
    private const int TimeoutMs = 5000;

    // Subject, version and schema "not found". A 404 with any other code does not come from a registry.
    private static readonly int[] NotFound = [40401, 40402, 40403];

    private readonly CachedSchemaRegistryClient? _client;

    static SchemaClient() => Avro.Util.LogicalTypeFactory.Instance.Register(new AnyUuid());

    /// <summary>Creates a client that connects when it is first asked.</summary>
    public SchemaClient(CacheOptions options)
    {
        if (options.SchemaRegistryUrl.Length == 0)
        {
            return;
        }

        // Retries are the caller's, and so is the cache: what is kept here as well would be the text of each schema.
        var config = new SchemaRegistryConfig
        {
            Url = options.SchemaRegistryUrl,
            RequestTimeoutMs = TimeoutMs,
            MaxRetries = 1,
            RetriesWaitMs = 0,
            MaxCachedSchemas = 1,
        };
        _client = options.SchemaRegistryUser.Length == 0
            ? new(config)
            : new(config, new BasicAuthenticationHeaderValueProvider(options.SchemaRegistryUser, options.SchemaRegistryPassword));
    }

    /// <summary>Fetches a schema, and those that it refers to.</summary>
    /// <returns>The schema; <see cref="RowSchema.Unknown"/> if the registry does not know it.</returns>
    /// <exception cref="IOException">The registry does not answer, or not as one; the message says how.</exception>
    public async Task<RowSchema> FetchAsync(int id)
    {
        try
        {
            var schema = await _client!.GetSchemaAsync(id);
            return await ReadAsync(schema.SchemaString is { Length: > 0 } ? schema : throw new IOException("it answers with something else than a schema; is schema_registry_url right?"));
        }
        catch (SchemaRegistryException exception) when (exception.Status == HttpStatusCode.NotFound && NotFound.Contains(exception.ErrorCode))
        {
            return RowSchema.Unknown;
        }
        catch (Exception exception) when (exception is not IOException)
        {
            throw new IOException(Explain(exception), exception);
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _client?.Dispose();

    private async Task<RowSchema> ReadAsync(Schema schema)
    {
        if (!TryReadType(schema, out var type) || type is not (SchemaType.Avro or SchemaType.Json))
        {
            return RowSchema.Unsupported;
        }

        if (type == SchemaType.Json)
        {
            return RowSchema.Json;
        }

        try
        {
            var names = await AvroUtils.ResolveNamedSchema(schema, _client);
            return new(SchemaFormat.Avro, Avro.Schema.Parse(schema.SchemaString, names));
        }
        catch (Exception exception) when (exception is not HttpRequestException)
        {
            // A registry checks schemas when they are registered, but perhaps for more than is known here.
            return RowSchema.Unsupported;
        }
    }

    private static bool TryReadType(Schema schema, out SchemaType type)
    {
        try
        {
            type = schema.SchemaType;
            return true;
        }
        catch (InvalidOperationException)
        {
            type = default;
            return false;
        }
    }

    private static string Explain(Exception exception) => exception switch
    {
        SchemaRegistryException { Status: HttpStatusCode.Unauthorized or HttpStatusCode.Forbidden } refusal =>
            $"{(int)refusal.Status} {refusal.Status}; are schema_registry_user and schema_registry_password right?",
        SchemaRegistryException { Status: HttpStatusCode.NotFound } => "404 NotFound, but not for the schema; is schema_registry_url right?",
        SchemaRegistryException other => $"{(int)other.Status} {other.Status}, {other.Message}",
        HttpRequestException { Message: var message } when message.Contains("Unauthorized", StringComparison.Ordinal) =>
            "401 Unauthorized; are schema_registry_user and schema_registry_password right?",

        // With one address it need not be repeated, as the client library does.
        HttpRequestException { InnerException: { } inner and not AggregateException } => inner.Message,
        HttpRequestException => exception.Message,
        _ => $"it answers with something else than JSON ({exception.Message.TrimEnd('.')}); is schema_registry_url right?",
    };

    /// <summary>A uuid may be text or 16 bytes; Apache.Avro refuses the whole schema if it is bytes.</summary>
    private sealed class AnyUuid : Avro.Util.Uuid
    {
        public override void ValidateSchema(Avro.LogicalSchema schema)
        {
        }
    }
}
