using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>What the committer needs of a consumer.</summary>
internal interface IOffsetCommit
{
    /// <summary>Commits offsets; completes with the acknowledgement.</summary>
    /// <exception cref="KafkaException">It failed, for all or some of them.</exception>
    Task CommitAsync(IReadOnlyList<TopicPartitionOffset> offsets);
}

/// <summary>Commits through the consumer, which blocks until the broker answers.</summary>
internal sealed class ConsumerCommits(IConsumer<RowKey, Row> consumer) : IOffsetCommit, IDisposable
{
    private static readonly TimeSpan EndTimeout = TimeSpan.FromSeconds(5);

    private volatile Task _last = Task.CompletedTask;

    /// <inheritdoc/>
    public Task CommitAsync(IReadOnlyList<TopicPartitionOffset> offsets) => _last = Task.Run(() => consumer.Commit(offsets));

    /// <summary>Waits for a commit in progress: the process does not survive a consumer that is disposed during a call.</summary>
    public void Dispose() => Task.WhenAny(_last, Task.Delay(EndTimeout, TimeProvider.System, CancellationToken.None)).Wait(CancellationToken.None);
}
