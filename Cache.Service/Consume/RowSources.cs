using Cache.Service.Decode;
using Cache.Service.Enqueue;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Decides how rows are taken from a consumer: in batches, unless the configuration or the client's library does not allow it, and at a
/// pace.
/// </summary>
internal sealed partial class RowSources(CacheOptions options, Schemas schemas, TimeProvider time, ILogger<RowSources> logger)
{
    private static readonly ManualResetEvent Never = new(false);

    /// <summary>Creates the source; nothing else may take rows from the consumer.</summary>
    public IRowSource Create(IConsumer<RowKey, Row> consumer)
    {
        var rows = Unpaced(consumer);
        return options.ConsumePaceMs == 0 ? rows : new PacedRows(rows, TimeSpan.FromMilliseconds(options.ConsumePaceMs), span => Never.WaitOne(span), time);
    }

    private IRowSource Unpaced(IConsumer<RowKey, Row> consumer)
    {
        if (!options.ConsumeBatches)
        {
            return new SingleRows(consumer);
        }

        if (NativeConsumer.Obstacle() is { } obstacle)
        {
            LogOneByOne(obstacle);
            return new SingleRows(consumer);
        }

        // As many as are handed over to the flush at once. All of a batch is held back if the queue is full, so a small queue has small batches.
        return new BatchedRows(consumer, NativeConsumer.HandleOf(consumer), new RowDecoder(options, time, schemas), Math.Min(RowQueue.MaxAtOnce, options.QueueMaxSize));
    }

    [LoggerMessage(EventIds.Consume + 47, LogLevel.Warning, "Rows are taken from the Kafka client one by one, at a higher cost: {Obstacle}.")]
    private partial void LogOneByOne(string obstacle);
}
