using System.Globalization;
using System.Runtime.ExceptionServices;
using System.Text;
using Cache.Service.Consume;
using Cache.Service.Model;
using Cache.Service.Options;
using Cache.Service.Partitions;
using Confluent.Kafka;
using Confluent.Kafka.Admin;

namespace Cache.Service.Persist;

/// <summary>
/// Sends rejected rows to the dead-letter topic with their original key, value and headers, and adds their origin in headers
/// of its own. Without a dead-letter topic, rejected rows are only logged and counted.
/// </summary>
internal partial class DeadLetters(
    DeadLetterProducer producer, CacheOptions options, PersistMetrics metrics, TimeProvider time, ILogger<DeadLetters> logger)
{
    /// <summary>Why the row was rejected (<see cref="RejectReasons.Name"/>).</summary>
    public const string ReasonHeader = "cache.reason";

    /// <summary>The row's topic.</summary>
    public const string TopicHeader = "cache.topic";

    /// <summary>The row's partition.</summary>
    public const string PartitionHeader = "cache.partition";

    /// <summary>The row's offset in that partition.</summary>
    public const string OffsetHeader = "cache.offset";

    /// <summary>The row's Kafka timestamp, milliseconds since 1970 UTC.</summary>
    public const string TimestampHeader = "cache.timestamp";

    /// <summary>The length of the value in bytes, if it was omitted because the topic rejected the full row.</summary>
    public const string OmittedHeader = "cache.omitted_bytes";

    /// <summary>The size of the row's own headers in bytes, if they were omitted, too.</summary>
    public const string OmittedHeadersHeader = "cache.omitted_header_bytes";

    /// <summary>The length of the key in bytes, if it was omitted, too.</summary>
    public const string OmittedKeyHeader = "cache.omitted_key_bytes";

    // What to omit, step by step, until the topic accepts the rest.
    private static readonly Omitted[] OmissionSteps =
        [Omitted.Nothing, Omitted.Value, Omitted.Value | Omitted.Headers, Omitted.Value | Omitted.Headers | Omitted.Key];

    // One line per reason and interval, so that a flood of bad rows does not flood the log.
    private static readonly TimeSpan LogInterval = TimeSpan.FromSeconds(10);

    private readonly Dictionary<RejectReason, long> _loggedAt = [];
    private bool _topicSeen;
    private bool _creationFailureLogged;

    /// <summary>Sends rows, waits for the brokers to acknowledge them, and removes acknowledged rows from the list.</summary>
    /// <exception cref="KafkaException">At least one row was not acknowledged; call it again.</exception>
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
        using var held = KafkaHandle.Hold(client);
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
            // The topic may have been deleted: check it again next time.
            _topicSeen = false;
            if (producer.Fatal is { } fatal)
            {
                throw new KafkaException(new Error(fatal.Code, fatal.Reason), failure);
            }

            ExceptionDispatchInfo.Throw(failure);
        }
    }

    /// <summary>
    /// Retries a refused row on its own, because the batch of messages it was sent in may have been too large, and then omits one part
    /// after another. The omitted parts are still available at the row's origin. A row that is refused even then is given up and
    /// counted: waiting for the topic to accept it would block every row behind it.
    /// </summary>
    private async Task SendAloneAsync(IProducer<byte[]?, byte[]?> client, DeadLetter letter)
    {
        var reason = "";
        foreach (var omitted in OmissionSteps)
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
        headers.Add(PartitionHeader, Utf8(letter.Partition.TopicPartition.Partition.Value));
        headers.Add(OffsetHeader, Utf8(letter.Offset));
        headers.Add(TimestampHeader, Utf8(letter.Timestamp));
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
                headers.Add(name, Utf8(bytes));
            }
        }
    }

    private static byte[] Utf8(long number) => Encoding.UTF8.GetBytes(number.ToString(CultureInfo.InvariantCulture));

    /// <summary>Creates the topic, with the brokers' defaults, if it does not exist and the brokers do not create it themselves.</summary>
    /// <exception cref="KafkaException">The topic does not exist and could not be created; call it again.</exception>
    protected virtual async Task EnsureTopicAsync(IProducer<byte[]?, byte[]?> client)
    {
        if (_topicSeen)
        {
            return;
        }

        using var admin = Admin(client);

        // A short timeout: the client must not be disposed during this call on shutdown.
        var metadata = await Task.Run(() => admin.GetMetadata(options.DeadLetterTopic, TimeSpan.FromSeconds(2)));
        if (metadata.Topics.TrueForAll(topic => topic.Error.Code != ErrorCode.NoError))
        {
            await CreateTopicAsync(admin);
        }

        (_topicSeen, _creationFailureLogged) = (true, false);
    }

    /// <summary>Creates an admin client that shares the producer's connections.</summary>
    protected virtual IAdminClient Admin(IProducer<byte[]?, byte[]?> client) => new DependentAdminClientBuilder(client.Handle).Build();

    private async Task CreateTopicAsync(IAdminClient admin)
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
                // The broker creates topics automatically: requesting its metadata was enough.
                return;
            }

            // Logged once: the caller retries, and logs how long that takes.
            if (!_creationFailureLogged)
            {
                _creationFailureLogged = true;
                LogTopicNotCreated(options.DeadLetterTopic, error.Reason);
            }

            throw new KafkaException(new Error(error.Code, $"{options.DeadLetterTopic} does not exist and could not be created: {error.Reason}"), exception);
        }
    }

    private void Count(DeadLetter letter)
    {
        metrics.DeadLetter(letter.Reason);
        var now = time.GetTimestamp();
        if (!_loggedAt.TryGetValue(letter.Reason, out var last) || time.GetElapsedTime(last, now) >= LogInterval)
        {
            _loggedAt[letter.Reason] = now;
            LogRejected(letter.Reason.Name(), letter.Partition.ToString(), letter.Offset, options.DeadLetterTopic is "" ? "none" : options.DeadLetterTopic);
        }
    }

    [LoggerMessage(Telemetry.EventIds.Persist + 10, LogLevel.Warning,
        "Row rejected ({Reason}) at {Partition} offset {Offset}; dead-letter topic: {DeadLetterTopic}. Logged once per reason every 10 s; cache_dead_letters_total counts every row.")]
    private partial void LogRejected(string reason, string partition, long offset, string deadLetterTopic);

    [LoggerMessage(Telemetry.EventIds.Persist + 12, LogLevel.Error,
        "Dead letter given up: the row rejected as {Reason} at {Partition} offset {Offset} was refused by the dead-letter topic {Topic}, even without its value, headers and key: {Error}. cache_dead_letters_given_up_total counts these rows.")]
    private partial void LogGivenUp(string reason, string partition, long offset, string topic, string error);

    [LoggerMessage(Telemetry.EventIds.Persist + 11, LogLevel.Warning,
        "The dead-letter topic {Topic} does not exist and could not be created ({Error}). Create it, or set cache_dead_letter_topic to an existing topic.")]
    private partial void LogTopicNotCreated(string topic, string error);

    /// <summary>The parts of the row that a dead letter leaves out.</summary>
    [Flags]
    private enum Omitted
    {
        Nothing = 0,
        Value = 1,
        Headers = 2,
        Key = 4,
    }
}
