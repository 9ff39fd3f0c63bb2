using System.Globalization;
using System.Runtime.ExceptionServices;
using System.Text;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Cache.Service.Telemetry;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Service.Persist;

/// <summary>
/// Sends rejected rows to the dead-letter topic as they came: key, value and headers, with their origin in headers of our
/// own. Without a topic they are logged and counted only.
/// </summary>
internal partial class DeadLetters(
    DeadLetterProducer producer, CacheOptions options, PersistMetrics metrics, TimeProvider time, ILogger<DeadLetters> logger)
{
    /// <summary>Why the row was rejected (<see cref="RejectReasons.Name"/>).</summary>
    public const string ReasonHeader = "cache.reason";

    /// <summary>The topic that the row came from.</summary>
    public const string TopicHeader = "cache.topic";

    /// <summary>The partition that the row came from.</summary>
    public const string PartitionHeader = "cache.partition";

    /// <summary>The row's offset there.</summary>
    public const string OffsetHeader = "cache.offset";

    /// <summary>The row's Kafka timestamp, milliseconds since 1970 UTC.</summary>
    public const string TimestampHeader = "cache.timestamp";

    /// <summary>The value's length in bytes, when the topic would not take so large a row and it was left out.</summary>
    public const string OmittedHeader = "cache.omitted_bytes";

    /// <summary>The bytes of the row's own headers, when they were left out too.</summary>
    public const string OmittedHeadersHeader = "cache.omitted_header_bytes";

    /// <summary>The key's length in bytes, when it was left out too.</summary>
    public const string OmittedKeyHeader = "cache.omitted_key_bytes";

    // In the order in which they go until the topic takes what is left.
    private static readonly Omitted[] LessAndLess =
        [Omitted.Nothing, Omitted.Value, Omitted.Value | Omitted.Headers, Omitted.Value | Omitted.Headers | Omitted.Key];

    // One line a reason and interval: a flood of bad rows must not become a flood of log lines.
    private static readonly TimeSpan LogInterval = TimeSpan.FromSeconds(10);

    private readonly Dictionary<RejectReason, long> _loggedAt = [];
    private bool _topicSeen;
    private bool _toldNotMade;

    /// <summary>Sends rows and waits for the broker's acknowledgement; those acknowledged are taken off the list.</summary>
    /// <exception cref="KafkaException">At least one row was not acknowledged; call again.</exception>
    public async Task SendAsync(List<DeadLetter> letters)
    {
        if (letters.Count == 0)
        {
            return;
        }

        if (options.DeadLetterTopic.Length == 0)
        {
            letters.ForEach(Count);
            letters.Clear();
            return;
        }

        var client = producer.Get();
        await EnsureTopicAsync(client);
        var sends = letters.ConvertAll(letter => (Letter: letter, Send: (Task)client.ProduceAsync(options.DeadLetterTopic, Message(letter, Omitted.Nothing))));
        letters.Clear();
        var refused = new List<DeadLetter>();
        Exception? failure = null;
        foreach (var (letter, send) in sends)
        {
            await send.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
            if (send.IsCompletedSuccessfully)
            {
                Count(letter);
            }
            else if (send.Exception?.InnerException is { } exception && Failures.KindOf(exception) == FailureKind.OfTheRow)
            {
                refused.Add(letter);
            }
            else
            {
                letters.Add(letter);
                failure ??= send.Exception?.InnerException;
            }
        }

        foreach (var letter in refused)
        {
            try
            {
                await SendAloneAsync(client, letter);
            }
            catch (KafkaException exception)
            {
                letters.Add(letter);
                failure ??= exception;
            }
        }

        if (failure is not null)
        {
            // It may be the topic that has gone: it is asked for again.
            _topicSeen = false;
            if (producer.Fatal is { } fatal)
            {
                throw new KafkaException(new Error(fatal.Code, fatal.Reason), failure);
            }

            ExceptionDispatchInfo.Throw(failure);
        }
    }

    /// <summary>
    /// Sends a row that was refused: by itself, since it may have been the company that it came in that was too large, and then with
    /// less and less of it. Its origin says where the rest still is. What is refused even so is given up, and counted: to wait for
    /// the topic to change its mind would hold up every row behind it.
    /// </summary>
    private async Task SendAloneAsync(IProducer<byte[]?, byte[]?> client, DeadLetter letter)
    {
        var reason = "";
        foreach (var omitted in LessAndLess)
        {
            try
            {
                await client.ProduceAsync(options.DeadLetterTopic, Message(letter, omitted));
                Count(letter);
                return;
            }
            catch (KafkaException exception) when (Failures.KindOf(exception) == FailureKind.OfTheRow)
            {
                reason = exception.Error.Reason;
            }
        }

        metrics.DeadLetterGivenUp();
        LogGivenUp(letter.Reason.Name(), letter.Partition.ToString(), letter.Offset, options.DeadLetterTopic, reason);
        Count(letter);
    }

    private static Message<byte[]?, byte[]?> Message(DeadLetter letter, Omitted omitted)
    {
        var row = letter.Row;
        var headers = new Headers();
        if (!omitted.HasFlag(Omitted.Headers))
        {
            foreach (var header in row.Headers ?? [])
            {
                headers.Add(header.Key, header.GetValueBytes());
            }
        }

        headers.Add(ReasonHeader, Encoding.UTF8.GetBytes(letter.Reason.Name()));
        headers.Add(TopicHeader, Encoding.UTF8.GetBytes(letter.Partition.TopicPartition.Topic));
        headers.Add(PartitionHeader, Text(letter.Partition.TopicPartition.Partition.Value));
        headers.Add(OffsetHeader, Text(letter.Offset));
        headers.Add(TimestampHeader, Text(letter.Timestamp));
        AddIf(Omitted.Value, OmittedHeader, row.Value.Length);
        AddIf(Omitted.Headers, OmittedHeadersHeader, row.HeaderBytes);
        AddIf(Omitted.Key, OmittedKeyHeader, row.Key?.Length ?? 0);
        return new()
        {
            Key = omitted.HasFlag(Omitted.Key) ? null : row.Key,
            Value = omitted.HasFlag(Omitted.Value) ? null : row.Value,
            Headers = headers,
        };

        void AddIf(Omitted part, string name, int bytes)
        {
            if (omitted.HasFlag(part))
            {
                headers.Add(name, Text(bytes));
            }
        }
    }

    private static byte[] Text(long number) => Encoding.UTF8.GetBytes(number.ToString(CultureInfo.InvariantCulture));

    /// <summary>Makes the topic where it is not there and brokers do not make topics by themselves; with their defaults.</summary>
    /// <exception cref="KafkaException">It is not there, and could not be made; call again.</exception>
    protected virtual async Task EnsureTopicAsync(IProducer<byte[]?, byte[]?> client)
    {
        if (_topicSeen)
        {
            return;
        }

        using var admin = Admin(client);

        // Soon answered or given up: at a stop the client must not be disposed in the midst of it.
        var metadata = await Task.Run(() => admin.GetMetadata(options.DeadLetterTopic, TimeSpan.FromSeconds(2)));
        if (metadata.Topics.TrueForAll(topic => topic.Error.Code != ErrorCode.NoError))
        {
            await MakeTopicAsync(admin);
        }

        (_topicSeen, _toldNotMade) = (true, false);
    }

    /// <summary>Asks the brokers over the producer's connections.</summary>
    protected virtual IAdminClient Admin(IProducer<byte[]?, byte[]?> client) => new DependentAdminClientBuilder(client.Handle).Build();

    private async Task MakeTopicAsync(IAdminClient admin)
    {
        try
        {
            await admin.CreateTopicsAsync([new TopicSpecification { Name = options.DeadLetterTopic, NumPartitions = 1, ReplicationFactor = -1 }],
                new CreateTopicsOptions { RequestTimeout = TimeSpan.FromSeconds(5) });
        }
        catch (KafkaException exception)
        {
            var error = exception is CreateTopicsException { Results: [var topic] } ? topic.Error : exception.Error;
            if (error.Code == ErrorCode.TopicAlreadyExists)
            {
                // The broker makes topics by itself: asking for it was enough.
                return;
            }

            // Once: it is tried again, and whoever tries tells how long that lasts.
            if (!_toldNotMade)
            {
                _toldNotMade = true;
                LogTopicNotMade(options.DeadLetterTopic, error.Reason);
            }

            throw new KafkaException(new Error(error.Code, $"{options.DeadLetterTopic} is not there and could not be created: {error.Reason}"), exception);
        }
    }

    private void Count(DeadLetter letter)
    {
        metrics.DeadLetter(letter.Reason);
        var now = time.GetTimestamp();
        if (!_loggedAt.TryGetValue(letter.Reason, out var last) || time.GetElapsedTime(last, now) >= LogInterval)
        {
            _loggedAt[letter.Reason] = now;
            LogRejected(letter.Reason.Name(), letter.Partition.ToString(), letter.Offset, options.DeadLetterTopic is "" ? "nowhere" : options.DeadLetterTopic);
        }
    }

    [LoggerMessage(Telemetry.EventIds.Persist + 10, LogLevel.Warning,
        "Row rejected ({Reason}) at {Partition} offset {Offset}; it went to {DeadLetterTopic}. Further ones of this kind are not logged for 10 s; cache_dead_letters_total counts them all.")]
    private partial void LogRejected(string reason, string partition, long offset, string deadLetterTopic);

    [LoggerMessage(Telemetry.EventIds.Persist + 12, LogLevel.Error,
        "The dead-letter topic {Topic} does not take the row rejected for {Reason} at {Partition} offset {Offset}, not even without value, headers and key: {Error}. It is given up; cache_dead_letters_given_up_total counts such rows.")]
    private partial void LogGivenUp(string reason, string partition, long offset, string topic, string error);

    [LoggerMessage(Telemetry.EventIds.Persist + 11, LogLevel.Warning,
        "The dead-letter topic {Topic} is not there and could not be created ({Error}). Create it, or set cache_dead_letter_topic to one that exists.")]
    private partial void LogTopicNotMade(string topic, string error);

    /// <summary>What a dead letter goes without.</summary>
    [Flags]
    private enum Omitted
    {
        Nothing = 0,
        Value = 1,
        Headers = 2,
        Key = 4,
    }
}
