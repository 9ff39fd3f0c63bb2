using Cache.Service.Hosting;
using Confluent.Kafka;

namespace Cache.Service.Partitions;

/// <summary>The partitions assigned to this process; changed only by the consume loop, read by every stage.</summary>
internal sealed class Assignment
{
    private volatile IReadOnlyList<AssignedPartition> _current = [];
    private volatile bool _isSpare;
    private volatile Revocation? _revocation;
    private AssignedPartition? _last;

    /// <summary>A snapshot of the assigned partitions.</summary>
    public IReadOnlyList<AssignedPartition> Current => _current;

    /// <summary>The same, by topic and number.</summary>
    public IEnumerable<AssignedPartition> InOrder => _current
        .OrderBy(partition => partition.TopicPartition.Topic, StringComparer.Ordinal).ThenBy(partition => partition.TopicPartition.Partition.Value);

    /// <summary>Raised when partitions have come or gone, and at each step of a revocation.</summary>
    public Signal Changed { get; } = new();

    /// <summary>The revocation in progress; null if there is none.</summary>
    public Revocation? Revocation
    {
        get => _revocation;
        set
        {
            _revocation = value;
            Changed.Raise();
        }
    }

    /// <summary>Whether a rebalance has completed without assigning a partition to this process.</summary>
    public bool IsSpare
    {
        get => _isSpare;
        set => _isSpare = value;
    }

    /// <summary>Finds the partition of a row; null if it is not assigned.</summary>
    public AssignedPartition? Find(string topic, Partition partition)
    {
        // Consecutive rows usually come from the same partition.
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

    /// <summary>Adds a partition, and replaces an earlier object for the same partition.</summary>
    public void Assign(AssignedPartition partition)
    {
        foreach (var held in _current.Where(held => held.TopicPartition == partition.TopicPartition))
        {
            partition.Since = held.Since;
            held.Replace();
        }

        _current = [.. _current.Where(held => held.Owned), partition];
    }

    /// <summary>Reads a partition again: rows in flight of the old object are dropped, and arrive again in order.</summary>
    /// <param name="old">The partition.</param>
    /// <param name="from">The offset to read from.</param>
    /// <param name="epoch">The epoch of Redis that its windows are known to be under then.</param>
    public void Rewind(AssignedPartition old, long from, string? epoch)
    {
        var rewound = new AssignedPartition(old.TopicPartition, old.Records) { CoveredEpoch = epoch };
        rewound.StartAt(from);
        Assign(rewound);
    }

    /// <summary>Revokes partitions.</summary>
    public void Revoke(IReadOnlyCollection<TopicPartition> partitions)
    {
        foreach (var partition in _current.Where(held => partitions.Contains(held.TopicPartition)))
        {
            partition.Revoke();
        }

        _current = [.. _current.Where(partition => partition.Owned)];
        Changed.Raise();
    }

    /// <summary>Revokes every partition.</summary>
    public void RevokeAll() => Revoke([.. _current.Select(partition => partition.TopicPartition)]);
}
