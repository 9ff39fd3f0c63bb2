using Cache.Service.Hosting;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Service.Consume;

/// <summary>
/// Asks Kafka for the ends of the partitions, independently of the consume loop: the offsets that the consumer caches go stale
/// while partitions are paused or brokers are down, but readiness must not. While no partition is assigned, asks whether Kafka
/// answers at all. Uses connections of its own: on the consumer's, a request would wait for the fetch ahead of it, half a second if
/// no rows arrive.
/// </summary>
internal sealed partial class LagMonitor(
    Assignment assignment, Topics topics, CacheOptions options, TimeProvider time, FatalError fatal, ILogger<LagMonitor> logger)
    : Worker(fatal, time, logger)
{
    private static readonly TimeSpan Interval = TimeSpan.FromSeconds(1);

    private static readonly TimeSpan Timeout = TimeSpan.FromSeconds(2);

    // Readiness waits for the first answer.
    private static readonly TimeSpan StartInterval = TimeSpan.FromMilliseconds(20);

    // By default, a transaction times out after a minute.
    private static readonly TimeSpan LongTransaction = TimeSpan.FromSeconds(90);

    private readonly HashSet<TopicPartition> _heldBack = [];
    private string? _failure;

    /// <summary>Why Kafka does not answer; null if it does, or has not been asked yet.</summary>
    public string? Failure => Volatile.Read(ref _failure);

    /// <summary>What about the lag keeps the service from being ready; null if nothing does.</summary>
    public string? Obstacle
    {
        get
        {
            var assigned = assignment.Current;
            return Failure is { } failure ? failure
                : assigned.Any(partition => partition.LogEnd < 0) ? "lag not known yet"
                : assigned.Sum(partition => partition.LagRows) is var rows && rows > options.ReadyLagThreshold
                    ? $"lag is {rows} rows, above ready_lag_threshold ({options.ReadyLagThreshold})"
                : null;
        }
    }

    /// <inheritdoc/>
    protected internal override async Task RunAsync(CancellationToken stoppingToken)
    {
        var client = new ConsumerBuilder<Ignore, Ignore>(KafkaClients.ForReading(options)).SetLogHandler((_, _) => { }).SetErrorHandler((_, _) => { }).Build();
        try
        {
            using var timer = new PeriodicTimer(StartInterval, Time);
            var asked = Time.GetTimestamp();
            while (await timer.WaitForNextTickAsync(stoppingToken))
            {
                if (assignment.Current is { Count: > 0 } held)
                {
                    await AskAsync(() => AskForEnds(client, held), "Kafka does not report the ends of the partitions");
                    timer.Period = Interval;
                }
                else if (topics.KafkaHasAnswered && Time.GetElapsedTime(asked) >= Interval)
                {
                    // Whoever is not in the group yet, or a spare, would otherwise never learn that the brokers are down.
                    await AskAsync(() => AskForAnything(client), "Kafka does not answer");
                    asked = Time.GetTimestamp();
                }
            }
        }
        finally
        {
            await KafkaHandle.EndAsync(client);
        }
    }

    private async Task AskAsync(Action ask, string failure)
    {
        try
        {
            await Task.Run(ask);
            Volatile.Write(ref _failure, null);
        }
        catch (KafkaException exception)
        {
            if (Failure is null)
            {
                LogNoAnswer(failure, exception.Error.Reason);
            }

            Volatile.Write(ref _failure, $"{failure}: {exception.Error.Reason}");
        }
    }

    private void AskForEnds(IConsumer<Ignore, Ignore> client, IReadOnlyList<AssignedPartition> held)
    {
        var ends = KafkaLookups.Offsets(client, [.. held.Select(partition => partition.TopicPartition)], OffsetSpec.Latest(), Timeout);
        foreach (var partition in held)
        {
            Seen(partition, ends[partition.TopicPartition].Value);
        }
    }

    private void AskForAnything(IConsumer<Ignore, Ignore> client)
    {
        // Not kept: it polls ten times per second for as long as it lives.
        using var admin = new DependentAdminClientBuilder(client.Handle).Build();

        // Any answer will do, also that there is no such topic, which is what it says of a pattern.
        admin.GetMetadata(options.Topics[0], Timeout);
    }

    /// <summary>Records the end of a partition; logs once that a transaction is left open, and once that it has ended.</summary>
    internal void Seen(AssignedPartition partition, long end)
    {
        var now = Time.GetUtcNow();
        partition.EndSeen(end, now);
        var isLong = partition.HeldBackFor(now) >= LongTransaction;
        if (isLong && _heldBack.Add(partition.TopicPartition))
        {
            LogHeldBack(partition, partition.HeldBackRows, partition.LogEnd);
        }
        else if (!isLong && _heldBack.Remove(partition.TopicPartition))
        {
            LogReleased(partition);
        }
    }

    [LoggerMessage(EventIds.Consume + 50, LogLevel.Warning, "{Failure} ({Error}); not ready until it does.")]
    private partial void LogNoAnswer(string failure, string error);

    [LoggerMessage(EventIds.Consume + 51, LogLevel.Warning,
        "A transaction has been open in {Partition} for a while: {Rows} rows from offset {Offset} on cannot be read until it ends. Does its producer hang?")]
    private partial void LogHeldBack(AssignedPartition partition, long rows, long offset);

    [LoggerMessage(EventIds.Consume + 52, LogLevel.Information, "The open transaction in {Partition} has ended.")]
    private partial void LogReleased(AssignedPartition partition);
}
