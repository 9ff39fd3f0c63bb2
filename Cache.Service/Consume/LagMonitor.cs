using Cache.Service.Telemetry;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Service.Consume;

/// <summary>
/// Asks Kafka for the ends of the partitions, beside the consume loop: what the client remembers of them grows stale while
/// partitions are paused or brokers are away, and readiness must not. Over connections of its own: on those of the consumer
/// a question waits until the fetch before it is answered, half a second when nothing comes.
/// </summary>
internal sealed partial class LagMonitor(Assignment assignment, CacheOptions options, TimeProvider time, FatalError fatal, ILogger<LagMonitor> logger)
    : Worker(fatal, time, logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    // Readiness waits for the first answer.
    private static readonly TimeSpan StartInterval = TimeSpan.FromMilliseconds(20);

    private string? _failure = "Kafka was not asked yet";

    /// <summary>Why the ends are not known; null when they are.</summary>
    public string? Failure => Volatile.Read(ref _failure);

    /// <inheritdoc/>
    protected internal override async Task RunAsync(CancellationToken stoppingToken)
    {
        var client = new ConsumerBuilder<Ignore, Ignore>(KafkaClients.ForReading(options)).SetLogHandler((_, _) => { }).SetErrorHandler((_, _) => { }).Build();
        try
        {
            using var admin = new DependentAdminClientBuilder(client.Handle).Build();
            using var timer = new PeriodicTimer(StartInterval, Time);
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                if (assignment.Current is { Count: > 0 } held)
                {
                    await AskAsync(admin, held);
                    timer.Period = Interval;
                }
            }
        }
        finally
        {
            await KafkaHandle.EndAsync(client);
        }
    }

    private async Task AskAsync(IAdminClient admin, IReadOnlyList<AssignedPartition> held)
    {
        var specs = held.Select(partition => new TopicPartitionOffsetSpec { TopicPartition = partition.TopicPartition, OffsetSpec = OffsetSpec.Latest() });
        try
        {
            var ends = await admin.ListOffsetsAsync(
                specs, new ListOffsetsOptions { RequestTimeout = TimeSpan.FromSeconds(2), IsolationLevel = IsolationLevel.ReadCommitted });
            if (ends.ResultInfos.Exists(end => end.TopicPartitionOffsetError.Offset == Offset.Unset))
            {
                // A broker that goes in the midst of it leaves its partitions without an end, and without an error.
                throw new KafkaException(ErrorCode.Local_Transport);
            }

            var now = Time.GetUtcNow();
            foreach (var end in ends.ResultInfos)
            {
                held.FirstOrDefault(partition => partition.TopicPartition == end.TopicPartitionOffsetError.TopicPartition)
                    ?.EndSeen(end.TopicPartitionOffsetError.Offset.Value, now);
            }

            Volatile.Write(ref _failure, null);
        }
        catch (KafkaException exception)
        {
            if (Failure is null)
            {
                LogNoAnswer(exception.Error.Reason);
            }

            Volatile.Write(ref _failure, $"Kafka does not tell the ends of the partitions: {exception.Error.Reason}");
        }
    }

    [LoggerMessage(EventIds.Consume + 50, LogLevel.Warning, "Kafka does not tell the ends of the partitions ({Error}); not ready until it does.")]
    private partial void LogNoAnswer(string error);
}
