using Cache.Service.Consume;
using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Tests.Simulation;

/// <summary>
/// Rows in batches, as librdkafka hands them out: callbacks come while a batch is filled, and rows that are in it stay in it, even if their
/// partition is taken away, and comes back, meanwhile.
/// </summary>
/// <param name="consumer">The process's consumer.</param>
/// <param name="pass">Lets time pass for everything but this process's consume thread.</param>
internal class SimulatedBatches(SimulatedConsumer consumer, Action<TimeSpan> pass) : IRowSource
{
    private const int Most = 12;

    private readonly SingleRows _rows = new(consumer.Client);
    private readonly Queue<Received> _batch = [];

    /// <inheritdoc/>
    public IConsumer<RowKey, Row> Consumer => consumer.Client;

    /// <inheritdoc/>
    public bool TakesBatches => true;

    /// <inheritdoc/>
    public virtual bool HasMore => _batch.Count > 0;

    /// <inheritdoc/>
    public bool TryTake(TimeSpan wait, out Received received)
    {
        if (_batch.Count == 0)
        {
            // The group is served, or nothing is at hand, several times in a batch.
            for (var asked = consumer.Kafka.Random.Next(1, Most); asked > 0; asked--)
            {
                if (_batch.Count > 0 && consumer.Kafka.Random.Next(30) == 0)
                {
                    pass(TimeSpan.FromSeconds(consumer.Kafka.Random.Next(1, 30)));
                }

                if (_rows.TryTake(wait, out var next))
                {
                    _batch.Enqueue(next);
                    wait = TimeSpan.Zero;
                }
            }
        }

        return _batch.TryDequeue(out received);
    }

    /// <inheritdoc/>
    public void End()
    {
    }
}
