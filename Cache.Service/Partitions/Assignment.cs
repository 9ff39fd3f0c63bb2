using Confluent.Kafka;

namespace Cache.Service.Partitions;

/// <summary>The partitions that this process holds; changed by the consume loop alone, read by every stage.</summary>
internal sealed class Assignment
{
    private volatile IReadOnlyList<AssignedPartition> _current = [];
    private volatile bool _isSpare;
    private AssignedPartition? _last;

    /// <summary>A snapshot.</summary>
    public IReadOnlyList<AssignedPartition> Current => _current;

    /// <summary>Whether the group has shared the partitions out, and had none for this process.</summary>
    public bool IsSpare
    {
        get => _isSpare;
        set => _isSpare = value;
    }

    /// <summary>The partition of a row; null when it is not held.</summary>
    public AssignedPartition? Find(string topic, Partition partition)
    {
        // Rows come in runs of one partition.
        if (_last is { Owned: true } last && last.TopicPartition.Partition == partition && last.TopicPartition.Topic == topic)
        {
            return last;
        }

        foreach (var candidate in _current)
        {
            if (candidate.TopicPartition.Partition == partition && candidate.TopicPartition.Topic == topic)
            {
                return _last = candidate;
            }
        }

        return null;
    }

    /// <summary>Holds a partition from now on; it stands for the same partition's object before.</summary>
    public void Assign(AssignedPartition partition)
    {
        foreach (var held in _current.Where(held => held.TopicPartition == partition.TopicPartition))
        {
            held.Replace();
        }

        _current = [.. _current.Where(held => held.Owned), partition];
    }

    /// <summary>Reads a partition again: rows of the old object that are still on their way are dropped, and come again in order.</summary>
    /// <param name="old">The partition.</param>
    /// <param name="from">The offset to read from.</param>
    /// <param name="epoch">The epoch of Redis that its windows are known to be under then.</param>
    public void Rewind(AssignedPartition old, long from, string? epoch)
    {
        var rewound = new AssignedPartition(old.TopicPartition, old.Records) { CoveredEpoch = epoch };
        rewound.StartAt(from);
        Assign(rewound);
    }

    /// <summary>Lets partitions go.</summary>
    public void Revoke(IReadOnlyCollection<TopicPartition> partitions)
    {
        foreach (var partition in _current.Where(held => partitions.Contains(held.TopicPartition)))
        {
            partition.Revoke();
        }

        _current = [.. _current.Where(partition => partition.Owned)];
    }

    /// <summary>Lets every partition go.</summary>
    public void RevokeAll() => Revoke([.. _current.Select(partition => partition.TopicPartition)]);
}
