using Cache.Service.Model;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Moves partitions to an offset where they can be read: those whose start Kafka did not report when they were assigned, and
/// those whose next row Kafka does not have. Used only by the consume loop.
/// </summary>
internal sealed partial class Repositioning(
    Assignment assignment, StartPositions positions, BackPressure pressure, ConsumeMetrics metrics, TimeProvider time, ILogger<Repositioning> logger)
{
    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);

    private readonly Throttle _startsDue = new(time, RetryInterval);
    private readonly Throttle _oldestDue = new(time, RetryInterval);
    private PendingLookup<List<(TopicPartitionOffset Start, bool Resumed)>>? _starts;
    private PendingLookup<IReadOnlyDictionary<TopicPartition, Offset>>? _oldest;

    // Partitions whose next row Kafka does not have.
    private readonly HashSet<AssignedPartition> _stranded = [];

    /// <summary>Records that Kafka does not have a partition's next row.</summary>
    public void Strand(AssignedPartition partition) => _stranded.Add(partition);

    /// <summary>Asks Kafka where to continue, and repositions once it has answered.</summary>
    public void Apply(IConsumer<RowKey, Row> consumer)
    {
        if (positions.AnyUnknown)
        {
            FindUnknownStarts(consumer);
        }

        ResumeAtOldest(consumer);
    }

    /// <summary>
    /// Asks again where partitions start if Kafka did not report it, for example because the coordinator had just moved. The client
    /// itself asks only once, and never reads a partition for which that failed.
    /// </summary>
    private void FindUnknownStarts(IConsumer<RowKey, Row> consumer)
    {
        if (_starts is null && _startsDue.IsDue())
        {
            var unknown = assignment.Current.Where(partition => partition.Next < 0).ToList();
            positions.AnyUnknown = unknown.Count > 0;
            _starts = unknown.Count > 0 ? new(unknown, positions.FindAsync(unknown.ConvertAll(partition => partition.TopicPartition))) : null;
        }

        try
        {
            // A partition that was revoked and reassigned in the meantime may start elsewhere.
            if (!PendingLookup.TryTake(ref _starts, out var asked, out var starts)
                || starts.Where(start => asked.Exists(partition => partition.Next < 0 && partition.TopicPartition == start.Start.TopicPartition)).ToList() is not { Count: > 0 } found)
            {
                return;
            }

            // Seeking works only in a partition that is being fetched.
            consumer.IncrementalUnassign(found.Select(start => start.Start.TopicPartition));
            consumer.IncrementalAssign(found.Select(start => start.Start));
            found.ForEach(start => assignment.Assign(AssignedPartition.From(start.Start, start.Resumed, metrics.Rows(start.Start.Topic))));
            positions.AnyUnknown = assignment.Current.Any(partition => partition.Next < 0);
            LogStartsFound(found.Count);
        }
        catch (KafkaException exception) when (!exception.Error.IsFatal)
        {
            // Kafka did not answer this time either, or one of them is moving to another member.
        }
    }

    /// <summary>
    /// Resumes partitions at their oldest row if Kafka does not have the next one: retention or an operator has deleted it, or
    /// the new leader never had it.
    /// </summary>
    private void ResumeAtOldest(IConsumer<RowKey, Row> consumer)
    {
        if (_stranded.Count > 0 && _oldest is null && _oldestDue.IsDue())
        {
            _stranded.RemoveWhere(partition => !partition.Owned);
            _oldest = _stranded.Count > 0 ? new([.. _stranded], positions.OldestAsync([.. _stranded.Select(partition => partition.TopicPartition)])) : null;
        }

        try
        {
            if (!PendingLookup.TryTake(ref _oldest, out var asked, out var offsets))
            {
                return;
            }

            foreach (var partition in asked)
            {
                ResumeAt(consumer, partition, offsets[partition.TopicPartition]);
                _stranded.Remove(partition);
            }

            pressure.PauseAgain(consumer);
        }
        catch (KafkaException exception) when (!exception.Error.IsFatal)
        {
            // Asked again after the interval; a partition that is moving to another member is revoked soon.
            LogOldestUnknown(exception.Error.Reason);
        }
    }

    /// <summary>Has the client read partitions once more from where they start; what it did not accept is left for the next time.</summary>
    public void StartAgain(IConsumer<RowKey, Row> consumer, HashSet<AssignedPartition> partitions)
    {
        if (partitions.Count == 0)
        {
            return;
        }

        // Those whose start is not known yet are replaced once it is.
        partitions.RemoveWhere(partition => !partition.Owned || (partition.Next >= 0 && IsStarted(consumer, partition)));
        pressure.PauseAgain(consumer);
    }

    private static bool IsStarted(IConsumer<RowKey, Row> consumer, AssignedPartition partition)
    {
        try
        {
            consumer.IncrementalUnassign([partition.TopicPartition]);
        }
        catch (KafkaException exception) when (!exception.Error.IsFatal)
        {
            // Already done the last time, or it is moving to another member.
        }

        try
        {
            consumer.IncrementalAssign([new TopicPartitionOffset(partition.TopicPartition, partition.Next)]);
            return true;
        }
        catch (KafkaException exception) when (!exception.Error.IsFatal)
        {
            return false;
        }
    }

    private void ResumeAt(IConsumer<RowKey, Row> consumer, AssignedPartition partition, Offset oldest)
    {
        // Seeking works only in a partition that is being fetched.
        consumer.IncrementalUnassign([partition.TopicPartition]);
        consumer.IncrementalAssign([new TopicPartitionOffset(partition.TopicPartition, oldest)]);
        if (oldest.Value > partition.Next)
        {
            partition.Records.Miss(oldest.Value - partition.Next);
            LogMissed(partition, partition.Next, oldest.Value - 1, oldest.Value - partition.Next);

            // Committed like any row, so that a restart does not count them as missed again.
            pressure.Skip(partition, oldest.Value - 1);
        }
        else if (oldest.Value < partition.Next)
        {
            LogTruncated(partition, partition.Next, oldest.Value);
            assignment.Rewind(partition, oldest.Value, partition.CoveredEpoch);
        }
    }

    [LoggerMessage(EventIds.Consume + 40, LogLevel.Information, "Kafka has reported where {Count} partitions start.")]
    private partial void LogStartsFound(int count);

    [LoggerMessage(EventIds.Consume + 45, LogLevel.Warning, "Kafka did not report the oldest rows of partitions: {Error}. Retrying.")]
    private partial void LogOldestUnknown(string error);

    [LoggerMessage(EventIds.Consume + 43, LogLevel.Warning,
        "Kafka deleted rows of {Partition} before they were read: offsets {First} to {Last}, {Rows} rows. Is its retention shorter than the service may lag behind?")]
    private partial void LogMissed(AssignedPartition partition, long first, long last, long rows);

    [LoggerMessage(EventIds.Consume + 44, LogLevel.Warning,
        "Kafka lost rows of {Partition}: its log ends before offset {Next}, which comes next. Reading it again from its oldest row, {Oldest}.")]
    private partial void LogTruncated(AssignedPartition partition, long next, long oldest);
}
