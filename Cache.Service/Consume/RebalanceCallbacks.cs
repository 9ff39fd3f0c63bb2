using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Forwards the group's callbacks. They have to be registered before the consumer is built, but their handler commits through
/// that consumer, so it is set later.
/// </summary>
internal sealed class RebalanceCallbacks
{
    /// <summary>The handler of the callbacks; set before the consumer subscribes.</summary>
    public Rebalance? Handler { get; set; }

    /// <summary>Registers the callbacks with the builder of a consumer.</summary>
    public void Attach(ConsumerBuilder<RowKey, Row> builder)
    {
        builder.SetPartitionsAssignedHandler((_, partitions) => Handler!.Assigned(partitions));
        builder.SetPartitionsRevokedHandler((_, partitions) => Handler!.Revoked(partitions));
        builder.SetPartitionsLostHandler((_, partitions) => Handler!.Lost(partitions));
    }
}
