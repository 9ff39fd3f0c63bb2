using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Passes the group's callbacks on. A consumer is built with its callbacks, and those who handle them commit through that
/// consumer: so the handler comes later.
/// </summary>
internal sealed class RebalanceCallbacks
{
    /// <summary>Handles the callbacks; set before the consumer subscribes.</summary>
    public Rebalance? Handler { get; set; }

    /// <summary>Hands the callbacks to a consumer that is about to be built.</summary>
    public void Attach(ConsumerBuilder<RowKey, Row> builder)
    {
        builder.SetPartitionsAssignedHandler((_, partitions) => Handler!.Assigned(partitions));
        builder.SetPartitionsRevokedHandler((_, partitions) => Handler!.Revoked(partitions));
        builder.SetPartitionsLostHandler((_, partitions) => Handler!.Lost(partitions));
    }
}
