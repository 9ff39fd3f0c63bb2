using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>Rows one by one, by <see cref="IConsumer{TKey,TValue}.Consume(TimeSpan)"/>, decoded by the consumer's deserializers.</summary>
internal sealed class SingleRows(IConsumer<RowKey, Row> consumer) : IRowSource
{
    /// <inheritdoc/>
    public IConsumer<RowKey, Row> Consumer => consumer;

    /// <inheritdoc/>
    public bool TakesBatches => false;

    /// <inheritdoc/>
    public bool HasMore => false;

    /// <inheritdoc/>
    public bool TryTake(TimeSpan wait, out Received received)
    {
        if (consumer.Consume(wait) is not { } result)
        {
            received = default;
            return false;
        }

        received = result.IsPartitionEOF
            ? new(result.Topic, result.Partition.Value, result.Offset.Value, 0, Row.Skip, IsEnd: true)
            : new(
                result.Topic, result.Partition.Value, result.Offset.Value, result.Message.Timestamp.UnixTimestampMs, result.Message.Value,
                ReceiveSpan.IsWanted ? ReceiveSpan.ParentOf(Header(result.Message.Headers, ReceiveSpan.TraceParent), Header(result.Message.Headers, ReceiveSpan.TraceState)) : null);
        return true;
    }

    /// <inheritdoc/>
    public void End()
    {
    }

    private static byte[]? Header(Headers? headers, string name) => headers is not null && headers.TryGetLastBytes(name, out var bytes) ? bytes : null;
}
