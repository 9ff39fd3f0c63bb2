using Cache.Service.Model;
using Cache.Service.Options;
using Confluent.Kafka;

namespace Cache.Service.Decode;

/// <summary>
/// Decodes values inside the Kafka client, from the client's own memory, so that no array is allocated per row; only a rejected
/// row's bytes are copied. Not thread-safe: each consumer has its own, and calls it on its polling thread only.
/// </summary>
/// <param name="options">The metric types and their topics.</param>
/// <param name="time">The clock.</param>
/// <param name="schemas">The schemas that values may name; without <c>schema_registry_url</c> they are JSON, whatever schema they name.</param>
internal sealed class RowDeserializer(CacheOptions options, TimeProvider time, Schemas? schemas = null) : IDeserializer<RowKey>, IDeserializer<Row>
{
    private readonly RowDecoder _decoder = new(options, time, schemas);
    private byte[] _key = new byte[256];
    private int _keyLength = -1;

    // The client passes the key first, then the value: the key is kept until it is known whether the value is rejected.
    RowKey IDeserializer<RowKey>.Deserialize(ReadOnlySpan<byte> data, bool isNull, SerializationContext context)
    {
        _keyLength = isNull ? -1 : data.Length;
        if (data.Length > _key.Length)
        {
            _key = new byte[data.Length];
        }

        data.CopyTo(_key);
        return default;
    }

    Row IDeserializer<Row>.Deserialize(ReadOnlySpan<byte> data, bool isNull, SerializationContext context)
    {
        if (isNull)
        {
            return Row.Skip;
        }

        var row = _decoder.Decode(context.Topic, data);
        return row.Kind == RowKind.Rejected ? Row.Reject(row.Reason, Keep(data, context.Headers)) : row;
    }

    /// <summary>Copies the bytes of the current row.</summary>
    private RejectedRow Keep(ReadOnlySpan<byte> value, Headers? headers) =>
        new(_keyLength < 0 ? null : _key[.._keyLength], value.ToArray(), headers);
}
