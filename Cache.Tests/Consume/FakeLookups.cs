using Cache.Service.Consume;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Tests.Consume;

/// <summary>A Kafka that says what a test wants it to, when the test wants it to.</summary>
internal sealed class FakeLookups : IKafkaLookups
{
    /// <summary>What the group has committed; nothing in other partitions.</summary>
    public Dictionary<TopicPartition, long> Committed { get; } = [];

    /// <summary>The first row since the time that is asked for; none in other partitions.</summary>
    public Dictionary<TopicPartition, long> Younger { get; } = [];

    /// <summary>The timestamp of the last row; none in other partitions.</summary>
    public Dictionary<TopicPartition, long> LastTimestamp { get; } = [];

    /// <summary>The oldest row and the end of every partition.</summary>
    public (long Oldest, long End) Ends { get; set; } = (3, 9);

    /// <summary>What is said of topics; each has two partitions, or what is set here.</summary>
    public Dictionary<string, TopicAnswer> Topics { get; } = [];

    /// <summary>How many questions fail from now on.</summary>
    public int Failures { get; set; }

    /// <summary>Answers wait for it.</summary>
    public Task Gate { get; set; } = Task.CompletedTask;

    /// <summary>How many questions have been answered.</summary>
    public int Answered { get; private set; }

    /// <summary>What was asked.</summary>
    public List<string> Asked { get; } = [];

    public Task<IReadOnlyList<TopicAnswer>> TopicsAsync(IReadOnlyCollection<string> topics) => AnswerAsync<IReadOnlyList<TopicAnswer>>(
        $"topics {string.Join(' ', topics.Order(StringComparer.Ordinal))}",
        () => [.. topics.Select(topic => Topics.GetValueOrDefault(topic) ?? new(topic, 2, ErrorCode.NoError))]);

    public Task<IReadOnlyDictionary<TopicPartition, Offset>> CommittedAsync(IReadOnlyCollection<TopicPartition> partitions) =>
        EachAsync("committed", partitions, partition => Committed.TryGetValue(partition, out var offset) ? offset : Offset.Unset);

    public Task<IReadOnlyDictionary<TopicPartition, Offset>> OffsetsAsync(IReadOnlyCollection<TopicPartition> partitions, OffsetSpec spec) => spec switch
    {
        OffsetSpec.TimestampSpec since => EachAsync(
            $"since {since.Timestamp}", partitions, partition => Younger.TryGetValue(partition, out var offset) ? offset : Offset.End),
        OffsetSpec.EarliestSpec => EachAsync("oldest", partitions, _ => Ends.Oldest),
        _ => EachAsync("end", partitions, _ => Ends.End),
    };

    public Task<IReadOnlyDictionary<TopicPartition, long>> TimestampsAsync(IReadOnlyCollection<TopicPartitionOffset> rows) =>
        AnswerAsync<IReadOnlyDictionary<TopicPartition, long>>(
            $"timestamps {string.Join(' ', rows.Select(row => $"{Text(row.TopicPartition)}@{row.Offset.Value}"))}",
            () => rows.Where(row => LastTimestamp.ContainsKey(row.TopicPartition)).ToDictionary(row => row.TopicPartition, row => LastTimestamp[row.TopicPartition]));

    private Task<IReadOnlyDictionary<TopicPartition, Offset>> EachAsync(string what, IReadOnlyCollection<TopicPartition> partitions, Func<TopicPartition, Offset> offset) =>
        AnswerAsync<IReadOnlyDictionary<TopicPartition, Offset>>(
            $"{what} {string.Join(' ', partitions.Select(Text))}", () => partitions.ToDictionary(partition => partition, offset));

    private async Task<T> AnswerAsync<T>(string question, Func<T> answer)
    {
        Asked.Add(question);
        await Gate;
        Answered++;
        return Failures-- > 0 ? throw new KafkaException(ErrorCode.GroupCoordinatorNotAvailable) : answer();
    }

    private static string Text(TopicPartition partition) => $"{partition.Topic}/{partition.Partition.Value}";
}
