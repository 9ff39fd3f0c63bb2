using Cache.Service.Consume;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Service.Persist;

/// <summary>Which dead letters are looked for.</summary>
/// <param name="Limit">The maximum number, 1 or more.</param>
/// <param name="Reason">Only those with this reason; null for any.</param>
/// <param name="Topic">Only those of rows of this topic; null for any.</param>
internal sealed record LetterQuery(int Limit, string? Reason = null, string? Topic = null)
{
    public bool Selects(SentLetter letter) => (Reason is null || letter.Reason == Reason) && (Topic is null || letter.OriginTopic == Topic);
}

/// <summary>The dead letters that were found.</summary>
/// <param name="Letters">Newest first.</param>
/// <param name="Scanned">How many letters were looked at.</param>
/// <param name="IsComplete">False if there may be others that were not looked at, because they are too far back.</param>
internal sealed record LettersFound(IReadOnlyList<SentLetter> Letters, int Scanned, bool IsComplete);

/// <summary>
/// The newest dead letters, as far back as they have been read: each partition from its end, in steps, up to a bound of letters
/// and of bytes. Not thread-safe.
/// </summary>
internal sealed class DeadLetterTail
{
    /// <summary>How far back it reads, in letters.</summary>
    public const int MaxLetters = 10_000;

    /// <summary>The memory it may hold, in bytes; each partition has an equal share.</summary>
    public const int MaxBytes = 8 * 1024 * 1024;

    /// <summary>A larger letter is not kept whole.</summary>
    public const int MaxLetterBytes = 2 * 1024 * 1024;

    private const int FirstStep = 64;
    private const int StepGrowth = 4;

    private readonly List<Section> _sections;
    private readonly int _share;
    private List<SentLetter> _newestFirst = [];
    private int _step = FirstStep;
    private bool _isAtItsBound;

    /// <summary>A tail of which nothing has been read.</summary>
    /// <param name="partitions">The partitions that have records, with their first offset and their end.</param>
    public DeadLetterTail(IEnumerable<(TopicPartition Partition, long First, long End)> partitions)
    {
        _sections = [.. partitions.Where(partition => partition.First < partition.End).Select(partition => new Section(partition.Partition, partition.First, partition.End))];
        _share = MaxBytes / Math.Max(1, _sections.Count);
    }

    /// <summary>Looks up where the partitions end; empty if the topic does not exist.</summary>
    /// <param name="consumer">A consumer that nobody else uses.</param>
    /// <param name="topic">The topic.</param>
    /// <param name="left">The time left for its three answers.</param>
    /// <exception cref="KafkaException">Kafka did not answer, or refuses the topic.</exception>
    public static DeadLetterTail Open(IConsumer<byte[]?, byte[]?> consumer, string topic, Func<TimeSpan> left)
    {
        using var admin = new DependentAdminClientBuilder(consumer.Handle).Build();
        var metadata = admin.GetMetadata(topic, left()).Topics[0];
        if (metadata.Error.Code is ErrorCode.UnknownTopicOrPart or ErrorCode.Local_UnknownTopic)
        {
            return new([]);
        }

        if (metadata.Error.IsError)
        {
            throw new KafkaException(metadata.Error);
        }

        List<TopicPartition> partitions = [.. metadata.Partitions.Select(partition => new TopicPartition(topic, partition.PartitionId))];
        var first = KafkaLookups.Offsets(consumer, partitions, OffsetSpec.Earliest(), left());
        var end = KafkaLookups.Offsets(consumer, partitions, OffsetSpec.Latest(), left());
        return new(partitions.Select(partition => (partition, first[partition].Value, end[partition].Value)));
    }

    /// <summary>Looks for letters among those that have been read.</summary>
    /// <returns>False if letters must be read before the answer is known.</returns>
    public bool TryFind(LetterQuery query, out LettersFound found)
    {
        // An unread letter is assumed to be older than those read from its partition, and may be newer than those of others. Which of
        // two comes first that were rejected in the same millisecond does not matter.
        var unread = _sections.Where(section => section.From > section.First).ToList();
        var certainFrom = unread.Select(section => section.Oldest).DefaultIfEmpty(long.MinValue).Max();
        var letters = new List<SentLetter>();
        var (scanned, isCertain) = (0, true);
        foreach (var letter in _newestFirst.TakeWhile(_ => letters.Count < query.Limit))
        {
            isCertain &= letter.Rejected >= certainFrom;
            scanned++;
            if (query.Selects(letter))
            {
                letters.Add(letter);
            }
        }

        var isComplete = isCertain && (letters.Count == query.Limit || unread.Count == 0);
        found = new(letters, scanned, isComplete);
        return isComplete || _isAtItsBound;
    }

    /// <summary>Reads a further step back, unless a bound has been reached.</summary>
    /// <param name="consumer">A consumer that nobody else uses.</param>
    /// <param name="wanted">How many letters to read at least, if there are as many.</param>
    /// <param name="left">The time left; once letters have been read, one of the bounds.</param>
    /// <exception cref="KafkaException">Kafka did not deliver them; or did not in time, and none have been read before.</exception>
    public void ReadBack(IConsumer<byte[]?, byte[]?> consumer, int wanted, Func<TimeSpan> left)
    {
        var open = _sections.FindAll(section => section.From > section.First && !section.IsCut);
        var room = MaxLetters - _newestFirst.Count;
        if (open.Count == 0 || room <= 0)
        {
            _isAtItsBound = true;
            return;
        }

        var rows = Math.Clamp(Math.Max(_step, wanted / open.Count), 1, Math.Max(1, room / open.Count));
        _step *= StepGrowth;
        var reads = open.ConvertAll(section => new Read(section, rows, _share));
        if (TryRead(consumer, reads, left))
        {
            reads.ForEach(read => read.End());
            _newestFirst = [.. _sections.SelectMany(section => section.Letters)
                .OrderByDescending(letter => letter.Rejected).ThenByDescending(letter => letter.Offset).ThenBy(letter => letter.Partition)];
        }
        else if (_newestFirst.Count > 0)
        {
            _isAtItsBound = true;
        }
        else
        {
            throw new KafkaException(ErrorCode.Local_TimedOut);
        }
    }

    /// <returns>False if there was not enough time.</returns>
    private static bool TryRead(IConsumer<byte[]?, byte[]?> consumer, List<Read> reads, Func<TimeSpan> left)
    {
        var waiting = reads.ToDictionary(read => read.Partition);
        consumer.Assign(reads.Select(read => new TopicPartitionOffset(read.Partition, read.From)));
        while (waiting.Count > 0)
        {
            if (left() is var wait && (wait <= TimeSpan.Zero || consumer.Consume(wait) is not { } record))
            {
                return false;
            }

            // Transactions leave offsets without a record behind, and so does retention: what counts is that the end was passed.
            if (waiting.TryGetValue(record.TopicPartition, out var read) && !read.TryAdd(record))
            {
                waiting.Remove(read.Partition);
            }
        }

        return true;
    }

    /// <summary>A partition, read from <see cref="From"/> to its end.</summary>
    private sealed class Section(TopicPartition partition, long first, long end)
    {
        public TopicPartition Partition => partition;

        public long First => first;

        public long From { get; set; } = end;

        // Newest first.
        public List<SentLetter> Letters { get; } = [];

        public int Bytes { get; set; }

        /// <summary>Whether its share of the memory is used up, so that nothing further back is read.</summary>
        public bool IsCut { get; set; }

        /// <summary>The time of the oldest letter read; the end of time if none has been read.</summary>
        public long Oldest { get; set; } = long.MaxValue;
    }

    /// <summary>A step back in one partition. Of more letters than there is room for, the newest stay.</summary>
    private sealed class Read(Section section, int rows, int share)
    {
        private readonly long _to = section.From;
        private readonly Queue<SentLetter> _letters = [];
        private int _bytes = section.Bytes;
        private bool _isCut;

        public TopicPartition Partition => section.Partition;

        public long From { get; } = Math.Max(section.First, section.From - rows);

        /// <returns>False once the last record has been read.</returns>
        public bool TryAdd(ConsumeResult<byte[]?, byte[]?> record)
        {
            if (record.IsPartitionEOF || record.Offset >= _to)
            {
                return false;
            }

            var letter = SentLetter.Of(record, Math.Min(MaxLetterBytes, share));
            _letters.Enqueue(letter);
            _bytes += letter.Size;
            while (_bytes > share && _letters.TryDequeue(out var oldest))
            {
                _bytes -= oldest.Size;
                _isCut = true;
            }

            return record.Offset < _to - 1;
        }

        public void End()
        {
            // A section that was cut stays unread further back, even if that was its first record.
            section.From = _isCut ? Math.Max(From, section.First + 1) : From;
            section.IsCut = _isCut;
            section.Bytes = _bytes;
            section.Letters.AddRange(_letters.Reverse());
            section.Oldest = section.Letters.Select(letter => letter.Rejected).DefaultIfEmpty(section.Oldest).Min();
        }
    }
}
