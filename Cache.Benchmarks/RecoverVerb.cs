using System.Diagnostics;
using Confluent.Kafka;

namespace Cache.Benchmarks;

/// <summary>
/// <c>recover</c>: the only replica is killed (SIGKILL) while rows come, and started again at once. Measured from the kill to the moment
/// at which a row produced after it is committed.
/// </summary>
internal static class RecoverVerb
{
    private const int Partitions = 6;

    private static readonly TimeSpan Pace = TimeSpan.FromMilliseconds(10);
    private static readonly TimeSpan Before = TimeSpan.FromSeconds(5);

    public static async Task RunAsync(Run run)
    {
        run.Conditions(Partitions, more: $", {1 / Pace.TotalSeconds:0} rows/s");
        await using var broker = await run.StartBrokerAsync(Partitions);
        await using var side = await Side.StartServiceAsync(broker);
        using var stop = new CancellationTokenSource();
        long produced = 0;
        var producing = Task.Run(ProduceAsync);
        var times = new List<double>();
        for (var round = 0; round < (run.Quick ? 1 : 3); round++)
        {
            await Task.Delay(Before, TimeProvider.System, CancellationToken.None);
            await side.CommittedAsync(Interlocked.Read(ref produced));
            var killed = Stopwatch.GetTimestamp();
            await side.KillAsync();
            var rows = Interlocked.Read(ref produced);
            await side.RestartAsync();
            await side.CommittedAsync(rows + 1);
            times.Add(Stopwatch.GetElapsedTime(killed).TotalMilliseconds);
            await Console.Error.WriteLineAsync($"round {round + 1}: {times[^1]:0} ms");
        }

        await stop.CancelAsync();
        await producing;
        run.Report.Add("recover_ms", "ms", times);

        async Task ProduceAsync()
        {
            using var producer = new ProducerBuilder<Null, byte[]>(new ProducerConfig { BootstrapServers = broker.BootstrapServers, LingerMs = 0 }).Build();
            using var timer = new PeriodicTimer(Pace);
            try
            {
                while (await timer.WaitForNextTickAsync(stop.Token))
                {
                    var partition = BenchmarkRows.PartitionOf(produced, Partitions);
                    await producer.ProduceAsync(new TopicPartition(broker.Topic, partition), new() { Value = BenchmarkRows.Value(produced) }, CancellationToken.None);
                    Interlocked.Increment(ref produced);
                }
            }
            catch (OperationCanceledException)
            {
                // The rounds are over.
            }
        }
    }
}
