using System.Diagnostics;
using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>What the Kafka client delivers: a row, or the end of a partition.</summary>
/// <param name="Topic">The topic.</param>
/// <param name="Partition">The partition.</param>
/// <param name="Offset">The row's offset; at an end, the offset that comes next.</param>
/// <param name="Timestamp">The row's Kafka timestamp, milliseconds since 1970 UTC; 0 if it has none.</param>
/// <param name="Row">The decoded row.</param>
/// <param name="Trace">The trace of the row's producer, if it is sampled and somebody listens.</param>
/// <param name="IsEnd">Whether this is the end of the partition.</param>
internal readonly record struct Received(
    string Topic, int Partition, long Offset, long Timestamp, Row Row, ActivityContext? Trace = null, bool IsEnd = false);

/// <summary>Where the consume loop takes rows from. Used by one thread, on which the client's callbacks run, too.</summary>
internal interface IRowSource
{
    /// <summary>The client.</summary>
    IConsumer<RowKey, Row> Consumer { get; }

    /// <summary>
    /// Whether several rows are taken from the client at once, so that its callbacks may come after a row has left it, but before that
    /// row is taken here.
    /// </summary>
    bool TakesBatches { get; }

    /// <summary>
    /// Whether rows are at hand that have already left the client. The client counts them as delivered, whatever happens to their
    /// partition: they have to be taken before anything moves it.
    /// </summary>
    bool HasMore { get; }

    /// <summary>Takes the next row, or end of a partition.</summary>
    /// <param name="wait">How long to wait if there is none.</param>
    /// <param name="received">What was taken.</param>
    /// <returns>False if there is none at the moment.</returns>
    /// <exception cref="ConsumeException">The client reports an error.</exception>
    bool TryTake(TimeSpan wait, out Received received);

    /// <summary>Gives back what it has of the client's, which cannot be closed before. No more rows can be taken then.</summary>
    void End();
}
