using System.Globalization;
using System.Text;
using Cache.Service.Decode;
using Cache.Service.Flush;
using Cache.Service.Telemetry;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Service.Persist;

/// <summary>
/// Sends rejected rows to the dead-letter topic as they came: key, value and headers, with their origin in headers of our
/// own. Without a topic they are logged and counted only.
/// </summary>
internal partial class DeadLetters(
    IServiceProvider services, CacheOptions options, CacheMetrics metrics, TimeProvider time, ILogger<DeadLetters> logger)
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

    /// <summary>The value's length in bytes, when the broker would not take so large a value and it was left out.</summary>
    public const string OmittedHeader = "cache.omitted_bytes";

    // One line a reason and interval: a flood of bad rows must not become a flood of log lines.
    private static readonly TimeSpan LogInterval = TimeSpan.FromSeconds(10);

    private readonly Dictionary<RejectReason, long> _loggedAt = [];
    private bool _topicSeen;

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

        var producer = services.GetRequiredService<IProducer<byte[]?, byte[]?>>();
        await EnsureTopicAsync(producer);
        var sends = letters.ConvertAll(letter => (Letter: letter, Send: SendAsync(producer, letter)));
        letters.Clear();
        Exception? failure = null;
        foreach (var (letter, send) in sends)
        {
            await send.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
            if (send.IsCompletedSuccessfully)
            {
                Count(letter);
            }
            else
            {
                letters.Add(letter);
                failure ??= send.Exception?.InnerException;
            }
        }

        if (failure is not null)
        {
            throw failure;
        }
    }

    private async Task SendAsync(IProducer<byte[]?, byte[]?> producer, DeadLetter letter)
    {
        var message = new Message<byte[]?, byte[]?> { Key = letter.Row.Key, Value = letter.Row.Value, Headers = Headers(letter) };
        try
        {
            await producer.ProduceAsync(options.DeadLetterTopic, message);
        }
        catch (ProduceException<byte[]?, byte[]?> exception) when (exception.Error.Code is ErrorCode.MsgSizeTooLarge)
        {
            // The source topic takes larger values than this one. Its origin says where the value still is; waiting for
            // the broker to change its mind would hold up every row behind it.
            message.Headers.Add(OmittedHeader, Text(letter.Row.Value.Length));
            message.Value = null;
            await producer.ProduceAsync(options.DeadLetterTopic, message);
        }
    }

    private static Headers Headers(DeadLetter letter)
    {
        var headers = new Headers();
        foreach (var header in letter.Row.Headers ?? [])
        {
            headers.Add(header.Key, header.GetValueBytes());
        }

        headers.Add(ReasonHeader, Encoding.UTF8.GetBytes(letter.Reason.Name()));
        headers.Add(TopicHeader, Encoding.UTF8.GetBytes(letter.Partition.TopicPartition.Topic));
        headers.Add(PartitionHeader, Text(letter.Partition.TopicPartition.Partition.Value));
        headers.Add(OffsetHeader, Text(letter.Offset));
        headers.Add(TimestampHeader, Text(letter.Timestamp));
        return headers;
    }

    private static byte[] Text(long number) => Encoding.UTF8.GetBytes(number.ToString(CultureInfo.InvariantCulture));

    /// <summary>Makes the topic where brokers do not make topics by themselves; with their defaults.</summary>
    protected virtual async Task EnsureTopicAsync(IProducer<byte[]?, byte[]?> producer)
    {
        if (_topicSeen)
        {
            return;
        }

        using var admin = new DependentAdminClientBuilder(producer.Handle).Build();

        // Soon answered or given up: at a stop the client must not be disposed in the midst of it.
        var metadata = await Task.Run(() => admin.GetMetadata(options.DeadLetterTopic, TimeSpan.FromSeconds(2)));
        if (metadata.Topics.TrueForAll(topic => topic.Error.Code != ErrorCode.NoError))
        {
            try
            {
                await admin.CreateTopicsAsync([new TopicSpecification { Name = options.DeadLetterTopic, NumPartitions = 1, ReplicationFactor = -1 }],
                    new CreateTopicsOptions { RequestTimeout = TimeSpan.FromSeconds(5) });
            }
            catch (KafkaException exception)
            {
                // The sends that follow tell whether it matters, and are tried again.
                LogTopicNotMade(options.DeadLetterTopic, exception.Error.Reason);
            }
        }

        _topicSeen = true;
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

    [LoggerMessage(Telemetry.EventIds.Persist + 11, LogLevel.Warning,
        "The dead-letter topic {Topic} is not there and could not be created ({Error}). Create it, or set cache_dead_letter_topic to one that exists.")]
    private partial void LogTopicNotMade(string topic, string error);
}
