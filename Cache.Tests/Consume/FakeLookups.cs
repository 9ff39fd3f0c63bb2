using Cache.Service.Consume;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Tests.Consume;

/// <summary>A fake Kafka whose answers, and their timing, are up to the test.</summary>
internal sealed class FakeLookups : IKafkaLookups
{
    /// <summary>The committed offsets; none for other partitions.</summary>
    public Dictionary<TopicPartition, long> Committed { get; } = [];

    /// <summary>The first row since the requested time; none for other partitions.</summary>
    public Dictionary<TopicPartition, long> Younger { get; } = [];

    /// <summary>The timestamp of the last row; none for other partitions.</summary>
    public Dictionary<TopicPartition, long> LastTimestamp { get; } = [];

    /// <summary>The oldest row and the end of every partition.</summary>
    public (long Oldest, long End) Ends { get; set; } = (3, 9);

    /// <summary>The answers about topics; a topic not set here has two partitions.</summary>
    public Dictionary<string, TopicAnswer> Topics { get; } = [];

    /// <summary>The topics that match a pattern.</summary>
    public Dictionary<string, List<TopicAnswer>> Matching { get; } = [];

    /// <summary>How many of the next lookups fail.</summary>
    public int Failures { get; set; }

    /// <summary>Answers are held back until this completes.</summary>
    public Task Gate { get; set; } = Task.CompletedTask;

    /// <summary>Lookups completed, failures included.</summary>
    public int Answered { get; private set; }

    /// <summary>The lookups so far.</summary>
    public List<string> Asked { get; } = [];

    public Task<IReadOnlyList<TopicAnswer>> TopicsAsync(IReadOnlyCollection<string> topics) => AnswerAsync<IReadOnlyList<TopicAnswer>>(
        $"topics {string.Join(' ', topics.Order(StringComparer.Ordinal))}",
        () => [.. topics.SelectMany(topic => Matching.TryGetValue(topic, out var matching)
            ? [.. matching, new(topic, matching.Count, matching.Count > 0 ? ErrorCode.NoError : ErrorCode.UnknownTopicOrPart)]
            : new[] { Topics.GetValueOrDefault(topic) ?? new(topic, 2, ErrorCode.NoError) })]);

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
