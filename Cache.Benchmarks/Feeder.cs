using System.Diagnostics;
using Confluent.Kafka;

namespace Cache.Benchmarks;

/// <summary>Produces rows one after the other at a rate, and remembers when.</summary>
internal sealed class Feeder(string bootstrapServers) : IDisposable
{
    // Rows that are waited for when the feeding ends.
    private static readonly TimeSpan Rest = TimeSpan.FromSeconds(1);

    private readonly IProducer<Null, byte[]> _producer = new ProducerBuilder<Null, byte[]>(new ProducerConfig
    {
        BootstrapServers = bootstrapServers,
        LingerMs = 0,
        EnableDeliveryReports = false,
    }).Build();

    // Room for what any verb feeds to one broker.
    private readonly long[] _sent = new long[2 * 1024 * 1024];
    private long _next;

    /// <summary>When a row was produced (<see cref="Stopwatch.GetTimestamp"/>).</summary>
    public long SentAt(long row) => Volatile.Read(ref _sent[row]);

    /// <summary>Produces for a time, then waits for what is under way.</summary>
    /// <param name="topic">The topic.</param>
    /// <param name="partitions">Its partitions.</param>
    /// <param name="rate">Rows a second.</param>
    /// <param name="span">How long.</param>
    /// <returns>The rows that were produced.</returns>
    public async Task<long> FeedAsync(string topic, int partitions, int rate, TimeSpan span)
    {
        // Windows of its own, so that each row of a window is on one topic and in one round.
        var perWindow = BenchmarkRows.PerWindow(4);
        var first = _next = (_next + perWindow - 1) / perWindow * perWindow;
        var started = Stopwatch.GetTimestamp();
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(1));
        while (await timer.WaitForNextTickAsync() && Stopwatch.GetElapsedTime(started) is var elapsed && elapsed < span)
        {
            for (var due = first + (long)(elapsed.TotalSeconds * rate); _next < due; _next++)
            {
                Volatile.Write(ref _sent[_next], Stopwatch.GetTimestamp());
                _producer.Produce(new TopicPartition(topic, BenchmarkRows.PartitionOf(_next, partitions)), new() { Value = BenchmarkRows.Value(_next) });
            }
        }

        _producer.Flush(CancellationToken.None);
        await Task.Delay(Rest, TimeProvider.System, CancellationToken.None);
        return _next - first;
    }

    public void Dispose() => _producer.Dispose();
}
