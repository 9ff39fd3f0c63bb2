using Cache.Service.Model;
using Confluent.Kafka;

namespace Cache.Service.Consume;

/// <summary>The part of a consumer that the committer needs.</summary>
internal interface IOffsetCommit
{
    /// <summary>Commits offsets; completes once Kafka has acknowledged them.</summary>
    /// <exception cref="KafkaException">Some or all of the offsets were not committed.</exception>
    Task CommitAsync(IReadOnlyList<TopicPartitionOffset> offsets);
}

/// <summary>Commits through the consumer, which blocks until the broker answers.</summary>
internal sealed class ConsumerCommits(IConsumer<RowKey, Row> consumer) : IOffsetCommit, IDisposable
{
    private static readonly TimeSpan EndTimeout = TimeSpan.FromSeconds(5);

    private volatile Task _last = Task.CompletedTask;

    /// <inheritdoc/>
    public Task CommitAsync(IReadOnlyList<TopicPartitionOffset> offsets) => _last = Task.Run(() =>
    {
        using var held = KafkaHandle.Hold(consumer);
        consumer.Commit(offsets);
    });

    /// <summary>Waits for a commit in progress.</summary>
    public void Dispose() => Task.WhenAny(_last, Task.Delay(EndTimeout, TimeProvider.System, CancellationToken.None)).Wait(CancellationToken.None);
}
