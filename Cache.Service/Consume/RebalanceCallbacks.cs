using System.Runtime.ExceptionServices;
using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Forwards the group's callbacks. They have to be registered before the consumer is built, but their handler commits through
/// that consumer, so it is set later.
/// </summary>
internal sealed class RebalanceCallbacks
{
    private ExceptionDispatchInfo? _failure;

    /// <summary>The handler of the callbacks; set before the consumer subscribes.</summary>
    public Rebalance? Handler { get; set; }

    /// <summary>Throws what a callback has thrown: it ran inside the client's native code, which cannot pass that on.</summary>
    public void ThrowIfFailed() => _failure?.Throw();

    /// <summary>Registers the callbacks with the builder of a consumer.</summary>
    public void Attach(ConsumerBuilder<RowKey, Row> builder)
    {
        builder.SetPartitionsAssignedHandler((_, partitions) => Call(() => Handler!.Assigned(partitions)));
        builder.SetPartitionsRevokedHandler((_, partitions) => Call(() => Handler!.Revoked(partitions)));
        builder.SetPartitionsLostHandler((_, partitions) => Call(() => Handler!.Lost(partitions)));
    }

    private void Call(Action callback) => Call(() =>
    {
        callback();
        return true;
    });

    private T Call<T>(Func<T> callback)
    {
        try
        {
            return callback();
        }
        catch (Exception exception)
        {
            _failure = ExceptionDispatchInfo.Capture(exception);
            throw;
        }
    }
}
