using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// The consumer, for as long as the loop may use it. Made after the consumer, and so disposed before it: the process does not
/// survive a consumer that is disposed in the midst of a call, as by a host that is disposed without having been stopped.
/// </summary>
internal sealed class ConsumerLifetime(IConsumer<RowKey, Row> consumer, ConsumeLoop loop) : IDisposable
{
    public IConsumer<RowKey, Row> Consumer => consumer;

    /// <inheritdoc/>
    public void Dispose() => loop.End();
}
