using Cache.Service.Model;
using Cache.Service.Partitions;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>
/// Holds partitions at a row whose schema is not known yet, and reads on from that row once it is. The others flow on. Used only by the
/// consume loop.
/// </summary>
internal sealed class SchemaWaits(BackPressure pressure, SchemaRegistry registry)
{
    private readonly Dictionary<AssignedPartition, (int Schema, long Offset)> _waits = [];

    /// <summary>Whether a schema is being fetched, and nothing suggests that it will take long.</summary>
    public bool ExpectSoon => _waits.Count > 0 && registry.Obstacle is null;

    /// <summary>Holds the partition if its row awaits a schema. What still arrives of it is dropped: it is read again.</summary>
    /// <returns>Whether the partition is held.</returns>
    public bool Holds(IConsumer<RowKey, Row> consumer, AssignedPartition partition, in Received received)
    {
        if (partition.AwaitsSchema)
        {
            return true;
        }

        if (received.IsEnd || received.Row.Kind != RowKind.AwaitsSchema)
        {
            return false;
        }

        partition.AwaitsSchema = true;
        _waits[partition] = (received.Row.SchemaId, received.Offset);
        registry.Want(Wanted());
        try
        {
            consumer.Pause([partition.TopicPartition]);
        }
        catch (KafkaException exception) when (!exception.Error.IsFatal)
        {
            // It is moving to another member.
        }

        return true;
    }

    /// <summary>Resumes the partitions whose schemas are known by now.</summary>
    public void Apply(IConsumer<RowKey, Row> consumer)
    {
        if (_waits.Count == 0)
        {
            return;
        }

        foreach (var (partition, wait) in _waits)
        {
            // A partition that was rewound goes on without waiting, and comes to the row again.
            if (!partition.Owned || (registry.Schemas.Find(wait.Schema) is not null && TryResume(consumer, partition, wait.Offset)))
            {
                partition.AwaitsSchema = false;
                _waits.Remove(partition);
            }
        }

        // Again for those that still wait: what was known may have been forgotten.
        registry.Want(Wanted());
    }

    private bool TryResume(IConsumer<RowKey, Row> consumer, AssignedPartition partition, long offset)
    {
        try
        {
            // Kafka may have deleted the row meanwhile, and the partition have moved on.
            consumer.Seek(new TopicPartitionOffset(partition.TopicPartition, Math.Max(offset, partition.Next)));
            if (!pressure.IsPaused)
            {
                consumer.Resume([partition.TopicPartition]);
            }

            return true;
        }
        catch (KafkaException exception) when (!exception.Error.IsFatal)
        {
            // It is moving to another member.
            return false;
        }
    }

    private List<int> Wanted() => [.. _waits.Values.Select(wait => wait.Schema).Distinct()];
}
