using System.Diagnostics;
using Confluent.Kafka;

namespace Cache.Benchmarks;

/// <summary>Produces rows at a fixed rate, and records when each was sent.</summary>
internal sealed class Feeder(Broker broker) : IDisposable
{
    // Time for the last rows to arrive.
    private static readonly TimeSpan DrainTime = TimeSpan.FromSeconds(1);

    private readonly IProducer<Null, byte[]> _producer = new ProducerBuilder<Null, byte[]>(new ProducerConfig
    {
        BootstrapServers = broker.BootstrapServers,
        LingerMs = 0,
        EnableDeliveryReports = false,
    }).Build();

    // Enough for the rows that any verb feeds to one broker.
    private readonly long[] _sent = new long[2 * 1024 * 1024];
    private long _next;

    /// <summary>When a row was produced (<see cref="Stopwatch.GetTimestamp"/>).</summary>
    public long SentAt(long row) => Volatile.Read(ref _sent[row]);

    /// <summary>Produces rows for a time, then waits for those in flight.</summary>
    /// <param name="topic">The topic.</param>
    /// <param name="rate">Rows per second.</param>
    /// <param name="span">How long to produce.</param>
    /// <param name="spread">Whether each row goes to another partition; by default those of a window go to the same.</param>
    /// <returns>The number of rows produced.</returns>
    public async Task<long> FeedAsync(string topic, int rate, TimeSpan span, bool spread = false)
    {
        // Start with a new window, so that all rows of a window are in one topic and one round.
        var perWindow = BenchmarkRows.PerWindow(4);
        var first = _next = (_next + perWindow - 1) / perWindow * perWindow;
        var started = Stopwatch.GetTimestamp();
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(1));
        while (await timer.WaitForNextTickAsync() && Stopwatch.GetElapsedTime(started) is var elapsed && elapsed < span)
        {
            for (var due = first + (long)(elapsed.TotalSeconds * rate); _next < due; _next++)
            {
                Volatile.Write(ref _sent[_next], Stopwatch.GetTimestamp());
                _producer.Produce(new TopicPartition(topic, spread ? (int)(_next % broker.Partitions) : BenchmarkRows.PartitionOf(_next, broker.Partitions)), new() { Value = BenchmarkRows.Value(_next) });
            }
        }

        _producer.Flush(CancellationToken.None);
        await Task.Delay(DrainTime, TimeProvider.System, CancellationToken.None);
        return _next - first;
    }

    public void Dispose() => _producer.Dispose();
}
